;;;; The log of the library. Messages are received on the threads that call the library, which are Lisp's.

(in-package #:portal)

(defvar *log* nil
  "The function that receives the log, or NIL.")

(defvar *log-level* 1
  "The highest level of messages that are reported.")

(defvar *overheard* nil
  "When bound to a cons, its CAR receives the last message that was logged on this thread.")

(defparameter *log-levels* #(nil :error :warning :information :debugging :trace))

(defun report-error (condition format-control &rest arguments)
  "Reports CONDITION, which nothing else has handled, on *ERROR-OUTPUT*."
  (ignore-errors
   (format *error-output* "~&Portal: ~? ~a~%" format-control arguments condition)
   (force-output *error-output*)))

(defun take-line (level line)
  (when *overheard*
    (setf (car *overheard*) line))
  (let ((function *log*))
    (when function
      (handler-case
          (funcall function (svref *log-levels* (min level (1- (length *log-levels*)))) line)
        (serious-condition (condition)
          (report-error condition "an error in the function of SET-LOG:"))))))

(cffi:defcallback take-log :void ((level :uint32) (message :pointer) (user-data :pointer))
  user-data ; unused
  (block leaving
    ;; A callback must return normally.
    (unwind-protect (take-line level (lenient-text-from message))
      (return-from leaving))))

(defun tell-c-of-log ()
  (portal-set-log *log-level* (cffi:callback take-log) (cffi:null-pointer)))

(defun set-log (function &key (level :information))
  "Calls FUNCTION with (LEVEL LINE) for each message of the library's log. What fails before a path is
known is reported only there. LEVEL is one of :ERROR, :WARNING, :INFORMATION, :DEBUGGING, :TRACE;
messages beyond it are not reported. NIL for FUNCTION disables the log. The function runs on the thread
that has called the library, and should be quick. Returns FUNCTION."
  (let ((number (position level *log-levels*)))
    (check-argument 'function function '(or function symbol) "a function or a function name")
    (unless (and number (plusp number))
      (refuse-argument :level level "a log level"))
    (setf *log* function
          *log-level* (if function number 1)))
  (tell-c-of-log)
  function)
