;;;; :UPGRADE, the only handler that C calls: its result is needed before the client is accepted.
;;;;
;;;; C calls it on the dispatcher's thread, inside a pull, so without interrupts. It must return normally:
;;;; every other exit ends here, and rejects the client with 500.

(in-package #:portal)

(defun answer-to (value)
  "Returns the result for C of a handler's VALUE: 0 accepts the client."
  (if (typep value '(integer 300 599)) value 0))

(defun ask-upgrade (websocket request)
  "Runs WEBSOCKET's :UPGRADE; returns the result for C."
  (setf (websocket-answer websocket) request)
  (let ((handler (definition-upgrade (definition-of websocket))))
    (if handler
        (multiple-value-bind (value returned)
            (call-guarded websocket (lambda () (funcall handler websocket)))
          (if returned (answer-to value) 500))
        0)))

(defun take-upgrade (id request number)
  (let* ((path (path-n number))
         (websocket (make-websocket id path (read-opening request path)))
         (answer 500))
    (add-websocket *dispatcher* websocket)
    (block leaving
      (unwind-protect (setf answer (ask-upgrade websocket request))
        (setf (websocket-answer websocket) nil)
        (unless (zerop answer)
          (setf (websocket-phase websocket) :closed)
          (remove-websocket *dispatcher* id))
        (return-from leaving answer)))))

(cffi:defcallback upgrade :int32 ((id id) (request :pointer) (number :uintptr))
  (take-upgrade id request number))

(defun upgrade-callback ()
  (cffi:callback upgrade))

(defun answer-of (websocket)
  "Returns the C request, whose response can still be changed."
  (or (websocket-answer websocket)
      (error 'portal-error :message "The response can be changed only inside :UPGRADE.")))

(defun set-response-header (websocket name value)
  "Inside :UPGRADE: sets a header of the response, whether it accepts or rejects. \"Set-Cookie\" is added,
other headers are replaced. Returns VALUE."
  (check-text 'name name)
  (check-text 'value value)
  (check (portal-request-set-header (answer-of websocket) name value) "Setting the header ~a" name)
  value)

(defun select-subprotocol (websocket name)
  "Inside :UPGRADE: selects the subprotocol NAME, which the client must have offered. Returns it."
  (check-text 'name name)
  (check (portal-request-select-subprotocol (answer-of websocket) name)
         "Selecting the subprotocol ~a" name)
  name)
