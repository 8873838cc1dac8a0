;;;; The manual of the original, in its first version.

(pws:define-path-handler "/echo"
  :connect (lambda (websocket)
             (pws:send websocket "Welcome to echo server."))
  :message (lambda (websocket message)
             (pws:send websocket message)))

(defparameter server
  (pws:websocket-server 4433))
