;;;; The dispatcher: a thread that pulls events from C and calls the handlers.
;;;;
;;;; It can be interrupted, and so destroyed, while a handler runs and between two turns. However it ends,
;;;; it closes its server gracefully.

(in-package #:portal)

(defparameter *batch* 64
  "The maximum number of events that are pulled at once.")

(defparameter *wait* 50
  "Maximum time of a pull in milliseconds: ECL must not wait for long without interrupts.")

(defstruct (dispatcher (:constructor make-dispatcher (id port multi-thread)) (:copier nil))
  (id nil :read-only t)
  (port nil :read-only t)
  (multi-thread nil :read-only t)
  (lock (bt:make-lock "a server"))
  ;; :STARTING, :SERVING, :ENDED. Changes under the lock.
  (state :starting)
  (state-changed (bt:make-condition-variable))
  ;; Number of client threads. Changes under the lock.
  (threads 0)
  (thread-ended (bt:make-condition-variable))
  ;; Websockets by id. Only the dispatcher changes it, under the lock, so it reads without the lock.
  (websockets (make-hash-table))
  ;; The pulled records: COUNT, of which NEXT have been dispatched.
  (records (cffi:foreign-alloc '(:struct pulled) :count *batch*))
  (count 0 :type fixnum)
  (next 0 :type fixnum))

(defmethod print-object ((dispatcher dispatcher) stream)
  (print-unreadable-object (dispatcher stream :type t :identity t)
    (format stream "of port ~d, ~(~a~), ~d client~:p" (dispatcher-port dispatcher)
            (dispatcher-state dispatcher) (hash-table-count (dispatcher-websockets dispatcher)))))

(defvar *dispatcher* nil
  "On a dispatcher's thread, the dispatcher.")

(defvar *inside-handlers* nil
  "True on the threads on which handlers run.")

(defun enter-state (dispatcher state)
  (bt:with-lock-held ((dispatcher-lock dispatcher))
    (setf (dispatcher-state dispatcher) state)
    (bt:condition-notify (dispatcher-state-changed dispatcher))))

(defun wait-for-state (dispatcher &rest states)
  "Waits until DISPATCHER is in one of STATES."
  (bt:with-lock-held ((dispatcher-lock dispatcher))
    (loop until (member (dispatcher-state dispatcher) states)
          do (bt:condition-wait (dispatcher-state-changed dispatcher) (dispatcher-lock dispatcher)))
    ;; A notification wakes one thread: it wakes the next.
    (bt:condition-notify (dispatcher-state-changed dispatcher))))

(defun count-thread (dispatcher difference)
  (bt:with-lock-held ((dispatcher-lock dispatcher))
    (incf (dispatcher-threads dispatcher) difference)
    (bt:condition-notify (dispatcher-thread-ended dispatcher))))

(defun wait-for-threads (dispatcher)
  "Waits until the threads of all clients have ended."
  (bt:with-lock-held ((dispatcher-lock dispatcher))
    (loop until (zerop (dispatcher-threads dispatcher))
          do (bt:condition-wait (dispatcher-thread-ended dispatcher) (dispatcher-lock dispatcher)))))

;;; Websockets

(defun websocket-n (dispatcher id)
  (gethash id (dispatcher-websockets dispatcher)))

(defun add-websocket (dispatcher websocket)
  (bt:with-lock-held ((dispatcher-lock dispatcher))
    (setf (gethash (websocket-id websocket) (dispatcher-websockets dispatcher)) websocket)))

(defun remove-websocket (dispatcher id)
  (bt:with-lock-held ((dispatcher-lock dispatcher))
    (remhash id (dispatcher-websockets dispatcher))))

(defun start-client-thread (dispatcher websocket)
  "Starts a thread for WEBSOCKET; drops the connection when that fails."
  (setf (websocket-thread websocket) (make-client-thread))
  (count-thread dispatcher 1)
  (handler-case
      (bt:make-thread (lambda ()
                        (let ((*inside-handlers* t))
                          (unwind-protect (run-client-thread websocket)
                            (count-thread dispatcher -1))))
                      :name (format nil "Portal client ~a" (remote-address websocket)))
    (serious-condition (condition)
      (count-thread dispatcher -1)
      (end-client-thread websocket)
      (report-error condition "no thread for a client:"))))

;;; Dispatching

(defmacro or-end-client ((id) &body body)
  "Returns the value of BODY, which reads an event of the client ID from C. When BODY fails, most likely
for lack of memory, reports the failure, drops the connection and returns NIL."
  (let ((condition (gensym "CONDITION")))
    `(handler-case (progn ,@body)
       (serious-condition (,condition)
         (report-error ,condition "a connection was dropped:")
         (portal-abort ,id)
         nil))))

(defmacro on-thread-of ((websocket &optional (size 0)) &body body)
  "Runs BODY, an event for which room of SIZE octets is reserved, on WEBSOCKET's own thread if it has
one, else on this thread."
  (let ((condition (gensym "CONDITION")))
    `(if (websocket-thread ,websocket)
         (handler-case (enqueue ,websocket (lambda () ,@body) ,size)
           (serious-condition (,condition)
             (report-error ,condition "a connection was dropped:")
             (end-client-thread ,websocket)))
         (progn ,@body))))

(defun failure-condition (failure)
  "Returns a condition for FAILURE, an error of C."
  (cffi:with-foreign-slots ((status message)
                            failure (:struct failure))
    (make-condition (if (eql status +status-utf8+) 'protocol-error (status-condition status))
                    :status status
                    :message (lenient-text-from message))))

(defun open-websocket (dispatcher id path request)
  "Returns the websocket of a new client, with its thread if it needs one."
  (let ((websocket (or (websocket-n dispatcher id)
                       (make-websocket id path (read-opening request path)))))
    (setf (websocket-subprotocol websocket) (read-subprotocol request))
    (add-websocket dispatcher websocket)
    (when (dispatcher-multi-thread dispatcher)
      (start-client-thread dispatcher websocket))
    websocket))

(defun dispatch-connect (dispatcher id path request)
  (let ((websocket (or-end-client (id) (open-websocket dispatcher id path request))))
    (when websocket
      (on-thread-of (websocket)
        (handle-connect websocket)))))

(defun take-disconnect (dispatcher websocket code reason)
  (remove-websocket dispatcher (websocket-id websocket))
  (on-thread-of (websocket)
    (handle-disconnect websocket code reason)))

(defun refuse-message (websocket condition)
  "Reports that there is no memory for a message of WEBSOCKET, and closes it."
  (on-thread-of (websocket)
    (call-guarded websocket (lambda () (call-error-handler-or-report websocket condition))))
  (close websocket :code 1009))

(defun read-data (websocket kind data length)
  "Returns the message or pong of LENGTH octets at DATA; NIL when there is no memory for it."
  (handler-case (if (eql kind +text+)
                    (text-from data length)
                    (octets-from data length))
    (storage-condition (condition)
      (refuse-message websocket condition)
      nil)))

(defun size-in-lisp (kind length)
  "Returns the octets that LENGTH octets of KIND may take in Lisp, where a character takes four."
  (declare (type index length))
  (+ 64 (if (eql kind +text+) (* 4 length) length)))

(defun take-data (websocket kind data length handler)
  "Calls HANDLER with WEBSOCKET and its message or pong, on the websocket's thread."
  (let ((size (size-in-lisp kind length)))
    (when (or (null (websocket-thread websocket)) (make-room websocket size))
      (let ((message (read-data websocket kind data length)))
        (cond (message
               (on-thread-of (websocket size)
                 (funcall handler websocket message)))
              ((websocket-thread websocket)
               (give-back-room websocket size)))))))

(defun dispatch-event (dispatcher websocket event kind data length)
  (case event
    (#.+event-message+
     (take-data websocket kind data length #'handle-message))
    (#.+event-disconnect+
     (take-disconnect dispatcher websocket kind
                      (or (or-end-client ((websocket-id websocket)) (text-from data length)) "")))
    (#.+event-drain+
     (on-thread-of (websocket)
       (handle-drain websocket)))
    (#.+event-pong+
     (take-data websocket +binary+ data length #'handle-pong))
    (#.+event-error+
     (let ((condition (or-end-client ((websocket-id websocket)) (failure-condition data))))
       (when condition
         (on-thread-of (websocket)
           (handle-error websocket condition)))))))

(defun dispatch-record (dispatcher record)
  "Dispatches one event. Unknown events of later versions of the library are ignored."
  (cffi:with-foreign-slots ((event kind id number data len request) record (:struct pulled))
    (if (eql event +event-connect+)
        (dispatch-connect dispatcher id (path-n number) request)
        (let ((websocket (websocket-n dispatcher id)))
          ;; An unknown websocket connected while the thread was being destroyed.
          (when websocket
            (dispatch-event dispatcher websocket event kind data len))))))

(defun dispatch-records (dispatcher)
  "Dispatches the pulled events that have not been dispatched yet."
  (setf *turn-began* (get-internal-real-time))
  (loop while (< (dispatcher-next dispatcher) (dispatcher-count dispatcher))
        do (let ((record (cffi:mem-aptr (dispatcher-records dispatcher) '(:struct pulled)
                                        (dispatcher-next dispatcher))))
             (incf (dispatcher-next dispatcher))
             (dispatch-record dispatcher record))))

;;; The thread

(defun pull (dispatcher)
  "Waits for events up to *WAIT* and pulls them. Returns false when the server has ended."
  (let ((count (portal-server-pull (dispatcher-id dispatcher) *wait* (dispatcher-records dispatcher)
                                   *batch* (cffi:foreign-type-size '(:struct pulled)))))
    (setf (dispatcher-next dispatcher) 0
          (dispatcher-count dispatcher) (max 0 count))
    (unless (or (>= count 0) (eql count +status-gone+))
      (report-error (portal-status-text count) "a server has failed:"))
    (>= count 0)))

(defun free-records (dispatcher)
  (let ((records (shiftf (dispatcher-records dispatcher) nil)))
    (when records
      (cffi:foreign-free records))))

(defun finish (dispatcher)
  "Closes the server of DISPATCHER, dispatches all remaining events, and waits for the clients' threads.
May be called again after a non-local exit."
  (portal-server-begin-close (dispatcher-id dispatcher))
  (loop do (dispatch-records dispatcher)
        while (pull dispatcher))
  (wait-for-threads dispatcher)
  (free-records dispatcher)
  (enter-state dispatcher :ended))

(defun finish-despite-interrupts (dispatcher)
  "Finishes, even if the thread is destroyed meanwhile: ECL does not always defer interrupts."
  (loop until (eq (dispatcher-state dispatcher) :ended)
        do (block attempt
             (unwind-protect (finish dispatcher)
               (return-from attempt)))))

(defun run-dispatcher (dispatcher)
  "Serves until the server is closed."
  (let ((*dispatcher* dispatcher)
        (*inside-handlers* t)
        (*turn-began* 0))
    (without-interrupts
      (unwind-protect
           (progn
             (enter-state dispatcher :serving)
             (loop while (pull dispatcher)
                   do (loop do (allowing-interrupts
                                 (with-restart-to-serve
                                   (dispatch-records dispatcher)
                                   (with-interrupts nil)))
                            ;; After the restart, some events may not be dispatched yet.
                            while (< (dispatcher-next dispatcher) (dispatcher-count dispatcher)))))
        (finish-despite-interrupts dispatcher)))))
