;;;; The tests of Portal for Common Lisp.

(defpackage #:portal-tests
  (:use #:common-lisp #:fiveam)
  (:export #:run-all))

(in-package #:portal-tests)

(def-suite portal :description "Portal serves real clients.")

(defun run-all ()
  "Runs all tests; returns whether they passed. The last line counts them."
  (let* ((results (let ((before pws:*debug-on-error*))
                    ;; Nobody sits at a debugger.
                    (setf pws:*debug-on-error* nil)
                    (unwind-protect (run 'portal)
                      (setf pws:*debug-on-error* before))))
         (failed (count-if-not (lambda (result) (typep result 'fiveam::test-passed)) results)))
    (explain! results)
    (format t "~&~d passed, ~d failed (~a ~a)~%" (- (length results) failed) failed
            (lisp-implementation-type) (lisp-implementation-version))
    (and (plusp (length results)) (zerop failed))))
