;;;; Finding and loading the C library.
;;;;
;;;; No place is remembered from one process to the next: a saved core looks for the library anew.

(in-package #:portal)

(cffi:define-foreign-library libportal
  (t (:or "libportal.so.0" "libportal.so")))

(defparameter *library-names* '("libportal.so.0" "libportal.so")
  "The names of the library's file, best first.")

(defun named-library ()
  "What the environment variable PORTAL_LIBRARY names, a file or a folder; NIL when it is not set."
  (let ((name (uiop:getenv "PORTAL_LIBRARY")))
    (when (and name (string/= name ""))
      name)))

(defun library-folders ()
  "Where the library is looked for before the system's places."
  (let ((named (named-library))
        (sources (asdf:system-source-directory "portal")))
    (append (when named
              (list (uiop:ensure-directory-pathname named)))
            (when sources
              (list sources (merge-pathnames "../target/release/" sources))))))

(defun library-candidates ()
  "All that may be the library, best first. The last, LIBPORTAL, is looked for by the system, and in
CFFI:*FOREIGN-LIBRARY-DIRECTORIES*."
  (let ((named (named-library)))
    (append (when (and named (uiop:file-exists-p named))
              (list (uiop:native-namestring named)))
            (loop for folder in (library-folders)
                  nconc (loop for name in *library-names*
                              for file = (merge-pathnames name folder)
                              when (uiop:file-exists-p file)
                                collect (uiop:native-namestring file)))
            '(libportal))))

(defun load-candidate (candidate)
  "Loads CANDIDATE and returns it, if it is Portal's: another project has a libportal.so, too."
  (let ((library (handler-case (cffi:load-foreign-library candidate)
                   (cffi:load-foreign-library-error () nil))))
    (cond ((null library) nil)
          ((cffi:foreign-symbol-pointer "portal_version") library)
          (t (cffi:close-foreign-library library)
             nil))))

(defvar *library* nil
  "The library as CFFI knows it, while it is loaded.")

(defun load-library ()
  "Loads the library unless it is loaded; signals LIBRARY-NOT-FOUND when it cannot be had."
  (unless *library*
    (setf *library* (or (some #'load-candidate (library-candidates))
                        (error 'library-not-found
                               :places (append (library-folders)
                                               (list "where the system keeps libraries")))))))

(defun forget-library ()
  "Undoes LOAD-LIBRARY."
  (when *library*
    (cffi:close-foreign-library (shiftf *library* nil))))

(load-library)
