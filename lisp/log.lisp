;;;; What the library has to say. Its lines come on the threads that call into it, which are Lisp's.

(in-package #:portal)

(defvar *log* nil
  "The function that takes the log, or NIL.")

(defvar *log-level* 1
  "Up to which of the levels lines are told.")

(defvar *overheard* nil
  "Bound to a cons by who wants to know, in its CAR, the last thing that was logged on its thread.")

(defparameter *log-levels* #(nil :error :warning :information :debugging :trace))

(defun report-error (condition format-control &rest arguments)
  "Says on *ERROR-OUTPUT* that CONDITION has come to nobody else's notice."
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
  user-data ; C gives it back, and it means nothing
  (block leaving
    ;; Nothing may leave a callback but by returning.
    (unwind-protect (take-line level (lenient-text-from message))
      (return-from leaving))))

(defun tell-c-of-log ()
  (portal-set-log *log-level* (cffi:callback take-log) (cffi:null-pointer)))

(defun set-log (function &key (level :information))
  "Has FUNCTION called with (LEVEL LINE) for each line of the library's log: what fails before a path is
known is told nowhere else. LEVEL is one of :ERROR, :WARNING, :INFORMATION, :DEBUGGING, :TRACE; lines
beyond it are not told. NIL for FUNCTION ends it. The function runs on whatever thread has called into
the library, and should be quick. Returns FUNCTION."
  (let ((number (position level *log-levels*)))
    (check-argument 'function function '(or function symbol) "a function or the name of one")
    (unless (and number (plusp number))
      (refuse-argument :level level "a level of the log"))
    (setf *log* function
          *log-level* (if function number 1)))
  (tell-c-of-log)
  function)
