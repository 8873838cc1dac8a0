;;;; What the library has to say, for those who want to read it.

(in-package #:portal)

(defvar *log* nil
  "The function that takes the log, and the level, as a list; or NIL.")

(defparameter *log-levels* #(nil :error :warning :information :debugging :trace))

(cffi:defcallback take-log :void ((level :uint32) (message :pointer) (user-data :pointer))
  (declare (ignore user-data))
  (block leaving
    (unwind-protect
         (handler-case
             (funcall (first *log*)
                      (svref *log-levels* (min level (1- (length *log-levels*))))
                      (lenient-text-from message))
           (error (condition)
             (report-error condition "an error in the function of SET-LOG:")))
      (return-from leaving))))

(defun tell-c-of-log ()
  (if *log*
      (portal-set-log (second *log*) (cffi:callback take-log) (cffi:null-pointer))
      (portal-set-log 1 (cffi:null-pointer) (cffi:null-pointer))))

(defun set-log (function &key (level :information))
  "Has FUNCTION called with (LEVEL MESSAGE) for each line of the library's log: what fails before a path
is known is told nowhere else. LEVEL is one of :ERROR, :WARNING, :INFORMATION, :DEBUGGING, :TRACE; lines
beyond it are not told. NIL for FUNCTION ends it. The function is called on whatever thread calls into
the library, and should be quick."
  (let ((number (position level *log-levels*)))
    (check-type number (integer 1) "a level of the log")
    ;; C is told before a function goes and after one has come, so it finds one whenever it calls.
    (if function
        (setf *log* (list function number))
        (portal-set-log 1 (cffi:null-pointer) (cffi:null-pointer)))
    (setf *log* (when function (list function number)))
    (tell-c-of-log))
  function)
