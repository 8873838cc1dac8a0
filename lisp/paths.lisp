;;;; The table of paths, and their definitions.
;;;;
;;;; Each path has a number, which C returns with every event. The number identifies the current
;;;; definition, so a redefinition also applies to connected clients.

(in-package #:portal)

(defstruct (definition (:copier nil))
  "The handlers of a path: functions, function names, or NIL."
  connect message disconnect error upgrade drain pong)

(defmethod print-object ((definition definition) stream)
  (print-unreadable-object (definition stream :type t :identity t)))

(defstruct (path (:constructor make-path (name number definition)) (:copier nil))
  name
  number
  definition
  ;; Whether it is defined in C, and with :UPGRADE: NIL, :PLAIN or :UPGRADE.
  (known nil))

(defmethod print-object ((path path) stream)
  (print-unreadable-object (path stream :type t)
    (prin1 (path-name path) stream)))

(defvar *paths* (make-hash-table :test 'equal)
  "Paths by name; changed while *PATHS-LOCK* is held. An undefined path stays in the table, because it has
clients or its name may be used again.")

(defvar *paths-by-number* (vector)
  "Paths by number. Replaced as a whole, so that it can be read without a lock.")

(defvar *paths-lock* (bt:make-recursive-lock "Portal's paths"))

(declaim (inline path-n))
(defun path-n (number)
  (svref (the simple-vector *paths-by-number*) number))

(defun ensure-path (name)
  "Returns the path named NAME; creates it, without handlers, when there is none."
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
  "Defines every path of Lisp in C, after a saved core was started."
  (bt:with-recursive-lock-held (*paths-lock*)
    (loop for path across *paths-by-number*
          when (path-known path)
            do (tell-c-of-path path (path-known path)))))

(defun check-handler (argument handler)
  (check-argument argument handler '(or function symbol) "a function or a function name"))

(defun define-path-handler (path &key connect message disconnect error upgrade drain pong)
  "Defines the handlers of PATH, or replaces them; connected clients get the new definition with their
next event. Returns PATH.

PATH is exact (\"/echo\"), may contain parameters (\"/room/{name}\") and may end in a catch-all
(\"/files/{*rest}\"). Each handler is a function or a function name:

  :CONNECT     (websocket)            the websocket is open
  :MESSAGE     (websocket message)    a message was received: a string, or a
                                      (simple-array (unsigned-byte 8) (*))
  :DISCONNECT  (websocket)            the websocket has ended; nothing can be sent any more
  :ERROR       (websocket condition)  a handler signalled an error, or the client violated
                                      the protocol
  :UPGRADE     (websocket)            a client requests a websocket: an integer from 300 to 599
                                      rejects it with that HTTP status, any other value
                                      accepts it
  :DRAIN       (websocket)            the send queue has room again after SEND-QUEUE-FULL
  :PONG        (websocket octets)     a reply to SEND-PING was received

The values of the other handlers are ignored."
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
  "Removes PATH: new clients are rejected with 404, connected ones keep the last definition. Returns
whether there was such a path."
  (check-text 'path path)
  (load-library)
  (bt:with-recursive-lock-held (*paths-lock*)
    (let ((known (gethash path *paths*)))
      (when (and known (path-known known))
        (check (portal-undefine-path path) "Removing the path ~s" path)
        (setf (path-known known) nil)
        t))))
