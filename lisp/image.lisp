;;;; Saved cores: the library is let go before a core is saved. The first call in its next process loads
;;;; it again.

(in-package #:portal)

(defun leave-image ()
  (when *servers*
    (error 'portal-error :message "Close Portal's servers before you save a core."))
  (forget-library))

#+sbcl (pushnew 'leave-image sb-ext:*save-hooks*)
