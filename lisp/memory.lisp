;;;; Limits on the memory of messages that are pending for busy handlers, or being handled.
;;;;
;;;; Clients determine the amount, so each client has a limit, and all clients together have one. Messages
;;;; are counted by their size in Lisp, where a character takes four octets.

(in-package #:portal)

(defparameter *queue-limit* (* 64 1024 1024)
  "The maximum number of octets in Lisp that are pending for the handlers of one client.")

(defparameter *memory-limit* nil
  "The maximum number of octets in Lisp that are pending for the handlers of all clients, or being
handled; NIL is a quarter of the heap.")

(defvar *memory-lock* (bt:make-lock "Portal's memory"))

(defvar *memory-held* 0
  "The number of octets that are pending or being handled. Changes under the lock.")

(defun memory-limit ()
  (or *memory-limit*
      (floor #+sbcl (sb-ext:dynamic-space-size)
             #+ecl (let ((size (ext:get-limit 'ext:heap-size)))
                     ;; 0 means no limit.
                     (if (plusp size) size (* 1024 1024 1024)))
             #-(or sbcl ecl) (* 1024 1024 1024)
             4)))

(defun hold-memory (size)
  "Counts SIZE octets and returns true, unless they exceed the limit. A single message may exceed it."
  (bt:with-lock-held (*memory-lock*)
    (when (or (zerop *memory-held*) (<= (+ *memory-held* size) (memory-limit)))
      (incf *memory-held* size))))

(defun release-memory (size)
  (bt:with-lock-held (*memory-lock*)
    (decf *memory-held* size)))
