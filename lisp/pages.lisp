;;;; Pages for plain HTTP: a health check, a demonstration.

(in-package #:portal)

(defvar *pages* (make-hash-table :test 'equal)
  "The pages defined in C, for a saved core: lists of content type and octets, by path.")

(defvar *pages-lock* (bt:make-lock "Portal's pages"))

(defun tell-c-of-page (path content-type octets)
  (with-data (body length octets)
    (check (portal-define-page path content-type body length) "Defining the page ~s" path)))

(defun tell-c-of-all-pages ()
  "Defines every page in C, after a saved core was started."
  (bt:with-lock-held (*pages-lock*)
    (loop for path being the hash-keys of *pages* using (hash-value page)
          do (apply #'tell-c-of-page path page))))

(defun define-page (path content &key (content-type "text/html; charset=utf-8"))
  "Defines the response to a plain GET of PATH: CONTENT, a string or octets. Returns PATH.

A page and a path may have the same string: a websocket request goes to the path."
  (check-text 'path path)
  (check-text :content-type content-type)
  (load-library)
  (let ((octets (octets-of content 'content)))
    (bt:with-lock-held (*pages-lock*)
      (tell-c-of-page path content-type octets)
      (setf (gethash path *pages*) (list content-type octets))))
  path)

(defun undefine-page (path)
  "Removes the page of PATH. Returns whether there was one."
  (check-text 'path path)
  (load-library)
  (bt:with-lock-held (*pages-lock*)
    (when (remhash path *pages*)
      (check (portal-undefine-page path) "Removing the page ~s" path)
      t)))
