;;;; A websocket: what handlers are given.

(in-package #:portal)

(defstruct (websocket (:constructor make-websocket (id path opening))
                      (:copier nil)
                      (:predicate nil))
  "A client, as its handlers know it. The same object comes with every event of the client."
  (id 0 :type (unsigned-byte 53) :read-only t)
  (path nil :read-only t)
  (opening nil :read-only t)
  (phase :connecting :type (member :connecting :open :closing :closed))
  (close-code nil)
  (close-reason nil)
  (subprotocol nil)
  ;; C's request, while :UPGRADE runs.
  (answer nil)
  ;; With :MULTI-THREAD, the thread of its handlers.
  (thread nil)
  (keepsake nil))

(defun websocket-data (websocket)
  "Whatever the program wants to keep with WEBSOCKET; NIL at first. Use SETF to set it."
  (websocket-keepsake websocket))

(defun (setf websocket-data) (data websocket)
  (setf (websocket-keepsake websocket) data))

(defun ready-state (websocket)
  "Where WEBSOCKET stands: 0 connecting (in :CONNECT and :UPGRADE), 1 open, 2 closing (from the
beginning of a close to the end of :DISCONNECT), 3 closed."
  (let ((state (portal-state-of (websocket-id websocket))))
    (ecase (websocket-phase websocket)
      (:connecting (if (< state +state-closing+) 0 2))
      (:open (if (< state +state-closing+) 1 2))
      (:closing 2)
      (:closed 3))))

(defun buffered-amount (websocket)
  "How many octets are queued for WEBSOCKET and not yet handed to the system."
  (portal-queued (websocket-id websocket)))

(defun close-code (websocket)
  "Why WEBSOCKET has ended, as a number of RFC 6455: 1000 is in order, 1001 going away, 1005 no code,
1006 without a closing handshake. NIL before :DISCONNECT."
  (websocket-close-code websocket))

(defun close-reason (websocket)
  "What the client said when it closed WEBSOCKET, a string; NIL before :DISCONNECT."
  (websocket-close-reason websocket))

(defun subprotocol (websocket)
  "The subprotocol in force, a string, or NIL."
  (websocket-subprotocol websocket))
