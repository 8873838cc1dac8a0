;;;; Wrong arguments: a condition that names them, at the call.

(in-package #:portal-tests)

(in-suite portal)

(defmacro is-refused (argument &body body)
  "Checks that BODY is refused for ARGUMENT, and that the report names it."
  `(let ((condition (handler-case (progn ,@body nil)
                      (pws:argument-error (condition) condition))))
     (is-true condition "~s is not refused" ',body)
     (when condition
       (is (equal ,argument (pws:argument-error-argument condition)))
       (is (search (princ-to-string ,argument) (princ-to-string condition))))))

(test alone-stand-only-what-asks-for-threads
  (is-refused :host (pws:websocket-server 0 :host))
  (is-refused :host (pws:websocket-server 0 :multi-thread :host))
  (is-refused :host (pws:websocket-server 0 t :host))
  (is-refused :backlog (pws:server 0 :host "127.0.0.1" :backlog))
  (is-refused :colour (pws:websocket-server 0 :colour))
  (is-refused 4433 (pws:websocket-server 0 4433))
  (is-refused "x" (pws:websocket-server 0 "x" "y")))

(test an-options-value-of-the-wrong-type-is-refused
  (is-refused :host (pws:websocket-server 0 :host :localhost))
  (is-refused :host (pws:websocket-server 0 :host 127))
  (is-refused :host (pws:websocket-server 0 :host (format nil "127.0.0.1~a" (code-char 0))))
  (is-refused :origins (pws:websocket-server 0 :origins '(:all)))
  (is-refused :backlog (pws:websocket-server 0 :backlog "many"))
  (is-refused :idle-timeout (pws:websocket-server 0 :idle-timeout 1.5))
  (is-refused :max-message-size (pws:websocket-server 0 :max-message-size (expt 2 70)))
  (is-refused :max-message-size (pws:websocket-server 0 :max-message-size 0)))

(test a-port-is-a-number-from-0-to-65535
  (dolist (port '("26025" -1 65536 nil :http 1.0))
    (is-refused 'portal::port (pws:websocket-server port))))

(test a-handler-is-a-function-or-a-name
  (is-refused :message (pws:define-path-handler "/refused" :message 42))
  (is-refused :upgrade (pws:define-path-handler "/refused" :upgrade "no"))
  (is-refused :open (pws:define-resource "/refused" :open 42))
  (is-refused :close (pws:define-resource "/refused" :close '(lambda (websocket) websocket)))
  (with-server (server)
    (is (eql 404 (connect server "/refused")))))

(test a-path-is-a-string
  (is-refused 'portal::path (pws:define-path-handler :echo))
  (is-refused 'portal::path (pws:define-path-handler (format nil "/a~ab" (code-char 0))))
  (is-refused 'portal::path (pws:undefine-path-handler nil))
  (is-refused 'portal::path (pws:define-page #p"/page" "content"))
  (is-refused 'portal::path (pws:undefine-page 42))
  (is-refused 'portal::content (pws:define-page "/page" 42))
  (is-refused :content-type (pws:define-page "/page" "content" :content-type :html)))

(test what-is-sent-and-said-at-a-close-is-checked
  (let ((box (make-box)))
    (pws:define-path-handler "/checked" :connect (lambda (websocket) (put box websocket)))
    (with-server (server)
      (connect server "/checked")
      (let ((websocket (take box)))
        (is-refused :code (pws:close websocket :code "1000"))
        (is-refused :reason (pws:close websocket :reason :bye))
        (is-refused 'portal::message (pws:send websocket 42 t))
        (is-refused 'portal::message (pws:send-ping websocket 42))))))

(test a-server-is-what-websocket-server-has-returned
  (is-refused 'portal::server (pws:websocket-server-close "server"))
  (is-refused 'portal::server (pws:server-port 4433)))

(test the-logs-function-and-level-are-checked
  (is-refused :level (pws:set-log #'list :level :loud))
  (is-refused :level (pws:set-log #'list :level nil))
  (is-refused 'function (pws:set-log 42)))

(defmacro with-no-threads-to-be-had (&body body)
  "Runs BODY while a thread cannot be made."
  `(let ((before (fdefinition 'bt:make-thread)))
     (setf (fdefinition 'bt:make-thread) (lambda (&rest arguments)
                                           (declare (ignore arguments))
                                           (error 'planned-error)))
     (unwind-protect (progn ,@body)
       (setf (fdefinition 'bt:make-thread) before))))

(defun free-port ()
  (with-server (server)
    (pws:server-port server)))

(test a-server-without-a-thread-gives-its-port-back
  (define-echo "/threadless")
  (let* ((port (free-port))
         (condition (with-no-threads-to-be-had
                      (handler-case (pws:websocket-server port :host "127.0.0.1")
                        (pws:portal-error (condition) condition)))))
    (is (search "This was planned." (princ-to-string condition)))
    (let ((server (pws:websocket-server port :host "127.0.0.1")))
      (is (equal "on" (ask-and-hear (connect server "/threadless") "on")))
      (pws:server-close server))))
