;;;; Many clients, and a garbage collector that never rests.

(in-package #:portal-tests)

(in-suite portal)

(defun collect-garbage ()
  #+sbcl (sb-ext:gc)
  #+ecl (si:gc t)
  #-(or sbcl ecl) nil)

(defmacro while-garbage-is-collected (&body body)
  "Runs BODY while a thread collects garbage again and again."
  `(let* ((ended nil)
          (collector (bt:make-thread (lambda ()
                                       (loop until ended
                                             do (collect-garbage)
                                                (sleep 0.002))))))
     (unwind-protect (progn ,@body)
       (setf ended t)
       (bt:join-thread collector))))

(test a-hundred-clients-talk-while-garbage-is-collected
  (for-each-kind-of-server (server)
    (define-echo "/lasting")
    (is (equal '("ok") (while-garbage-is-collected
                         (ask "crowd" (pws:server-port server) "/lasting" 100 30))))
    (is-true (eventually (zerop (hash-table-count
                            (portal::dispatcher-websockets (portal::dispatcher-of server))))))))
