;;;; Which thread runs what, and who waits for whom.

(in-package #:portal-tests)

(in-suite portal)

(test a-silent-client-holds-up-nobody
  (define-echo "/silent-one")
  (with-server (server)
    (connect server "/silent-one")
    (is (equal "heard" (ask-and-hear (connect server "/silent-one") "heard")))))

(test one-thread-runs-all-handlers-by-default
  (let ((box (make-box)))
    (pws:define-path-handler "/whose"
      :connect (lambda (websocket)
                 (declare (ignore websocket))
                 (put box (bt:current-thread))))
    (with-server (server)
      (connect server "/whose")
      (connect server "/whose")
      (is (eq server (take box)))
      (is (eq server (take box))))))

(test with-multi-thread-each-client-has-a-thread-of-its-own
  (let ((box (make-box)))
    (pws:define-path-handler "/whose"
      :connect (lambda (websocket)
                 (declare (ignore websocket))
                 (put box (bt:current-thread)))
      :message (lambda (websocket message)
                 (declare (ignore websocket message))
                 (put box (bt:current-thread))))
    (with-server (server :multi-thread)
      (let ((anna (connect server "/whose"))
            (first (take box)))
        (connect server "/whose")
        (let ((second (take box)))
          (is (not (eq first second)))
          (is (not (eq first server)))
          (say anna "x")
          (is (eq first (take box))))))))

(defun define-blocking (box)
  "A path on which the message \"block\" waits until something is in BOX."
  (pws:define-path-handler "/blocking"
    :message (lambda (websocket message)
               (when (equal message "block")
                 (take box))
               (pws:send websocket message))))

(test with-multi-thread-a-blocked-handler-holds-up-its-own-client-alone
  (let ((box (make-box)))
    (define-blocking box)
    (with-server (server :multi-thread)
      (let ((blocked (connect server "/blocking")))
        (say blocked "block")
        (say blocked "later")
        (is (equal "free" (ask-and-hear (connect server "/blocking") "free")))
        (put box :go)
        (is (equal '("block" "later") (list (hear blocked) (hear blocked))))))))

(test with-multi-thread-others-are-served-while-one-sits-in-the-debugger
  (let ((sitting (make-box))
        (go (make-box)))
    (pws:define-path-handler "/debugged"
      :message (lambda (websocket message)
                 (when (equal message "bad") (error 'planned-error))
                 (pws:send websocket message)))
    (with-server (server :multi-thread)
      (with-debugging (t)
        (with-debugger (condition)
            (progn (put sitting :sitting)
                   (take go)
                   (invoke-restart 'continue))
          (let ((debugged (connect server "/debugged")))
            (say debugged "bad")
            (is (eq :sitting (take sitting)))
            (is (equal "free" (ask-and-hear (connect server "/debugged") "free")))
            (put go :go)
            (is (equal "on" (ask-and-hear debugged "on")))))))))

(test with-multi-thread-what-a-blocked-handler-has-sent-leaves-at-once
  (let ((box (make-box)))
    (pws:define-path-handler "/progress"
      :connect (lambda (websocket)
                 (pws:send websocket "before")
                 (take box)
                 (pws:send websocket "after")))
    (with-server (server :multi-thread)
      (let ((client (connect server "/progress")))
        (is (equal "before" (hear client)))
        (put box :go)
        (is (equal "after" (hear client)))))))

(test with-multi-thread-a-client-that-floods-a-busy-handler-is-closed
  (let ((box (make-box))
        (before portal::*queue-limit*))
    (define-blocking box)
    (setf portal::*queue-limit* 10000)
    (unwind-protect
         (with-server (server :multi-thread)
           (let ((client (connect server "/blocking")))
             (say client "block")
             (loop repeat 3 do (say client (text-of 5000)))
             (is (eql 1008 (second (hear client))))
             (put box :go)))
      (setf portal::*queue-limit* before))))

(test threads-may-send-to-one-websocket-at-once
  (let ((box (make-box)))
    (pws:define-path-handler "/together" :connect (lambda (websocket) (put box websocket)))
    (with-server (server)
      (let* ((client (connect server "/together"))
             (websocket (take box))
             (threads (loop for number below 4
                            collect (let ((number number))
                                      (bt:make-thread
                                       (lambda ()
                                         (loop for index below 50
                                               do (pws:send websocket
                                                            (format nil "~d ~d" number index)))))))))
        (mapc #'bt:join-thread threads)
        (let ((heard (loop repeat 200 collect (hear client))))
          (dotimes (number 4)
            (is (equal (loop for index below 50 collect (format nil "~d ~d" number index))
                       (remove number heard :test-not #'eql
                                            :key (lambda (text) (parse-integer text :junk-allowed t)))))))))))

(test a-clients-thread-that-is-destroyed-takes-its-client-with-it
  (let ((box (make-box)))
    (pws:define-path-handler "/thread"
      :message (lambda (websocket message)
                 (declare (ignore websocket message))
                 (put box (bt:current-thread))
                 (loop (sleep 0.01))))
    (with-server (server :multi-thread)
      (let ((client (connect server "/thread")))
        (say client "x")
        (bt:destroy-thread (take box))
        (is (equal '(:closed 1006 "") (hear client)))))))
