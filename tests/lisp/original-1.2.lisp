;;;; The manual of the original, in version 1.2.

(pws:define-resource "/echo"
  :open (lambda (websocket)
          (pws:send websocket "Welcome to echo server."))
  :message (lambda (websocket message)
             (sleep 1)
             (pws:send websocket message)
             (sleep 1)
             (pws:send websocket message)))

;; prevent entering debugger
(setq pws:*debug-on-error* nil)

(pws:define-resource "/err"

  :open (lambda (socket)
          (pws:send socket "Welcome to error server."))

  :message (lambda (socket message)
             ;; error because message is a string
             (pws:send socket (1+ message)))

  :error (lambda (socket condition)
           ;; echo error to websocket
           (pws:send socket condition))

  :close (lambda (socket)
           (declare (ignore socket))
           (print "Socket leaving error server.")))

(defparameter server
  (pws:server 4433))
