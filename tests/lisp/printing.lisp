;;;; What a backtrace shows of a server and a websocket: a line, not their tables.

(in-package #:portal-tests)

(in-suite portal)

(defun structures-of-portal ()
  "The names of the library's structures."
  (loop for symbol being the present-symbols of '#:portal
        for class = (find-class symbol nil)
        when (typep class 'structure-class)
          collect symbol))

(defun printed (thing)
  (let ((*print-length* nil) (*print-level* nil) (*print-circle* nil) (*print-pretty* nil))
    (prin1-to-string thing)))

(test a-server-and-its-websockets-print-in-a-line
  (let ((box (make-box)))
    (pws:define-path-handler "/printed"
      :connect (lambda (websocket) (put box websocket)))
    (with-server (server :multi-thread)
      (loop repeat 3 do (connect server "/printed"))
      (let* ((websocket (first (loop repeat 3 collect (take box))))
             (dispatcher (portal::dispatcher-of server))
             (things (list websocket dispatcher
                           (portal::websocket-path websocket)
                           (portal::websocket-opening websocket)
                           (portal::websocket-thread websocket)
                           (portal::path-definition (portal::websocket-path websocket)))))
        (dolist (thing things)
          (is (< (length (printed thing)) 100) "~a" (printed thing)))
        (is (search "/printed" (printed websocket)))
        (is (search "127.0.0.1" (printed websocket)))
        (is (search (princ-to-string (pws:server-port server)) (printed dispatcher)))
        (is (search "3 clients" (printed dispatcher)))
        (is (null (set-difference (structures-of-portal)
                                  (list* 'portal::event (mapcar #'type-of things))))
            "a structure of Portal is not tested here")))))

(test a-websocket-prints-before-all-is-known-of-it
  (is (search "websocket" (printed (portal::make-websocket 1 nil nil)) :test #'char-equal)))
