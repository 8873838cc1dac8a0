;;;; Operations on a websocket: send, ping, flush, close.

(in-package #:portal)

(defvar *turn-began* nil
  "On a dispatcher's thread, the time at which it began to dispatch the current events; NIL on others.")

(defparameter *patience* (ceiling internal-time-units-per-second 500)
  "The time in one turn, two milliseconds, after which messages are written before the turn's end.")

(defun flush-when-late (websocket)
  "Flushes WEBSOCKET when the turn has lasted long. Messages are otherwise written together at the end
of the turn, and a slow handler should not delay them."
  (when (and *turn-began*
             (> (- (get-internal-real-time) (the fixnum *turn-began*)) (the fixnum *patience*)))
    (portal-flush (websocket-id websocket))))

(defun send-octets (websocket type octets)
  (with-data (data length octets)
    (let ((status (portal-send (websocket-id websocket) type data length)))
      (when (minusp status)
        (fail status "Sending" :websocket websocket))))
  (flush-when-late websocket))

(defun wire-format (message binary)
  "Returns the type and the octets with which MESSAGE is sent."
  (cond (binary (values +binary+ (octets-of message)))
        ((stringp message) (values +text+ (octets-of message)))
        ((typep message '(array (unsigned-byte 8))) (values +binary+ (octets-of message)))
        (t (values +text+ (octets-of (princ-to-string message))))))

(defun send (websocket message &optional binary)
  "Queues MESSAGE and returns it; it is written when the handler has returned, or at once.

A string is sent as text, an (array (unsigned-byte 8)) as binary; anything else is PRINC'd and sent as
text. When BINARY is true, a string's UTF-8 or any sequence of octets is sent as binary.

Signals CONNECTION-CLOSED when the websocket is closing or closed, SEND-QUEUE-FULL when the client
reads too slowly. May be called on any thread."
  (multiple-value-bind (type octets) (wire-format message binary)
    (send-octets websocket type octets))
  message)

(defun broadcast (to message &optional binary)
  "Sends MESSAGE, as SEND does, to many websockets. TO is a path's name (all its websockets), a server
(all its websockets), or a sequence of websockets. Websockets that are closing, or whose queue is full,
are skipped. Returns the number of recipients."
  (multiple-value-bind (type octets) (wire-format message binary)
    (count-if (lambda (websocket)
                (handler-case (progn (send-octets websocket type octets) t)
                  ((or connection-closed send-queue-full) () nil)))
              (if (typep to '(and sequence (not string)))
                  to
                  (websockets-of to)))))

(defun send-ping (websocket &optional (message ""))
  "Sends a ping with MESSAGE, a string or octets, at most 125 octets; :PONG receives the reply.
Returns MESSAGE."
  (with-data (data length (octets-of message))
    (let ((status (portal-ping (websocket-id websocket) data length)))
      (when (minusp status)
        (fail status "Sending a ping" :websocket websocket))))
  (flush-when-late websocket)
  message)

(defun flush (websocket)
  "Writes queued messages to the socket now: for a handler that continues to run for long after a send."
  (portal-flush (websocket-id websocket))
  nil)

(defun close (websocket &key (code 1000) (reason "") abort)
  "Begins to close WEBSOCKET and returns. Messages sent before are still written; none can be sent after.
:DISCONNECT follows. CODE is 1000, 1001, 1003, 1007 to 1014 or 3000 to 4999; REASON is at most 123
octets of UTF-8. When ABORT is true, the connection is dropped at once instead.

Returns whether the websocket was open; closing twice is not an error."
  (check-argument :code code '(unsigned-byte 32) "a close code")
  (check-text :reason reason)
  (let ((status (if abort
                    (portal-abort (websocket-id websocket))
                    (portal-close (websocket-id websocket) code reason))))
    (cond ((eql status +status-gone+) nil)
          ((minusp status) (fail status "Closing" :websocket websocket))
          (t (flush-when-late websocket)
             t))))
