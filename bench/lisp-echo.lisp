;;;; An echo server for the benchmarks; it runs until it is killed.

(let ((*standard-output* (make-broadcast-stream)))
  (asdf:load-system "portal"))

;; Compiled explicitly: ECL would interpret it.
(pws:define-path-handler "/"
  :message (compile nil '(lambda (websocket message) (pws:send websocket message))))

(defparameter server (pws:websocket-server 0))

(format t "listening on ws://localhost:~d/~%" (pws:server-port server))
(finish-output)
(loop (sleep 60))
