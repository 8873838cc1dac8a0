;;;; A thread for each client, for servers with :MULTI-THREAD: it runs the client's handlers, which the
;;;; dispatcher puts into its queue.

(in-package #:portal)

(defstruct (client-thread (:copier nil))
  (lock (bt:make-lock "a client's queue"))
  (changed (bt:make-condition-variable))
  ;; Events, oldest first, and the last cons of the list.
  (queue '())
  (last nil)
  ;; Octets of memory that the client's events hold, and those of the event that is being handled.
  (octets 0)
  (handled 0)
  ;; Whether the client has exceeded a limit: no more of its messages are taken.
  (overrun nil)
  ;; Whether the thread has ended, so that events are no longer accepted.
  (ended nil))

(defmethod print-object ((thread client-thread) stream)
  (print-unreadable-object (thread stream :type t :identity t)
    (format stream "~d event~:p" (length (client-thread-queue thread)))))

(defstruct (event (:constructor make-event (thunk size)) (:copier nil))
  "A thunk, and the octets of memory that it holds."
  thunk size)

;;; The dispatcher's side

(defun over-limit (thread size)
  "Returns code and reason of a close when THREAD cannot accept another event of SIZE octets. Otherwise
counts the octets and returns NIL."
  (let ((waiting (- (client-thread-octets thread) (client-thread-handled thread))))
    (cond ((and (plusp waiting) (> (+ waiting size) *queue-limit*))
           '(1008 "more messages than can be handled"))
          ((not (hold-memory size))
           '(1013 "no memory for more messages"))
          (t
           (incf (client-thread-octets thread) size)
           nil))))

(defun make-room (websocket size)
  "Counts SIZE octets for an event of WEBSOCKET. Returns false when that exceeds a limit: a client that
sends far more than its handler takes is closed."
  (let ((thread (websocket-thread websocket)))
    (bt:with-lock-held ((client-thread-lock thread))
      (unless (or (client-thread-ended thread) (client-thread-overrun thread))
        (let ((reason (over-limit thread size)))
          (when reason
            (setf (client-thread-overrun thread) t)
            (close websocket :code (first reason) :reason (second reason)))
          (null reason))))))

(defun give-back (thread size)
  "Subtracts what MAKE-ROOM has counted. The lock is held."
  (unless (client-thread-ended thread)
    (decf (client-thread-octets thread) size)
    (release-memory size)))

(defun give-back-room (websocket size)
  "Undoes MAKE-ROOM when there will be no event of SIZE octets."
  (let ((thread (websocket-thread websocket)))
    (bt:with-lock-held ((client-thread-lock thread))
      (give-back thread size))))

(defun enqueue (websocket thunk size)
  "Queues THUNK for WEBSOCKET's thread. It holds SIZE octets, for which there is room."
  (let ((thread (websocket-thread websocket))
        (new (list (make-event thunk size))))
    (bt:with-lock-held ((client-thread-lock thread))
      (unless (client-thread-ended thread)
        (if (client-thread-queue thread)
            (setf (rest (client-thread-last thread)) new)
            (setf (client-thread-queue thread) new))
        (setf (client-thread-last thread) new)
        (bt:condition-notify (client-thread-changed thread))))))

;;; The thread's side

(defun take-over (thread)
  "Waits for the oldest event in the queue, removes it and returns its thunk; NIL when the thread is to end."
  (bt:with-lock-held ((client-thread-lock thread))
    (loop until (or (client-thread-queue thread) (client-thread-ended thread))
          do (bt:condition-wait (client-thread-changed thread) (client-thread-lock thread)))
    (unless (client-thread-ended thread)
      (setf (client-thread-handled thread) (event-size (first (client-thread-queue thread))))
      (event-thunk (pop (client-thread-queue thread))))))

(defun run-next-event (thread)
  (let ((thunk (take-over thread)))
    (when thunk
      (funcall thunk))))

(defun end-handling (thread)
  "Records that the removed event has been handled."
  (bt:with-lock-held ((client-thread-lock thread))
    (give-back thread (shiftf (client-thread-handled thread) 0))))

(defun end-client-thread (websocket)
  "Discards WEBSOCKET's events, which no thread will run, and drops its connection."
  (let ((thread (websocket-thread websocket)))
    (bt:with-lock-held ((client-thread-lock thread))
      (unless (client-thread-ended thread)
        (release-memory (client-thread-octets thread))
        (setf (client-thread-ended thread) t
              (client-thread-queue thread) '())
        (bt:condition-notify (client-thread-changed thread)))))
  (portal-abort (websocket-id websocket)))

(defun run-client-thread (websocket)
  "Runs the events of WEBSOCKET up to its disconnect. When the thread is destroyed, the connection is
dropped."
  (unwind-protect
       (loop with thread = (websocket-thread websocket)
             until (or (client-thread-ended thread) (eq (websocket-phase websocket) :closed))
             do (with-restart-to-serve
                  (run-next-event thread))
                (end-handling thread))
    (end-client-thread websocket)))
