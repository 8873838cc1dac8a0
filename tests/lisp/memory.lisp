;;;; Messages that wait for busy handlers: what they take of Lisp's memory is limited.

(in-package #:portal-tests)

(in-suite portal)

(defmacro with-limit ((variable value) &body body)
  "Runs BODY while VARIABLE, a limit, is VALUE for all threads."
  `(let ((before ,variable))
     (setf ,variable ,value)
     (unwind-protect (progn ,@body)
       (setf ,variable before))))

(defun busy-client (server)
  "A client of /blocking whose handler is busy."
  (let ((client (connect server "/blocking")))
    (say client "block")
    client))

(test a-character-counts-four-octets
  (let ((box (make-box)))
    (define-blocking box)
    (with-limit (portal::*queue-limit* 20000)
      (with-server (server :multi-thread)
        (let ((texts (busy-client server))
              (octets (busy-client server)))
          (say texts (make-string 4000 :initial-element #\x))
          (say octets (octets-of-size 4000))
          (say octets (octets-of-size 4000))
          (say texts (make-string 4000 :initial-element #\x))
          (is (eql 1008 (second (hear texts))))
          (put box :go)
          (put box :go)
          (is (equal "block" (hear octets)))
          (is (equalp (octets-of-size 4000) (hear octets)))
          (is (equalp (octets-of-size 4000) (hear octets))))))))

(test a-message-alone-may-exceed-the-limits
  (let ((box (make-box)))
    (define-blocking box)
    (with-limit (portal::*queue-limit* 1000)
      (with-limit (portal::*memory-limit* 1000)
        (with-server (server :multi-thread)
          (let ((text (make-string 4000 :initial-element #\x)))
            (is (equal text (ask-and-hear (connect server "/blocking") text)))))))))

(test all-clients-together-have-a-limit
  (let ((box (make-box)))
    (define-blocking box)
    (with-limit (portal::*memory-limit* 100000)
      (with-server (server :multi-thread)
        (let ((clients (loop repeat 4 collect (busy-client server)))
              (text (make-string 10000 :initial-element #\x)))
          (dolist (client (butlast clients))
            (say client text))
          (is (eql 1013 (second (hear (third clients)))))
          (is (equal "on" (progn (loop repeat 4 do (put box :go))
                                 (hear (fourth clients))
                                 (ask-and-hear (fourth clients) "on"))))
          (is (equal "block" (hear (first clients))))
          (is (equal text (hear (first clients)))))))
    (is-true (eventually (zerop portal::*memory-held*)))))

(test what-a-destroyed-thread-held-is-given-back
  (let ((box (make-box))
        (threads (make-box)))
    (pws:define-path-handler "/held"
      :message (lambda (websocket message)
                 (declare (ignore websocket message))
                 (put threads (bt:current-thread))
                 (take box)))
    (with-server (server :multi-thread)
      (let ((client (connect server "/held")))
        (loop repeat 3 do (say client "held"))
        (let ((thread (take threads)))
          (is-true (eventually (< 200 portal::*memory-held*)))
          (bt:destroy-thread thread)
          (is (equal '(:closed 1006 "") (hear client)))
          (is-true (eventually (zerop portal::*memory-held*))))))))

(test a-full-queue-takes-the-disconnect
  (let ((box (make-box)))
    (define-blocking box)
    (with-limit (portal::*queue-limit* 10000)
      (let ((server (pws:websocket-server 0 :multi-thread :host "127.0.0.1")))
        (let ((client (busy-client server)))
          ;; 64 octets are counted on top of a message's own.
          (say client (octets-of-size (- 10000 64 10)))
          (vanish client)
          (is-true (eventually (zerop (getf (pws:server-statistics server) :connections))))
          (put box :go)
          (let ((dispatcher (portal::dispatcher-of server)))
            (is-true (eventually (zerop (portal::dispatcher-threads dispatcher))))
            (when (zerop (portal::dispatcher-threads dispatcher))
              (pws:server-close server))))))))

(defun server-with-a-blocking-path (&rest options)
  "Forms that serve with OPTIONS; on /memory \"block\" waits for \"go\" of another client."
  (list* "(defvar *go* nil)"
         "(pws:define-path-handler \"/memory\"
            :message (lambda (websocket message)
                       (cond ((equal message \"block\") (loop until *go* do (sleep 0.01)))
                             ((equal message \"go\") (setf *go* t)))
                       (pws:send websocket (length message))))"
         (serving (format nil "(pws:websocket-server 0 :host \"127.0.0.1\" ~{~s~^ ~})" options))))

(test a-message-that-memory-cannot-hold-is-refused
  (dolist (options '(() (:multi-thread t)))
    (with-serving-lisp ((port) (apply #'server-with-a-blocking-path :max-message-size 100000000 options)
                        :heap 192)
      (let ((other (connect port "/memory"))
            (client (connect port "/memory")))
        (say-much client 1 60000000)
        (is (eql 1009 (second (hear client))))
        (is (equal "2" (ask-and-hear other "on")))))))

(test busy-handlers-and-large-messages-do-not-exhaust-the-memory
  (with-serving-lisp ((port) (server-with-a-blocking-path :multi-thread t) :heap 1024)
    (let ((other (connect port "/memory"))
          (clients (loop repeat 5 collect (connect port "/memory"))))
      (dolist (client clients)
        (say client "block"))
      (dolist (client clients)
        (say-much client 4 15000000))
      (is (equal "2" (ask-and-hear other "on")))
      (is (equal "2" (ask-and-hear other "go"))))))
