;;;; Saved cores: the library is unloaded before a core is saved. The first call in the next process loads
;;;; it again.

(in-package #:portal)

(defun leave-image ()
  (when *servers*
    (error 'portal-error :message "Close Portal's servers before you save a core."))
  (forget-library))

#+sbcl (pushnew 'leave-image sb-ext:*save-hooks*)
