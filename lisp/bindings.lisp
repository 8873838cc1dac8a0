;;;; The C interface, as portal.h has it. Ids are integers; a path's user_data is its number in Lisp.

(in-package #:portal)

(cffi:defctype status :int32)
(cffi:defctype id :uint64)

;;; Numbers

(defconstant +status-argument+ -1)
(defconstant +status-gone+ -2)
(defconstant +status-full+ -3)
(defconstant +status-too-big+ -4)
(defconstant +status-utf8+ -5)
(defconstant +status-address+ -6)
(defconstant +status-tls+ -7)
(defconstant +status-protocol+ -13)

(defconstant +text+ 1)
(defconstant +binary+ 2)

(defconstant +event-connect+ 2)
(defconstant +event-message+ 3)
(defconstant +event-disconnect+ 4)
(defconstant +event-drain+ 5)
(defconstant +event-pong+ 6)
(defconstant +event-error+ 7)

(defconstant +state-open+ 1)
(defconstant +state-closing+ 2)

(defconstant +dispatch-host+ 2)

;;; Structures

(cffi:defcstruct handlers
  (size :size)
  (connect :pointer)
  (message :pointer)
  (disconnect :pointer)
  (error :pointer)
  (upgrade :pointer)
  (drain :pointer)
  (pong :pointer)
  (release :pointer))

(cffi:defcstruct pulled
  (event :uint32)
  (kind :uint32)
  (id id)
  (number :uintptr)
  (data :pointer)
  (len :size)
  (request :pointer))

(cffi:defcstruct failure
  (size :size)
  (status status)
  (event :uint32)
  (code :int32)
  (close-code :uint32)
  (message :pointer))

;;; Functions

(defmacro define-c-function (c-name result &body parameters)
  "Defines a function that calls a C function. Its address is looked up at the first call, which loads the
library if needed."
  (let* ((name (intern (substitute #\- #\_ (string-upcase c-name))))
         (address (intern (format nil "*ADDRESS-OF-~a*" name))))
    `(progn
       (#+sbcl sb-ext:defglobal #-sbcl defvar ,address nil)
       (pushnew ',address *addresses*)
       (defun ,name ,(mapcar #'first parameters)
         (cffi:foreign-funcall-pointer
          (or ,address (setf ,address (c-function-address ,c-name))) ()
          ,@(loop for (parameter type) in parameters
                  append (list type parameter))
          ,result)))))

(define-c-function "portal_status_text" :string (status status))
(define-c-function "portal_version" :string)

(define-c-function "portal_define_path" status (path :string) (handlers :pointer) (user-data :uintptr))
(define-c-function "portal_undefine_path" status (path :string))
(define-c-function "portal_define_page" status
  (path :string) (content-type :string) (body :pointer) (len :size))
(define-c-function "portal_undefine_page" status (path :string))

(define-c-function "portal_server_start" status (port :uint32) (options :pointer) (server-out :pointer))
(define-c-function "portal_server_port" :uint32 (server id))
(define-c-function "portal_server_stop_accepting" status (server id))
(define-c-function "portal_server_close" status (server id))
(define-c-function "portal_server_begin_close" status (server id))
(define-c-function "portal_server_reload_tls" status (server id))
(define-c-function "portal_server_metric" :uint64 (server id) (which :uint32))
(define-c-function "portal_server_pull" :int32
  (server id) (timeout-ms :int32) (events :pointer) (max :size) (record-size :size))

(define-c-function "portal_options_create" :pointer)
(define-c-function "portal_options_set_number" status (options :pointer) (option :uint32) (value :int64))
(define-c-function "portal_options_set_text" status (options :pointer) (option :uint32) (value :string))
(define-c-function "portal_options_destroy" :void (options :pointer))

(define-c-function "portal_send" status (websocket id) (type :uint32) (data :pointer) (len :size))
(define-c-function "portal_ping" status (websocket id) (data :pointer) (len :size))
(define-c-function "portal_close" status (websocket id) (code :uint32) (reason :string))
(define-c-function "portal_flush" status (websocket id))
(define-c-function "portal_abort" status (websocket id))
(define-c-function "portal_state_of" :uint32 (websocket id))
(define-c-function "portal_queued" :size (websocket id))

(define-c-function "portal_request_path" :string (request :pointer))
(define-c-function "portal_request_target" :pointer (request :pointer))
(define-c-function "portal_request_header_count" :size (request :pointer))
(define-c-function "portal_request_header_name" :pointer (request :pointer) (index :size))
(define-c-function "portal_request_header_value" :pointer (request :pointer) (index :size))
(define-c-function "portal_request_param" :string (request :pointer) (name :string))
(define-c-function "portal_request_peer" :string (request :pointer))
(define-c-function "portal_request_subprotocol" :string (request :pointer))
(define-c-function "portal_request_set_header" status (request :pointer) (name :string) (value :string))
(define-c-function "portal_request_select_subprotocol" status (request :pointer) (name :string))

(define-c-function "portal_set_log" status (level :uint32) (callback :pointer) (user-data :pointer))

;;; Statuses

(defun status-condition (status)
  "Returns the name of the condition for STATUS."
  (case status
    (#.+status-argument+ 'argument-error)
    (#.+status-gone+ 'connection-closed)
    (#.+status-full+ 'send-queue-full)
    (#.+status-too-big+ 'message-too-large)
    (#.+status-address+ 'address-error)
    (#.+status-tls+ 'tls-error)
    (#.+status-protocol+ 'protocol-error)
    (t 'portal-error)))

(defun fail (status doing &rest initargs)
  "Signals the error for STATUS, a negative result of the operation DOING. INITARGS go to the condition."
  (apply #'error (status-condition status)
         :status status
         :message (format nil "~a: ~a" doing (portal-status-text status))
         initargs))

(declaim (inline check))
(defun check (status control &rest arguments)
  "Signals the error for STATUS if it is negative; CONTROL and ARGUMENTS describe the operation."
  (if (minusp status)
      (fail status (apply #'format nil control arguments))
      status))
