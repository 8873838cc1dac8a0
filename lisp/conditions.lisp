;;;; Conditions.

(in-package #:portal)

(define-condition portal-error (error)
  ((status :initarg :status :initform nil :reader portal-error-status)
   (websocket :initarg :websocket :initform nil :reader portal-error-websocket)
   (message :initarg :message :initform "Portal failed." :reader portal-error-message))
  (:report (lambda (condition stream)
             (write-string (portal-error-message condition) stream)))
  (:documentation "The base of all errors that Portal signals."))

(define-condition argument-error (portal-error)
  ((argument :initarg :argument :initform nil :reader argument-error-argument))
  (:documentation "An argument is of the wrong type or out of range; the report names it."))

(define-condition connection-closed (portal-error) ()
  (:documentation "The websocket has closed or is closing: nothing can be sent to it."))

(define-condition send-queue-full (portal-error) ()
  (:documentation "The client reads too slowly and its send queue is full; nothing was queued. Continue in
the path's :DRAIN."))

(define-condition message-too-large (portal-error) ()
  (:documentation "A received message is over the limit, or a ping or close reason is too long to send."))

(define-condition address-error (portal-error)
  ((port :initarg :port :initform nil :reader address-error-port))
  (:report (lambda (condition stream)
             (format stream "Cannot listen on port ~a: ~a."
                     (address-error-port condition) (portal-error-message condition))))
  (:documentation "A server cannot listen on its address."))

(define-condition tls-error (portal-error) ()
  (:documentation "The certificate or its key is missing or unreadable, or they do not match."))

(define-condition protocol-error (portal-error) ()
  (:documentation "The client violated the WebSocket protocol."))

(define-condition library-not-found (portal-error)
  ((places :initarg :places :initform '() :reader library-not-found-places))
  (:report (lambda (condition stream)
             (format stream "Portal's library libportal-ws.so.0 was not found. Tried:~%~{  ~a~%~}~
                             Build it with `cargo build --release` in Portal's folder, or set the ~
                             environment variable PORTAL_LIBRARY to the library or its folder."
                     (library-not-found-places condition))))
  (:documentation "The C library cannot be found or loaded; the report lists the places that were searched."))

(setf (documentation 'portal-error-status 'function)
      "The status of the C function, such as -2; NIL when there is none."
      (documentation 'portal-error-websocket 'function)
      "The websocket on which the operation failed; NIL when there is none."
      (documentation 'argument-error-argument 'function)
      "The name of the argument, such as :HOST; NIL when only the C library has rejected it."
      (documentation 'address-error-port 'function)
      "The requested port.")
