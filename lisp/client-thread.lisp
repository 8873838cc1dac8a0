;;;; A thread for each client, for servers with :MULTI-THREAD: it runs the client's handlers, which the
;;;; dispatcher puts into its queue.

(in-package #:portal)

(defparameter *queue-limit* (* 64 1024 1024)
  "A client that sends while its handler is busy may have so many octets waiting.")

(defstruct (client-thread (:copier nil))
  (lock (bt:make-lock "a client's queue"))
  (changed (bt:make-condition-variable))
  ;; Thunks with their sizes, oldest first, and the last cons of the list.
  (queue '())
  (last nil)
  (octets 0)
  ;; Whether nobody takes from the queue any more.
  (ended nil))

(defun hand-over (websocket event size)
  "Queues EVENT, a thunk that holds SIZE octets, for WEBSOCKET's thread. A client that sends far more
than its handler takes is closed."
  (let ((thread (websocket-thread websocket)))
    (bt:with-lock-held ((client-thread-lock thread))
      (cond ((client-thread-ended thread))
            ((> (+ (client-thread-octets thread) size) *queue-limit*)
             (close websocket :code 1008 :reason "more messages than can be handled"))
            (t
             (let ((new (list (cons event size))))
               (if (client-thread-queue thread)
                   (setf (rest (client-thread-last thread)) new)
                   (setf (client-thread-queue thread) new))
               (setf (client-thread-last thread) new))
             (incf (client-thread-octets thread) size)
             (bt:condition-notify (client-thread-changed thread)))))))

(defun take-over (thread)
  "Waits for the oldest event in the queue and takes it out."
  (bt:with-lock-held ((client-thread-lock thread))
    (loop until (client-thread-queue thread)
          do (bt:condition-wait (client-thread-changed thread) (client-thread-lock thread)))
    (destructuring-bind (event . size) (pop (client-thread-queue thread))
      (decf (client-thread-octets thread) size)
      event)))

(defun end-client-thread (websocket)
  "Nobody will run WEBSOCKET's events: they are dropped, and it is ended."
  (let ((thread (websocket-thread websocket)))
    (bt:with-lock-held ((client-thread-lock thread))
      (setf (client-thread-ended thread) t
            (client-thread-queue thread) '())))
  (portal-abort (websocket-id websocket)))

(defun run-client-thread (websocket)
  "Runs the events of WEBSOCKET up to its disconnect. A thread that is destroyed takes its client with
it."
  (unwind-protect
       (loop until (eq (websocket-phase websocket) :closed)
             do (with-restart-to-serve
                  (funcall (take-over (websocket-thread websocket)))))
    (end-client-thread websocket)))
