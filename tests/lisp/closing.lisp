;;;; How clients and servers end.

(in-package #:portal-tests)

(in-suite portal)

(defun define-watched (path box)
  "A path that tells BOX how its clients end."
  (pws:define-path-handler path
    :connect (lambda (websocket)
               (setf (pws:websocket-data websocket) (pws:ready-state websocket)))
    :message (lambda (websocket message)
               (cond ((equal message "states")
                      (pws:send websocket (list (pws:websocket-data websocket)
                                                (pws:ready-state websocket))))
                     ((equal message "close")
                      (pws:close websocket :code 4000 :reason "grüße")
                      (put box (pws:ready-state websocket)))
                     ((equal message "abort") (pws:close websocket :abort t))
                     (t (pws:send websocket message))))
    :disconnect (lambda (websocket)
                  (put box (list (pws:ready-state websocket)
                                 (pws:close-code websocket)
                                 (pws:close-reason websocket)))
                  (put box websocket))))

(test the-state-goes-from-connecting-to-closed
  (for-each-kind-of-server (server)
    (let ((box (make-box)))
      (define-watched "/watched" box)
      (let ((client (connect server "/watched")))
        (is (equal "(0 1)" (ask-and-hear client "states")))
        (leave client 1000 "bye")
        (is (equal '(2 1000 "bye") (take box)))
        (let ((websocket (take box)))
          (is (eql 3 (eventually (when (eql 3 (pws:ready-state websocket)) 3))))
          (is (eql 0 (pws:buffered-amount websocket)))
          (is (null (pws:close websocket))))))))

(test a-close-tells-code-and-reason
  (for-each-kind-of-server (server)
    (let ((box (make-box)))
      (define-watched "/watched" box)
      (is (equal '(:closed 4000 "grüße") (ask-and-hear (connect server "/watched") "close")))
      (is (eql 2 (take box)))
      (is (equal '(2 4000 "grüße") (take box))))))

(test an-abort-ends-without-a-handshake
  (let ((box (make-box)))
    (define-watched "/watched" box)
    (with-server (server)
      (is (equal '(:closed 1006 "") (ask-and-hear (connect server "/watched") "abort")))
      (is (equal '(2 1006 "") (take box))))))

(test a-client-that-vanishes-is-1006
  (for-each-kind-of-server (server)
    (let ((box (make-box)))
      (define-watched "/watched" box)
      (let ((client (connect server "/watched")))
        (ask-and-hear client "x")
        (vanish client)
        (is (equal '(2 1006 "") (take box)))))))

(test a-reason-that-is-too-long-is-an-error
  (let ((box (make-box)))
    (pws:define-path-handler "/long-reason"
      :connect (lambda (websocket)
                 (put box (handler-case (pws:close websocket :reason (text-of 124))
                            (pws:message-too-large () :too-large)))
                 (put box (handler-case (pws:close websocket :code 1005)
                            (pws:portal-error () :refused)))))
    (with-server (server)
      (connect server "/long-reason")
      (is (eq :too-large (take box)))
      (is (eq :refused (take box))))))

(test a-websocket-may-be-closed-from-any-thread
  (let ((box (make-box)))
    (pws:define-path-handler "/elsewhere" :connect (lambda (websocket) (put box websocket)))
    (with-server (server)
      (let* ((client (connect server "/elsewhere"))
             (websocket (take box)))
        (pws:send websocket "from elsewhere")
        (is (equal "from elsewhere" (hear client)))
        (is (eq t (pws:close websocket)))
        (is (equal '(:closed 1000 "") (hear client)))))))

;;; Servers

(test closing-a-server-is-orderly-and-may-be-done-twice
  (for-each-kind-of-server (server)
    (let ((box (make-box))
          (port (pws:server-port server)))
      (define-watched "/watched" box)
      (let ((client (connect server "/watched")))
        (ask-and-hear client "x")
        (is (null (pws:websocket-server-close server)))
        (is (eql 2 (first (take box))) ":disconnect has run when close returns")
        (is (equal '(:closed 1001) (subseq (hear client) 0 2)))
        (is (null (pws:websocket-server-close server)))
        (is (null (pws:server-close server)))
        (is (null (pws:server-port server)))
        (let ((next (pws:websocket-server port :host "127.0.0.1")))
          (is (equal "next" (ask-and-hear (connect next "/watched") "next")))
          (pws:server-close next))))))

(test a-server-that-stops-accepting-serves-those-it-has
  (define-echo "/stays")
  (for-each-kind-of-server (server)
    (let ((client (connect server "/stays"))
          (port (pws:server-port server)))
      (is (null (pws:stop-accepting server)))
      (is (null (pws:stop-accepting server)))
      (is (eql port (pws:server-port server)))
      (let ((next (pws:websocket-server port :host "127.0.0.1")))
        (unwind-protect
             (progn
               (is (equal "new" (ask-and-hear (connect next "/stays") "new")))
               (is (equal "old" (ask-and-hear client "old")))
               (is (eql 1 (getf (pws:server-statistics server) :connections-total)))
               (is (eql 1 (getf (pws:server-statistics next) :connections-total))))
          (pws:server-close next)))
      (pws:server-close server)
      (is (equal '(:closed 1001) (subseq (hear client) 0 2)))
      (is (null (pws:stop-accepting server))))))

(test many-may-close-a-server-at-once
  (with-server (server)
    (let ((threads (loop repeat 8
                         collect (bt:make-thread (lambda () (pws:server-close server))))))
      (mapc #'bt:join-thread threads)
      (is (null (pws:server-port server))))))

(test a-handler-may-close-its-server
  (for-each-kind-of-server (server)
    (pws:define-path-handler "/last" :message (lambda (websocket message)
                                                (declare (ignore websocket message))
                                                (pws:server-close server)))
    (is (equal '(:closed 1001) (subseq (ask-and-hear (connect server "/last") "x") 0 2)))
    (is-true (eventually (null (pws:server-port server))))))

(test a-server-that-is-destroyed-closes-in-order
  (for-each-kind-of-server (server)
    (let ((box (make-box))
          (port (pws:server-port server)))
      (define-watched "/watched" box)
      (let ((client (connect server "/watched")))
        (ask-and-hear client "x")
        (bt:destroy-thread server)
        (is (equal '(:closed 1001) (subseq (hear client) 0 2)))
        (is (eql 2 (first (take box))))
        (is-true (eventually (not (bt:thread-alive-p server))))
        (is (null (pws:server-close server)))
        (pws:server-close (pws:websocket-server port :host "127.0.0.1"))))))

(test a-server-may-be-destroyed-at-any-moment
  (define-echo "/destroyed")
  (loop repeat 100
        do (let ((server (pws:websocket-server 0 :host "127.0.0.1" :close-timeout 1000)))
             (bt:destroy-thread server)
             (pws:server-close server)
             (is (null (pws:server-port server))))))

(test a-server-may-be-destroyed-while-a-handler-runs
  (let ((box (make-box)))
    (pws:define-path-handler "/endless" :message (lambda (websocket message)
                                                   (declare (ignore websocket message))
                                                   (put box :busy)
                                                   (loop (sleep 0.01))))
    (with-server (server)
      (let ((client (connect server "/endless")))
        (say client "x")
        (is (eq :busy (take box)))
        (bt:destroy-thread server)
        (is (equal '(:closed 1001) (subseq (hear client) 0 2)))))))

(test fifty-servers-start-and-stop
  (define-echo "/fifty")
  (loop for number from 1 to 50
        do (let ((server (if (evenp number)
                             (pws:websocket-server 0 :multi-thread :host "127.0.0.1")
                             (pws:websocket-server 0 :host "127.0.0.1"))))
             (when (zerop (mod number 10))
               (is (equal "x" (ask-and-hear (connect server "/fifty") "x"))))
             (pws:server-close server)))
  (is (null portal::*servers*))
  ;; The last step of a client's thread may follow the close.
  (is-true (eventually (notany (lambda (thread) (search "Portal" (princ-to-string (bt:thread-name thread))))
                               (bt:all-threads)))))

(test several-servers-share-the-paths
  (define-echo "/shared")
  (with-server (one)
    (with-server (two)
      (is (equal "1" (ask-and-hear (connect one "/shared") "1")))
      (is (equal "2" (ask-and-hear (connect two "/shared") "2"))))))
