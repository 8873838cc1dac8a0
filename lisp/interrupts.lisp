;;;; When a thread may be interrupted, and so destroyed, by another.
;;;;
;;;; SBCL and ECL have the same four operators for this, in different packages. Other implementations
;;;; have none: there, BT:DESTROY-THREAD on a server is at the program's own risk.

(in-package #:portal)

(defmacro without-interrupts (&body body)
  "Runs BODY uninterrupted, except inside WITH-INTERRUPTS inside ALLOWING-INTERRUPTS."
  #+sbcl `(sb-sys:without-interrupts ,@body)
  #+ecl `(mp:without-interrupts ,@body)
  #-(or sbcl ecl) `(progn ,@body))

(defmacro allowing-interrupts (&body body)
  "Lets WITH-INTERRUPTS take effect in BODY. Must be directly inside WITHOUT-INTERRUPTS."
  #+sbcl `(sb-sys:allow-with-interrupts ,@body)
  #+ecl `(mp:allow-with-interrupts ,@body)
  #-(or sbcl ecl) `(progn ,@body))

(defmacro with-interrupts (&body body)
  "Runs BODY, which may be interrupted where that is allowed."
  #+sbcl `(sb-sys:with-interrupts ,@body)
  #+ecl `(mp:with-interrupts ,@body)
  #-(or sbcl ecl) `(progn ,@body))
