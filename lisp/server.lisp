;;;; Servers. A program sees a server as the thread of its dispatcher.

(in-package #:portal)

(defvar *servers* '()
  "The running dispatchers, by their threads: an alist. Replaced as a whole, under the lock.")

(defvar *servers-lock* (bt:make-lock "Portal's servers"))

(defun dispatcher-of (server)
  "The dispatcher that runs on the thread SERVER, or NIL when it has ended."
  (check-argument 'server server '(satisfies bt:threadp) "a server")
  (cdr (assoc server *servers*)))

(defun start-server (port options)
  "Starts the C server; returns its id."
  (with-options (c-options options)
    (cffi:with-foreign-object (id 'id)
      (let* ((*overheard* (list nil))
             (status (portal-server-start port c-options id)))
        (when (eql status +status-address+)
          (error 'address-error :status status :port port
                                :message (or (first *overheard*) (portal-status-text status))))
        (check status "Starting a server on port ~a" port)
        (cffi:mem-ref id 'id)))))

(defun make-dispatcher-thread (dispatcher)
  (handler-case
      (bt:make-thread (lambda ()
                        (unwind-protect (run-dispatcher dispatcher)
                          (bt:with-lock-held (*servers-lock*)
                            (setf *servers* (remove dispatcher *servers* :key #'cdr)))))
                      :name (format nil "Portal server ~a" (dispatcher-port dispatcher)))
    (serious-condition (condition)
      (free-records dispatcher)
      (error 'portal-error
             :message (format nil "Cannot create the server's thread: ~a" condition)))))

(defun start-dispatcher (dispatcher)
  "Starts DISPATCHER and returns its thread."
  (let ((thread (make-dispatcher-thread dispatcher)))
    (bt:with-lock-held (*servers-lock*)
      (unless (eq (dispatcher-state dispatcher) :ended)
        (setf *servers* (acons thread dispatcher *servers*))))
    (wait-for-state dispatcher :serving :ended)
    thread))

(defun websocket-server (&optional (port 4433) &rest options)
  "Starts a server on PORT, 0 for any free one, and returns it: a thread.

OPTIONS may begin with :MULTI-THREAD or T, alone, or contain :MULTI-THREAD T: then each client's handlers
run on a separate thread. Otherwise all run on the server's thread, one after another. The other options
are those of the C library, each with a value: :HOST, :MAX-CONNECTIONS, :MAX-CONNECTIONS-PER-IP,
:MAX-MESSAGE-SIZE, :MAX-FRAGMENTS, :MAX-HEADER-SIZE, :MAX-QUEUED, :HANDSHAKE-TIMEOUT, :IDLE-TIMEOUT,
:PING-INTERVAL, :CLOSE-TIMEOUT, :ORIGINS, :SUBPROTOCOLS, :DEFLATE, :DEFLATE-LEVEL, :DEFLATE-MIN-SIZE,
:TLS-CERTIFICATE, :TLS-KEY, :TLS-CLIENT-CA, :TLS-CLIENT-CRL, :SERVER-HEADER, :BACKLOG, :THREADS,
:UNIX-MODE, :CLOSE-CODE, :METRICS-PATH, :SHARED-PATHS, :MAX-MEMORY, :PAGE-KEEP-ALIVE, :PROXY-PROTOCOL,
:TRUSTED-PROXIES.

Signals ADDRESS-ERROR, TLS-ERROR or another PORTAL-ERROR when the server cannot be started."
  (check-argument 'port port '(unsigned-byte 16) "a port, from 0 to 65535")
  (multiple-value-bind (multi-thread options) (split-options options)
    (let ((id (start-server port options))
          (thread nil))
      (unwind-protect
           (setf thread (start-dispatcher (make-dispatcher id (portal-server-port id) multi-thread)))
        (unless thread
          (portal-server-close id))))))

(defun server (&optional (port 4433) &rest options)
  "The name of WEBSOCKET-SERVER in version 1.2."
  (apply #'websocket-server port options))

(defun stop-accepting (server)
  "Makes SERVER accept no further connections, and continue to serve those that it has: another server, also
in another process, may then listen on the port. A second call, or one when it has ended, is not an error."
  (let ((dispatcher (dispatcher-of server)))
    (when dispatcher
      (portal-server-stop-accepting (dispatcher-id dispatcher))))
  nil)

(defun websocket-server-close (server)
  "Closes SERVER gracefully: it stops accepting, closes the connected clients with 1001 and runs their
:DISCONNECT. When it returns, the server has ended and its port is free. Closing twice is not an error.

Inside a handler it begins to close and returns: the server's thread cannot wait for itself."
  (let ((dispatcher (dispatcher-of server)))
    (when dispatcher
      (portal-server-begin-close (dispatcher-id dispatcher))
      (unless *inside-handlers*
        (wait-for-state dispatcher :ended)
        ;; A thread that was destroyed cannot be joined; it has ended anyway.
        (ignore-errors (bt:join-thread server))
        ;; In ECL, a join returns a moment before the thread is no longer alive.
        (loop while (bt:thread-alive-p server)
              do (bt:thread-yield)))))
  nil)

(defun server-close (server)
  "The name of WEBSOCKET-SERVER-CLOSE in version 1.2."
  (websocket-server-close server))

(defun server-port (server)
  "Returns the port on which SERVER listens; NIL when it has ended."
  (let ((dispatcher (dispatcher-of server)))
    (when dispatcher
      (dispatcher-port dispatcher))))

(defun reload-tls (server)
  "Makes SERVER read its certificate and key again; new connections use the new pair."
  (let ((dispatcher (dispatcher-of server)))
    (when dispatcher
      (check (portal-server-reload-tls (dispatcher-id dispatcher)) "Reading the certificate again")
      t)))

(defparameter *statistics*
  '(:connections :connections-total :rejected-total :messages-in :messages-out :bytes-in :bytes-out
    :queued-bytes :protocol-errors)
  "The metrics of C, in the order of their numbers, which begin with 1.")

(defun server-statistics (server)
  "Returns the metrics of SERVER, a property list: :CONNECTIONS open now, :CONNECTIONS-TOTAL,
:REJECTED-TOTAL, :MESSAGES-IN, :MESSAGES-OUT, :BYTES-IN, :BYTES-OUT, :QUEUED-BYTES now, :PROTOCOL-ERRORS.
Returns NIL when it has ended."
  (let ((dispatcher (dispatcher-of server)))
    (when dispatcher
      (loop for name in *statistics*
            for number from 1
            append (list name (portal-server-metric (dispatcher-id dispatcher) number))))))

(defun library-version ()
  "Returns the version of the C library, such as \"0.2.0\"."
  (portal-version))

(defun websockets-of (to)
  "Returns the websockets of TO, a path's name or a server."
  (flet ((all (dispatcher)
           (bt:with-lock-held ((dispatcher-lock dispatcher))
             (loop for websocket being the hash-values of (dispatcher-websockets dispatcher)
                   collect websocket))))
    (if (stringp to)
        (loop for (nil . dispatcher) in *servers*
              nconc (delete to (all dispatcher)
                            :test-not #'string=
                            :key (lambda (websocket) (path-name (websocket-path websocket)))))
        (let ((dispatcher (dispatcher-of to)))
          (when dispatcher
            (all dispatcher))))))
