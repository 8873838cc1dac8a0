;;;; Sends back what it hears, until it is ended: for the benches.

(let ((*standard-output* (make-broadcast-stream)))
  (asdf:load-system "portal"))

;; Compiled on ECL, too, which would interpret it.
(pws:define-path-handler "/"
  :message (compile nil '(lambda (websocket message) (pws:send websocket message))))

(defparameter server (pws:websocket-server 0))

(format t "listening on ws://localhost:~d/~%" (pws:server-port server))
(finish-output)
(loop (sleep 60))
