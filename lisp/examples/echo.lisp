;;;; An echo server on port 4433, until Enter is pressed.

(require "asdf")
(asdf:load-system "portal")

(pws:define-path-handler "/echo"
  :connect (lambda (websocket)
             (pws:send websocket "Welcome to echo server."))
  :message (lambda (websocket message)
             (pws:send websocket message)))

(defparameter server (pws:websocket-server 4433))

(format t "listening on ws://localhost:~d/echo; Enter ends it~%" (pws:server-port server))
(finish-output)
(read-line *standard-input* nil)
(pws:websocket-server-close server)
