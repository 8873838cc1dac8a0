;;;; Calls of handlers, and errors in them.

(in-package #:portal)

(setf (documentation 'retry 'variable)
      "The restart that runs a handler again after an error in it."
      (documentation 'drop-client 'variable)
      "The restart that closes the client whose handler signalled an error.")

(defun definition-of (websocket)
  "Returns the current definition of WEBSOCKET's path."
  (path-definition (websocket-path websocket)))

(defun call-error-handler (websocket condition)
  "Calls the path's :ERROR; returns whether there is one. An error in it is reported."
  (let ((handler (definition-error (definition-of websocket))))
    (when handler
      (handler-case (funcall handler websocket condition)
        (serious-condition (second)
          (report-error second "an error in the :error of ~s:" (path-name (websocket-path websocket)))))
      t)))

(defun own-connection-closed-p (condition websocket)
  "Whether CONDITION is only CONNECTION-CLOSED for WEBSOCKET itself, which is not an error."
  (and (typep condition 'connection-closed)
       (eq (portal-error-websocket condition) websocket)))

(defun call-error-handler-or-report (websocket condition)
  "Calls the path's :ERROR; without one, reports CONDITION."
  (unless (call-error-handler websocket condition)
    (report-error condition "an error in a handler of ~s:" (path-name (websocket-path websocket)))))

(defun to-be-debugged (websocket condition)
  "Calls :ERROR for CONDITION, which a handler of WEBSOCKET has signalled, or reports it. Returns whether
it enters the debugger."
  (cond ((own-connection-closed-p condition websocket) nil)
        ((debugging-p)
         (call-error-handler websocket condition)
         t)
        (t
         (call-error-handler-or-report websocket condition)
         nil)))

(defun call-guarded (websocket handler)
  "Calls HANDLER, which runs a handler of WEBSOCKET, and returns its value. Returns NIL after
an error or a restart; the second value is true when the handler has returned normally."
  (loop
    (block attempt
      (with-own-restarts
        (restart-case
            (handler-bind ((serious-condition
                             (lambda (condition)
                               (unless (to-be-debugged websocket condition)
                                 (return-from call-guarded nil)))))
              (return-from call-guarded
                (values (with-abort-for-quit (with-interrupts (funcall handler))) t)))
          (continue ()
            :report "Leave the handler and continue with the next event."
            (return-from call-guarded nil))
          (retry ()
            :report "Run the handler again."
            (return-from attempt))
          (drop-client ()
            :report "Close the client's websocket and continue with the next event."
            (close websocket :code 1011)
            (return-from call-guarded nil))
          (abort ()
            :report "Leave the handler."
            (return-from call-guarded nil)))))))

(defmacro handle (websocket handler &rest arguments)
  "Calls the HANDLER, a reader of DEFINITION, that WEBSOCKET's path currently has, if any. A retry
looks it up again."
  (let ((function (gensym "FUNCTION")))
    `(when (,handler (definition-of ,websocket))
       (flet ((run ()
                (let ((,function (,handler (definition-of ,websocket))))
                  (when ,function
                    (funcall ,function ,websocket ,@arguments)))))
         (declare (dynamic-extent #'run))
         (call-guarded ,websocket #'run)))))

;;; Each kind of event

(defun handle-connect (websocket)
  (handle websocket definition-connect)
  (setf (websocket-phase websocket) :open))

(defun handle-message (websocket message)
  (handle websocket definition-message message))

(defun handle-disconnect (websocket code reason)
  (setf (websocket-close-code websocket) code
        (websocket-close-reason websocket) reason
        (websocket-phase websocket) :closing)
  (handle websocket definition-disconnect)
  (setf (websocket-phase websocket) :closed))

(defun handle-drain (websocket)
  (handle websocket definition-drain))

(defun handle-pong (websocket octets)
  (handle websocket definition-pong octets))

(defun handle-error (websocket condition)
  "Calls :ERROR for an error of the client; no handler has failed."
  (call-guarded websocket (lambda () (call-error-handler websocket condition))))
