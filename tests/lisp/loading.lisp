;;;; The system compiles and loads without the C library, which is found at the first call.

(in-package #:portal-tests)

(in-suite portal)

(defun copy-of-sources (folder)
  "Copies Portal's sources for Lisp to FOLDER, where no library is near."
  (uiop:run-program (list "cp" "-r" (namestring (asdf:system-source-directory "portal"))
                          (namestring (merge-pathnames "lisp" folder)))))

(defun forms-for-copy (folder)
  "Forms that have ASDF take the sources in FOLDER, and compile them there."
  (list (format nil "(asdf:initialize-output-translations
                       (list :output-translations (list ~s ~s) :inherit-configuration))"
                (namestring (merge-pathnames "lisp/" folder))
                (namestring (merge-pathnames "compiled/" folder)))
        (format nil "(asdf:initialize-source-registry
                       (list :source-registry (list :directory ~s) :inherit-configuration))"
                (namestring (merge-pathnames "lisp/" folder)))
        "(defvar *warnings* 0)"
        "(handler-bind ((warning (lambda (condition)
                                   (unless (typep condition 'style-warning)
                                     (incf *warnings*)))))
           (asdf:load-system \"portal\"))"
        "(format t \"~&warnings ~d~%\" *warnings*)"))

(defun library-file ()
  (pws:library-version)
  (namestring (truename (cffi:foreign-library-pathname portal::*library*))))

(test without-the-library-all-loads-and-the-first-call-says-so
  (with-temporary-folder (folder)
    (copy-of-sources folder)
    (let ((output (run-lisp
                   (append (forms-for-copy folder)
                           (list "(setf portal::*library-names* '(\"no-library.so\"))"
                                 "(handler-case (pws:define-path-handler \"/first\")
                                    (pws:library-not-found (condition)
                                      (format t \"~&missing: ~a~%\" condition)))"
                                 (format nil "(handler-bind
                                                  ((pws:library-not-found
                                                     (lambda (condition)
                                                       (declare (ignore condition))
                                                       (invoke-restart 'use-value ~s))))
                                                (format t \"~~&version ~~a~~%\" (pws:library-version)))"
                                         (library-file))
                                 "(pws:server-close (pws:websocket-server 0))"
                                 "(format t \"~&served~%\")")))))
      (is (search "warnings 0" output) "~a" output)
      (is (not (search "WARNING" output)) "~a" output)
      (is (search "missing: " output))
      (is (search (format nil "version ~a" (pws:library-version)) output))
      (is (search "served" output)))))

(test a-library-of-another-project-is-passed-over
  (with-temporary-folder (folder)
    (let ((other (namestring (merge-pathnames (first portal::*library-names*) folder))))
      (uiop:run-program (list "cc" "-shared" "-x" "c" "/dev/null" "-o" other))
      (let ((output (run-lisp
                     (list "(asdf:load-system \"portal\")"
                           (format nil "(format t \"~~&loaded ~~a~~%\" (portal::load-candidate ~s))" other)
                           (format nil "(format t \"~~&loaded ~~a~~%\"
                                                (and (portal::load-candidate ~s) t))"
                                   (library-file))))))
        (is (search (format nil "loaded NIL~%loaded T") output) "~a" output)))))

(defmacro with-library-forgotten (&body body)
  "Runs BODY in which the library is not loaded, and not found where it is looked for first."
  `(let ((names portal::*library-names*))
     (portal::forget-library)
     (setf portal::*library-names* '("no-library.so"))
     (unwind-protect (progn ,@body)
       (setf portal::*library-names* names)
       (portal::load-library))))

(defun found-with (restart &rest arguments)
  "Whether RESTART finds the library, which is not found at first."
  (with-library-forgotten
    (handler-bind ((pws:library-not-found
                     (lambda (condition)
                       (declare (ignore condition))
                       (setf portal::*library-names* names)
                       (apply #'invoke-restart restart arguments))))
      (stringp (pws:library-version)))))

(test the-library-may-be-named-and-looked-for-again
  (with-library-forgotten
    (signals pws:library-not-found (pws:library-version)))
  (let ((file (library-file)))
    (is-true (found-with 'use-value file))
    (is-true (found-with 'use-value (directory-namestring file)))
    (is-true (found-with 'pws:retry))))

(test what-was-defined-is-known-to-a-library-that-is-loaded-again
  (define-echo "/loaded-again")
  (pws:define-page "/page-again" "page")
  (let ((file (library-file)))
    (with-library-forgotten
      (handler-bind ((pws:library-not-found (lambda (condition)
                                              (declare (ignore condition))
                                              (invoke-restart 'use-value file))))
        (with-server (server)
          (is (equal "on" (ask-and-hear (connect server "/loaded-again") "on")))
          (is (equal "200" (first (ask "get" (pws:server-port server) "/page-again")))))))))
