;;;; A chat on port 4433, until Enter is pressed: each room, /chat/NAME, hears what its people say.

(require "asdf")
(asdf:load-system "portal")

(defvar *people* '()
  "Everybody who is here. One thread runs all handlers, so nobody else changes it meanwhile.")

(defun room-of (websocket)
  (pws:parameter websocket "room"))

(defun people-in (room)
  (remove room *people* :test-not #'equal :key #'room-of))

(defun tell (room control &rest arguments)
  (pws:broadcast (people-in room) (apply #'format nil control arguments)))

(pws:define-path-handler "/chat/{room}"
  :connect (lambda (websocket)
             (push websocket *people*)
             (tell (room-of websocket) "~a has come." (pws:remote-address websocket)))
  :message (lambda (websocket message)
             (tell (room-of websocket) "~a: ~a" (pws:remote-address websocket) message))
  :disconnect (lambda (websocket)
                (setf *people* (remove websocket *people*))
                (tell (room-of websocket) "~a has left." (pws:remote-address websocket))))

(defparameter server (pws:websocket-server 4433 :max-message-size 10000))

(format t "listening on ws://localhost:~d/chat/ROOM; Enter ends it~%" (pws:server-port server))
(finish-output)
(read-line *standard-input* nil)
(pws:websocket-server-close server)
