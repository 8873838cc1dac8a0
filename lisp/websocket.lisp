;;;; Websockets, the first argument of every handler.

(in-package #:portal)

(defstruct (websocket (:constructor make-websocket (id path opening))
                      (:copier nil)
                      (:predicate nil))
  "One connection. Every event of the connection passes the same object."
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
  "Data that the program associates with WEBSOCKET; initially NIL. Use SETF to set it."
  (websocket-keepsake websocket))

(defun (setf websocket-data) (data websocket)
  (setf (websocket-keepsake websocket) data))

(defun ready-state (websocket)
  "Returns the state of WEBSOCKET: 0 connecting (in :CONNECT and :UPGRADE), 1 open, 2 closing (from the
beginning of a close to the end of :DISCONNECT), 3 closed."
  (let ((state (portal-state-of (websocket-id websocket))))
    (ecase (websocket-phase websocket)
      (:connecting (if (< state +state-closing+) 0 2))
      (:open (if (< state +state-closing+) 1 2))
      (:closing 2)
      (:closed 3))))

(defun buffered-amount (websocket)
  "Returns the number of octets queued for WEBSOCKET and not yet written to the socket."
  (portal-queued (websocket-id websocket)))

(defun close-code (websocket)
  "Returns the close code of WEBSOCKET (RFC 6455): 1000 normal closure, 1001 going away, 1005 no code,
1006 no closing handshake. NIL before :DISCONNECT."
  (websocket-close-code websocket))

(defun close-reason (websocket)
  "Returns the reason with which the client closed WEBSOCKET, a string; NIL before :DISCONNECT."
  (websocket-close-reason websocket))

(defun subprotocol (websocket)
  "Returns the selected subprotocol, a string, or NIL."
  (websocket-subprotocol websocket))
