;;;; What can go wrong, as conditions.

(in-package #:portal)

(define-condition portal-error (error)
  ((status :initarg :status :initform nil :reader portal-error-status)
   (websocket :initarg :websocket :initform nil :reader portal-error-websocket)
   (message :initarg :message :initform "Portal failed." :reader portal-error-message))
  (:report (lambda (condition stream)
             (write-string (portal-error-message condition) stream)))
  (:documentation "Above all errors that Portal signals."))

(define-condition argument-error (portal-error)
  ((argument :initarg :argument :initform nil :reader argument-error-argument))
  (:documentation "An argument is of the wrong type or out of range; the report names it."))

(define-condition connection-closed (portal-error) ()
  (:documentation "The websocket has closed or is closing: nothing can be sent to it."))

(define-condition send-queue-full (portal-error) ()
  (:documentation "The client reads too slowly and its send queue is full; nothing was queued. Go on in
the path's :DRAIN."))

(define-condition message-too-large (portal-error) ()
  (:documentation "A client's message is over the limit, or a ping or close reason is too long to send."))

(define-condition address-error (portal-error)
  ((port :initarg :port :initform nil :reader address-error-port))
  (:report (lambda (condition stream)
             (format stream "No server on port ~a: ~a."
                     (address-error-port condition) (portal-error-message condition))))
  (:documentation "A server cannot listen where it should."))

(define-condition tls-error (portal-error) ()
  (:documentation "The certificate or its key is missing, unreadable, or they are not a pair."))

(define-condition protocol-error (portal-error) ()
  (:documentation "The client broke the WebSocket protocol."))

(define-condition library-not-found (portal-error)
  ((places :initarg :places :initform '() :reader library-not-found-places))
  (:report (lambda (condition stream)
             (format stream "Portal's library libportal-ws.so.0 was not found. Tried:~%~{  ~a~%~}~
                             Build it with `cargo build --release` in Portal's folder, or let the environment ~
                             variable PORTAL_LIBRARY name the library or its folder."
                     (library-not-found-places condition))))
  (:documentation "The C library cannot be loaded; the report says where it was looked for."))

(setf (documentation 'portal-error-status 'function)
      "The library's number for what went wrong, such as -2; NIL when it did not say one."
      (documentation 'portal-error-websocket 'function)
      "The websocket to which something could not be done; NIL when it is about none."
      (documentation 'argument-error-argument 'function)
      "The name of the argument, such as :HOST; NIL when the library alone has found it wrong."
      (documentation 'address-error-port 'function)
      "The port that was asked for.")
