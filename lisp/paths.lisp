;;;; The table of paths, and what defines them.
;;;;
;;;; C knows each path by a number of ours and gives it back with every event. Behind the number is
;;;; whatever is defined now, so a redefinition concerns clients that are connected already.

(in-package #:portal)

(defstruct (definition (:copier nil))
  "What happens on a path: functions, names of functions, or NIL."
  connect message disconnect error upgrade drain pong)

(defmethod print-object ((definition definition) stream)
  (print-unreadable-object (definition stream :type t :identity t)))

(defstruct (path (:constructor make-path (name number definition)) (:copier nil))
  name
  number
  definition
  ;; Whether C knows it, and whether C knows it with :UPGRADE: NIL, :PLAIN or :UPGRADE.
  (known nil))

(defmethod print-object ((path path) stream)
  (print-unreadable-object (path stream :type t)
    (prin1 (path-name path) stream)))

(defvar *paths* (make-hash-table :test 'equal)
  "Paths by their names; changed while *PATHS-LOCK* is held. An undefined path stays: it has clients,
or its name will be used again.")

(defvar *paths-by-number* (vector)
  "The same by their numbers. Replaced as a whole, so that it is read without a lock.")

(defvar *paths-lock* (bt:make-recursive-lock "Portal's paths"))

(declaim (inline path-n))
(defun path-n (number)
  (svref (the simple-vector *paths-by-number*) number))

(defun ensure-path (name)
  "The path called NAME, made with no definition when there is none."
  (or (gethash name *paths*)
      (let ((path (make-path name (length *paths-by-number*) (make-definition))))
        (setf *paths-by-number* (concatenate 'simple-vector *paths-by-number* (list path))
              (gethash name *paths*) path))))

(defun tell-c-of-path (path kind)
  "Defines PATH in C as KIND, :PLAIN or :UPGRADE."
  (cffi:with-foreign-object (handlers '(:struct handlers))
    (loop for offset below (cffi:foreign-type-size '(:struct handlers))
          do (setf (cffi:mem-ref handlers :uint8 offset) 0))
    (setf (cffi:foreign-slot-value handlers '(:struct handlers) 'size)
          (cffi:foreign-type-size '(:struct handlers)))
    (when (eq kind :upgrade)
      (setf (cffi:foreign-slot-value handlers '(:struct handlers) 'upgrade)
            (upgrade-callback)))
    (check (portal-define-path (path-name path) handlers (path-number path))
           "Defining the path ~s" (path-name path)))
  (setf (path-known path) kind))

(defun define-path (name definition)
  (check-text 'path name)
  (load-library)
  (bt:with-recursive-lock-held (*paths-lock*)
    (let ((path (ensure-path name))
          (kind (if (definition-upgrade definition) :upgrade :plain)))
      (unless (eq (path-known path) kind)
        (tell-c-of-path path kind))
      (setf (path-definition path) definition)))
  name)

(defun tell-c-of-all-paths ()
  "Defines in C, which knows none, every path that is defined in Lisp: in a core that was saved."
  (bt:with-recursive-lock-held (*paths-lock*)
    (loop for path across *paths-by-number*
          when (path-known path)
            do (tell-c-of-path path (path-known path)))))

(defun check-handler (argument handler)
  (check-argument argument handler '(or function symbol) "a function or the name of one"))

(defun define-path-handler (path &key connect message disconnect error upgrade drain pong)
  "Defines what happens to websockets on PATH, or defines it anew; clients that are connected get the
new definition with their next event. Returns PATH.

PATH is exact (\"/echo\"), may hold parameters (\"/room/{name}\") and may end in a catch-all
(\"/files/{*rest}\"). Each handler is a function or the name of one:

  :CONNECT     (websocket)            a client has come
  :MESSAGE     (websocket message)    a string, or a (simple-array (unsigned-byte 8) (*))
  :DISCONNECT  (websocket)            it has gone; nothing can be sent to it any more
  :ERROR       (websocket condition)  a handler signalled an error, or the client broke a rule
  :UPGRADE     (websocket)            a client asks to come in: an integer from 400 to 599 turns it
                                      away with that HTTP status, any other value lets it in
  :DRAIN       (websocket)            after SEND-QUEUE-FULL: there is room again
  :PONG        (websocket octets)     the answer to SEND-PING

The values of the others are ignored."
  (loop for (argument handler) on (list :connect connect :message message :disconnect disconnect
                                        :error error :upgrade upgrade :drain drain :pong pong)
          by #'cddr
        do (check-handler argument handler))
  (define-path path (make-definition :connect connect :message message :disconnect disconnect
                                     :error error :upgrade upgrade :drain drain :pong pong)))

(defun define-resource (path &key open message close error)
  "DEFINE-PATH-HANDLER with the names of version 1.2: :OPEN is :CONNECT and :CLOSE is :DISCONNECT."
  (check-handler :open open)
  (check-handler :close close)
  (define-path-handler path :connect open :message message :disconnect close :error error))

(defun undefine-path-handler (path)
  "Removes PATH: new clients are answered 404, those connected keep the last definition. Returns
whether there was such a path."
  (check-text 'path path)
  (load-library)
  (bt:with-recursive-lock-held (*paths-lock*)
    (let ((known (gethash path *paths*)))
      (when (and known (path-known known))
        (check (portal-undefine-path path) "Removing the path ~s" path)
        (setf (path-known known) nil)
        t))))
