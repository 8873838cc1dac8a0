;;;; Saved cores: the library is let go before a core is saved, and found anew when it starts.

(in-package #:portal)

(defun leave-image ()
  (when *servers*
    (error 'portal-error :message "Close Portal's servers before you save a core."))
  (forget-library))

(defun enter-image ()
  "Loads the library and tells it what it knew."
  (load-library)
  (tell-c-of-all-paths)
  (tell-c-of-all-pages)
  (tell-c-of-log))

#+sbcl (pushnew 'leave-image sb-ext:*save-hooks*)
#+sbcl (pushnew 'enter-image sb-ext:*init-hooks*)
