;;;; Whether an error enters the debugger, and the restarts there.

(in-package #:portal)

(defvar *debug-on-error* t
  "Whether an error in a handler enters the debugger, after :ERROR has been called. Its restarts are
CONTINUE, to continue with the next event, RETRY, to run the handler again, and DROP-CLIENT, to close
the websocket. When it is NIL, or when the debugger is disabled or there is no terminal, the error is
reported and the server continues.")

(defun debugger-disabled-p ()
  #+sbcl (eq sb-ext:*invoke-debugger-hook* 'sb-debug::debugger-disabled-hook)
  #-sbcl nil)

(defun debugger-hooked-p ()
  "Whether a program, such as SLIME, has replaced the terminal's debugger."
  (or *debugger-hook*
      #+sbcl sb-ext:*invoke-debugger-hook*
      #+ecl ext:*invoke-debugger-hook*))

(defun debugging-p ()
  "Whether an error in a handler enters the debugger."
  (and *debug-on-error*
       (not (debugger-disabled-p))
       (or (debugger-hooked-p)
           (and (interactive-stream-p *standard-input*)
                (interactive-stream-p *debug-io*)))))

(defparameter *quit-restarts* '(("SWANK" . "*SLDB-QUIT-RESTART*")
                                ("SLYNK" . "*SLY-DB-QUIT-RESTART*"))
  "Packages and names of the variables that hold the restart that q chooses in SLIME and in SLY.")

(defun quit-restart-variables ()
  "Returns the variables for the restart that q chooses. Loading SLIME or SLY defines them, at any time."
  (loop for (package . name) in *quit-restarts*
        for symbol = (and (find-package package) (find-symbol name package))
        when symbol
          collect symbol))

(defmacro with-own-restarts (&body body)
  "Runs BODY, in which restarts established outside it are not available. The thread's own restart would
end the thread, and the server with it."
  `(let (#+sbcl (sb-kernel:*restart-clusters* '())
         #+ecl (si::*restart-clusters* '()))
     ,@body))

(defmacro with-abort-for-quit (&body body)
  "Runs BODY, in which q in SLIME and SLY chooses the restart ABORT that is established around it."
  (let ((variables (gensym "VARIABLES"))
        (run (gensym "RUN")))
    `(flet ((,run () ,@body))
       (declare (dynamic-extent #',run))
       (let ((,variables (quit-restart-variables)))
         (if ,variables
             (let ((abort (find-restart 'abort)))
               (progv ,variables (mapcar (constantly abort) ,variables)
                 (,run)))
             (,run))))))

(defmacro with-restart-to-serve (&body body)
  "Runs BODY with a restart ABORT, which leaves BODY; the thread then continues."
  `(with-own-restarts
     (restart-case (with-abort-for-quit ,@body)
       (abort ()
         :report "Continue to serve."
         nil))))
