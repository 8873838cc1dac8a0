;;;; What the tests share: servers, clients in Python, and waiting with a deadline.

(in-package #:portal-tests)

(in-suite portal)

(defparameter *deadline* 120
  "Seconds, for everything that should take a moment.")

;;; Waiting for what other threads do

(defstruct (box (:constructor make-box ()))
  "A place where one thread puts things and another takes them."
  (lock (bt:make-lock))
  (things '()))

(defun put (box thing)
  (bt:with-lock-held ((box-lock box))
    (setf (box-things box) (append (box-things box) (list thing))))
  thing)

(defun seconds-now ()
  (/ (get-internal-real-time) internal-time-units-per-second))

(defmacro eventually (condition)
  "Looks until CONDITION is true, at most until the deadline; returns its value."
  `(loop with end = (+ (seconds-now) *deadline*)
         for value = ,condition
         when value
           return value
         while (< (seconds-now) end)
         do (sleep 0.005)))

(defun take (box)
  "The oldest thing in BOX; :LATE when there is none by the deadline."
  (first (or (eventually (bt:with-lock-held ((box-lock box))
                           (when (box-things box)
                             (list (pop (box-things box))))))
             '(:late))))

;;; Servers

(define-condition planned-error (error) ()
  (:report "This was planned."))

(defmacro with-server ((server &rest options) &body body)
  "Runs BODY with a server on a free port of this machine."
  `(let ((,server (pws:websocket-server 0 ,@options :host "127.0.0.1")))
     (unwind-protect (progn ,@body)
       (pws:websocket-server-close ,server))))

(defmacro with-debugging ((value) &body body)
  "Runs BODY while PWS:*DEBUG-ON-ERROR* is VALUE for all threads."
  `(let ((before pws:*debug-on-error*))
     (setf pws:*debug-on-error* ,value)
     (unwind-protect (progn ,@body)
       (setf pws:*debug-on-error* before))))

;;; ECL gives its main thread a *DEBUGGER-HOOK* of its own, so that others do not see what is set there.
(define-symbol-macro debugger-of-all-threads
    #+ecl ext:*invoke-debugger-hook* #-ecl *debugger-hook*)

(defmacro with-debugger ((condition) handler &body body)
  "Runs BODY while the debugger, on any thread, is HANDLER with the CONDITION."
  `(let ((before debugger-of-all-threads))
     (setf debugger-of-all-threads (lambda (,condition hook)
                                     (declare (ignore hook) (ignorable ,condition))
                                     ,handler))
     (unwind-protect (progn ,@body)
       (setf debugger-of-all-threads before))))

;;; Clients

(defvar *python* nil
  "The process that has the clients.")

(defun python ()
  (or *python*
      (setf *python* (uiop:launch-program
                      (list "python3" (namestring (asdf:system-relative-pathname
                                                   "portal" "../tests/lisp/client.py")))
                      :input :stream :output :stream :error-output nil))))

(defun ask (&rest words)
  "Tells the clients' process a command; returns the words of the answer."
  (let ((input (uiop:process-info-input (python))))
    (format input "~{~a~^ ~}~%" words)
    (finish-output input)
    (uiop:split-string (read-line (uiop:process-info-output (python))) :separator " ")))

(defun to-wire (message)
  "MESSAGE, a string or octets, in hexadecimal."
  (let ((octets (portal::octets-of message))
        (digits "0123456789abcdef"))
    (let ((wire (make-string (1+ (* 2 (length octets))) :initial-element #\.)))
      (loop for octet across octets
            for index from 1 by 2
            do (setf (char wire index) (char digits (ash octet -4))
                     (char wire (1+ index)) (char digits (logand octet 15))))
      wire)))

(defun octets-from-wire (wire)
  (let ((octets (make-array (floor (length wire) 2) :element-type '(unsigned-byte 8))))
    (dotimes (index (length octets) octets)
      (setf (aref octets index)
            (+ (* 16 (digit-char-p (char wire (+ 1 (* 2 index))) 16))
               (digit-char-p (char wire (+ 2 (* 2 index))) 16))))))

(defun text-from-wire (wire)
  (babel:octets-to-string (octets-from-wire wire) :encoding :utf-8))

(defvar *clients* 0
  "How many clients there have been.")

(defun connect (server path &rest settings)
  "A client of SERVER, which may be a port, or the HTTP status that it was answered. The second value
is its subprotocol."
  (let ((name (format nil "client-~d" (incf *clients*))))
    (destructuring-bind (kind value &rest rest)
        (apply #'ask "open" name (if (integerp server) server (pws:server-port server)) path settings)
      (cond ((equal kind "ok") (values name value))
            ((equal kind "status") (parse-integer value))
            (t (list* kind value rest))))))

(defun heard (answer)
  "What a client's answer says: a string, octets, (:closed code reason), T, or the words that it said."
  (destructuring-bind (kind &optional first second &rest rest) answer
    (declare (ignore rest))
    (cond ((equal kind "text") (text-from-wire first))
          ((equal kind "binary") (octets-from-wire first))
          ((equal kind "closed") (list :closed (parse-integer first) (text-from-wire second)))
          ((equal kind "ok") t)
          (t answer))))

(defun kind-of (message)
  (if (stringp message) "text" "binary"))

(defun say (client message)
  (heard (ask "send" client (kind-of message) (to-wire message))))

(defun say-in-fragments (client message size)
  (heard (ask "fragments" client (kind-of message) size (to-wire message))))

(defun say-much (client count size)
  "Sends COUNT texts of SIZE octets each. Returns nothing of worth: the server may close meanwhile."
  (ask "send-many" client count size))

(defun hear (client)
  (heard (ask "receive" client)))

(defun ping (client message)
  (heard (ask "ping" client (to-wire message))))

(defun leave (client &optional (code 1000) (reason ""))
  "Closes CLIENT; returns what the server answered."
  (heard (ask "close" client code (to-wire reason))))

(defun vanish (client)
  "Ends CLIENT's connection without a word."
  (heard (ask "abort" client)))

(defun ask-and-hear (client message)
  (say client message)
  (hear client))
