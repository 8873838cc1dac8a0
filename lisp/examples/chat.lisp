;;;; A chat on port 4433, until Enter is pressed: messages go to all clients of the room, /chat/NAME.

(require "asdf")
(asdf:load-system "portal")

(defvar *websockets* '()
  "All websockets. One thread runs all handlers, so no lock is needed.")

(defun room-of (websocket)
  (pws:parameter websocket "room"))

(defun websockets-in (room)
  (remove room *websockets* :test-not #'equal :key #'room-of))

(defun announce (room control &rest arguments)
  (pws:broadcast (websockets-in room) (apply #'format nil control arguments)))

(pws:define-path-handler "/chat/{room}"
  :connect (lambda (websocket)
             (push websocket *websockets*)
             (announce (room-of websocket) "~a has come." (pws:remote-address websocket)))
  :message (lambda (websocket message)
             (announce (room-of websocket) "~a: ~a" (pws:remote-address websocket) message))
  :disconnect (lambda (websocket)
                (setf *websockets* (remove websocket *websockets*))
                (announce (room-of websocket) "~a has left." (pws:remote-address websocket))))

(defparameter server (pws:websocket-server 4433 :max-message-size 10000))

(format t "listening on ws://localhost:~d/chat/ROOM; Enter ends it~%" (pws:server-port server))
(finish-output)
(read-line *standard-input* nil)
(pws:websocket-server-close server)
