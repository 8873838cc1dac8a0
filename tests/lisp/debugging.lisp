;;;; Who may debug, what leaving the debugger does, and what else than errors a handler may signal.

(in-package #:portal-tests)

(in-suite portal)

(defun define-bad-and-good (path)
  "A path on which the message \"bad\" is an error, and others come back."
  (pws:define-path-handler path
    :message (lambda (websocket message)
               (when (equal message "bad") (error 'planned-error))
               (pws:send websocket message))))

;;; Leaving the debugger

(defun names-of-restarts (server)
  "The names of the restarts of an error in a handler, of which CONTINUE is chosen."
  (let ((box (make-box)))
    (with-debugger (condition)
        (progn (put box (mapcar #'restart-name (compute-restarts condition)))
               (invoke-restart 'continue))
      (say (connect server "/restarts") "bad")
      (take box))))

(test no-restart-ends-the-server
  (for-each-kind-of-server (server)
    (define-bad-and-good "/restarts")
    (with-debugging (t)
      (let ((names (names-of-restarts server)))
        (is (equal '(continue pws:retry pws:drop-client abort) names))
        (dotimes (number (length names))
          (let ((times 0))
            (with-debugger (condition)
                (invoke-restart (if (eql 1 (incf times))
                                    (nth number (compute-restarts condition))
                                    'continue))
              (say (connect server "/restarts") "bad")
              (is (equal "good" (ask-and-hear (connect server "/restarts") "good"))
                  "after ~a" (nth number names)))))))))

(defmacro with-debugger-package ((package variable) &body body)
  "Runs BODY while there is a PACKAGE with a VARIABLE for what q chooses, as SLIME and SLY have one."
  `(let ((package (make-package ,package :use '())))
     (unwind-protect
          (let ((symbol (intern ,variable package)))
            (proclaim (list 'special symbol))
            (setf (symbol-value symbol) nil)
            ,@body)
       (delete-package package))))

(test the-restart-of-q-leaves-the-handler
  (loop for (package . variable) in '(("SWANK" . "*SLDB-QUIT-RESTART*")
                                      ("SLYNK" . "*SLY-DB-QUIT-RESTART*"))
        do (with-debugger-package (package variable)
             (for-each-kind-of-server (server)
               (define-bad-and-good "/quit")
               (let ((report (make-box)))
                 (with-debugging (t)
                   (with-debugger (condition)
                       (let ((restart (and (symbol-value symbol) (find-restart (symbol-value symbol)))))
                         (put report (and restart (princ-to-string restart)))
                         (invoke-restart (or restart 'continue)))
                     (let ((client (connect server "/quit")))
                       (say client "bad")
                       (is (equal "Leave the handler." (take report)))
                       (is (equal "good" (ask-and-hear client "good")))))))))))

(test the-debugger-in-error-does-not-end-the-server
  (with-server (server :max-message-size 10)
    (pws:define-path-handler "/break"
      :message (lambda (websocket message) (pws:send websocket message))
      :error (lambda (websocket condition)
               (declare (ignore websocket condition))
               (invoke-debugger (make-condition 'planned-error))))
    (with-debugger (condition) (invoke-restart (first (last (compute-restarts condition))))
      (let ((client (connect server "/break")))
        (say client "more than ten octets")
        (is (equal 1009 (second (hear client))))
        (is (equal "on" (ask-and-hear (connect server "/break") "on")))))))

;;; ECL does not keep an interrupt waiting until the thread may be interrupted.
#+sbcl
(test the-servers-thread-may-be-interrupted-and-left-by-its-last-restart
  (define-echo "/interrupted")
  (with-server (server)
    (let ((box (make-box)))
      (bt:interrupt-thread server (lambda ()
                                    (put box :interrupted)
                                    (invoke-restart (first (last (compute-restarts))))))
      (is (eq :interrupted (take box)))
      (is (equal "on" (ask-and-hear (connect server "/interrupted") "on"))))))

#+sbcl
(defparameter *server-in-slime*
  (append '("(asdf:load-system \"swank\")"
            "(format t \"~&swank ~d~%\" (swank:create-server :port 0 :dont-close t))"
            "(pws:define-path-handler \"/slime\"
               :message (lambda (websocket message)
                          (when (equal message \"bad\") (error \"planned\"))
                          (pws:send websocket message)))")
          (serving "(pws:websocket-server 0 :host \"127.0.0.1\")")))

#+sbcl
(test q-in-slime-leaves-the-handler-and-not-the-server
  (with-serving-lisp ((swank port) *server-in-slime*)
    (is (equal '("ok") (ask "emacs" swank)))
    (let ((client (connect port "/slime")))
      (is (eq t (say client "bad")))
      (is (equal '("CONTINUE" "RETRY" "DROP-CLIENT" "*ABORT" "ended") (ask "quit-debugger")))
      (is (equal "good" (ask-and-hear client "good"))))))

;;; Where nobody can debug

(defparameter *failing-server*
  (cons "(pws:define-path-handler \"/failing\"
           :message (lambda (websocket message)
                      (when (equal message \"bad\") (error \"planned\"))
                      (pws:send websocket message)))"
        (serving "(pws:websocket-server 0 :host \"127.0.0.1\")")))

(defun goes-on (port)
  (let ((client (connect port "/failing")))
    (say client "bad")
    (is (equal "good" (ask-and-hear client "good")))))

(test without-a-terminal-an-error-is-reported-and-the-server-goes-on
  (with-serving-lisp ((port) *failing-server*)
    (goes-on port)))

#+sbcl
(test with-the-debugger-disabled-an-error-is-reported-and-the-server-goes-on
  (with-serving-lisp ((port) (cons "(sb-ext:disable-debugger)" *failing-server*))
    (goes-on port)))

(test at-a-terminal-an-error-is-debugged
  (let ((output (uiop:run-program
                 `("python3" "-c" "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]))"
                             ,@(command-of-lisp '("(asdf:load-system \"portal\")"
                                                  "(format t \"debugging: ~a.~%\"
                                                     (portal::debugging-p))")))
                 :output :string :error-output :output :ignore-error-status t)))
    (is (search "debugging: T." output) "~a" output)))

;;; What is not an error

(define-condition planned-trouble (serious-condition) ()
  (:report "This trouble was planned."))

(test whatever-is-serious-is-taken-as-an-error-is
  (for-each-kind-of-server (server)
    (let ((box (make-box)))
      (pws:define-path-handler "/serious"
        :message (lambda (websocket message)
                   (cond ((equal message "trouble") (error 'planned-trouble))
                         ((equal message "timeout") (bt:with-timeout (0.01) (sleep 60))))
                   (pws:send websocket message))
        :error (lambda (websocket condition)
                 (declare (ignore websocket))
                 (put box (if (typep condition 'serious-condition) :serious condition))
                 (error 'planned-trouble)))
      (with-debugging (nil)
        (let ((client (connect server "/serious")))
          (dolist (message '("trouble" "timeout"))
            (say client message)
            (is (eq :serious (take box)) "for ~a" message)
            (is (equal "on" (ask-and-hear client "on")) "after ~a" message)))))))

(test trouble-in-the-logs-function-is-reported
  (with-server (server)
    (let ((output (make-string-output-stream))
          (before *error-output*))
      (setf *error-output* output)
      (pws:set-log (lambda (level line)
                     (declare (ignore level line))
                     (error 'planned-trouble))
                   :level :warning)
      (unwind-protect
           (signals pws:address-error
             (pws:websocket-server (pws:server-port server) :host "127.0.0.1"))
        (pws:set-log nil)
        (setf *error-output* before))
      (is (search "This trouble was planned." (get-output-stream-string output))))))
