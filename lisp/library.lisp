;;;; Finding and loading the C library.
;;;;
;;;; The library is loaded at the first call that needs it: the system compiles and loads without. A
;;;; saved core searches for the library again.

(in-package #:portal)

(defparameter *library-names* '("libportal-ws.so.0" "libportal.so")
  "The names of the library's file, best first.")

(defun named-library ()
  "Returns the value of the environment variable PORTAL_LIBRARY, a file or a folder; NIL when it is not set."
  (let ((name (uiop:getenv "PORTAL_LIBRARY")))
    (when (and name (string/= name ""))
      name)))

(defun library-folders ()
  "Returns the folders that are searched before those of the system."
  (let ((named (named-library))
        (sources (asdf:system-source-directory "portal")))
    (append (when named
              (list (uiop:ensure-directory-pathname named)))
            (when sources
              (list sources (merge-pathnames "../target/release/" sources))))))

(defun files-in (folder)
  "Returns the files in FOLDER that may be the library, best first."
  (loop for name in *library-names*
        for file = (merge-pathnames name folder)
        when (uiop:file-exists-p file)
          collect (uiop:native-namestring file)))

(defun library-candidates ()
  "Returns all files that may be the library, best first. The last ones, names without a folder, are looked
up by the system, and in CFFI:*FOREIGN-LIBRARY-DIRECTORIES*."
  (let ((named (named-library)))
    (append (when (and named (uiop:file-exists-p named))
              (list (uiop:native-namestring named)))
            (mapcan #'files-in (library-folders))
            (copy-list *library-names*))))

(defun load-candidate (candidate)
  "Loads CANDIDATE and returns it if it is Portal's library: another project has a libportal.so, too."
  (let ((library (handler-case (cffi:load-foreign-library candidate)
                   (cffi:load-foreign-library-error () nil))))
    (cond ((null library) nil)
          ((cffi:foreign-symbol-pointer "portal_version") library)
          (t (cffi:close-foreign-library library)
             nil))))

;;; Loading

(defvar *library* nil
  "The library as CFFI knows it, while it is loaded.")

(defvar *library-lock* (bt:make-recursive-lock "Portal's library"))

(defvar *addresses* '()
  "The variables that hold the addresses of C's functions.")

(defun forget-library ()
  "Undoes LOAD-LIBRARY."
  (dolist (variable *addresses*)
    (setf (symbol-value variable) nil))
  (when *library*
    (cffi:close-foreign-library (shiftf *library* nil))))

(defun candidates-in (name)
  "Returns the files that may be the library when a user has entered NAME, a file or a folder."
  (let ((folder (uiop:directory-exists-p name)))
    (if folder
        (files-in folder)
        (list (uiop:native-namestring name)))))

(defun load-one-of (candidates)
  "Loads the first of CANDIDATES that is the library, and defines there what a saved core had defined.
Returns false when none is the library."
  (bt:with-recursive-lock-held (*library-lock*)
    (or *library*
        (when (setf *library* (some #'load-candidate candidates))
          (let ((told nil))
            (unwind-protect
                 (progn
                   (tell-c-of-log)
                   (tell-c-of-all-paths)
                   (tell-c-of-all-pages)
                   (setf told t))
              (unless told
                (forget-library))))
          *library*))))

(defun read-name ()
  (format *query-io* "~&The file of Portal's library, or its folder: ")
  (finish-output *query-io*)
  (list (read-line *query-io*)))

(defun ask-for-library ()
  "Signals LIBRARY-NOT-FOUND. Returns the next candidates when a restart is chosen."
  (restart-case
      (error 'library-not-found
             :places (append (library-folders) (list "where the system keeps libraries")))
    (retry ()
      :report "Search for the library again."
      (library-candidates))
    (use-value (name)
      :report "Enter the library's file or folder."
      :interactive read-name
      (candidates-in name))))

(defun load-library ()
  "Loads the library unless it is loaded. Signals LIBRARY-NOT-FOUND when it is not found."
  (unless *library*
    (loop with candidates = (library-candidates)
          until (load-one-of candidates)
          do (setf candidates (ask-for-library)))))

(defun c-function-address (name)
  "Returns the address of C's function NAME."
  (load-library)
  (or (cffi:foreign-symbol-pointer name)
      (error 'portal-error
             :message (format nil "Portal's library has no function ~a: its version is incompatible." name))))
