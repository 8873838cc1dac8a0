;;;; What is known of a client, and :UPGRADE.

(in-package #:portal-tests)

(in-suite portal)

(defmacro seen-in-connect ((path target &rest settings) (websocket) &body body)
  "The value of BODY, run in the :CONNECT of PATH for a client that asks for TARGET."
  `(let ((box (make-box)))
     (pws:define-path-handler ,path
       :connect (lambda (,websocket) (put box (progn ,@body))))
     (with-server (server)
       (connect server ,target ,@settings)
       (take box))))

(test the-header-is-an-alist-as-the-original-gives-it
  (let ((header (seen-in-connect ("/header" "/header?name=value&x=%20" "header=X-Portal-Test:Some")
                    (websocket)
                  (pws:header websocket))))
    (is (equal '((:method . "GET") (:script . "/header") (:query-string . "name=value&x=%20")
                 (:version . "HTTP/1.1"))
               (subseq header 0 4)))
    (is (equal "websocket" (cdr (assoc :upgrade header))))
    (is (equal "13" (cdr (assoc :sec-websocket-version header))))
    (is (equal "Some" (cdr (assoc :x-portal-test header))))))

(test without-a-question-mark-there-is-no-query-string
  (is (null (assoc :query-string (seen-in-connect ("/header" "/header") (websocket)
                                   (pws:header websocket))))))

(test a-name-that-only-a-client-knows-is-not-interned
  (let ((header (seen-in-connect ("/header" "/header" "header=X-Nobody-Knows-It:Some") (websocket)
                  (pws:header websocket)))
        (name (concatenate 'string "X-NOBODY-" "KNOWS-IT")))
    (is (equal "Some" (cdr (assoc name header :test #'equal))))
    (is (null (find-symbol name '#:keyword)))))

(test a-header-is-found-by-its-name-in-any-case
  (is (equal '("one, two" "a=1; b=2" nil "one, two")
             (seen-in-connect ("/named" "/named" "header=X-Twice:one" "header=X-Twice:two"
                                        "header=Cookie:a=1" "header=cookie:b=2")
                 (websocket)
               (list (pws:request-header websocket "x-twice")
                     (pws:request-header websocket :cookie)
                     (pws:request-header websocket "X-Absent")
                     (pws:request-header websocket 'x-twice))))))

(test parameters-are-decoded
  (is (equal (list "café/bar" "a/b" nil "/room/café/bar/files/a/b")
             (seen-in-connect ("/room/{name}/files/{*rest}" "/room/caf%C3%A9%2Fbar/files/a/b")
                 (websocket)
               (list (pws:parameter websocket "name")
                     (pws:parameter websocket :rest)
                     (pws:parameter websocket "other")
                     (pws:request-path websocket))))))

(test a-double-brace-is-no-parameter
  (is (equal '("x") (portal::parameter-names "/{{a}}/{x}")))
  (is (equal '() (portal::parameter-names "/plain"))))

(test the-clients-address-is-known
  (let ((address (seen-in-connect ("/address" "/address") (websocket)
                   (pws:remote-address websocket))))
    (is (eql 0 (search "127.0.0.1:" address)))))

(test the-subprotocol-in-force-is-known
  (let ((box (make-box)))
    (pws:define-path-handler "/subprotocol"
      :connect (lambda (websocket) (put box (pws:subprotocol websocket))))
    (with-server (server :subprotocols '("chat" "echo"))
      (is (equal "echo" (nth-value 1 (connect server "/subprotocol" "protocol=other,echo"))))
      (is (equal "echo" (take box)))
      (connect server "/subprotocol")
      (is (null (take box))))))

(test data-of-the-program-stays-with-a-websocket
  (pws:define-path-handler "/data"
    :connect (lambda (websocket) (setf (pws:websocket-data websocket) 0))
    :message (lambda (websocket message)
               (declare (ignore message))
               (pws:send websocket (incf (pws:websocket-data websocket)))))
  (with-server (server)
    (let ((client (connect server "/data")))
      (is (equal '("1" "2") (list (ask-and-hear client "x") (ask-and-hear client "x")))))))

;;; :UPGRADE

(test upgrade-decides-who-comes-in
  (let ((box (make-box)))
    (pws:define-path-handler "/upgrade"
      :upgrade (lambda (websocket)
                 (put box (pws:ready-state websocket))
                 (setf (pws:websocket-data websocket) "kept")
                 (if (equal (pws:request-header websocket "X-Token") "secret") t 401))
      :connect (lambda (websocket) (pws:send websocket (pws:websocket-data websocket))))
    (with-server (server)
      (is (eql 401 (connect server "/upgrade")))
      (is (eql 0 (take box)))
      (is (equal "kept" (hear (connect server "/upgrade" "header=X-Token:secret")))))
    (with-server (server :multi-thread)
      (is (eql 401 (connect server "/upgrade")))
      (is (equal "kept" (hear (connect server "/upgrade" "header=X-Token:secret")))))))

(test upgrade-may-choose-the-subprotocol-and-set-headers
  (let ((box (make-box)))
    (pws:define-path-handler "/choosing"
      :upgrade (lambda (websocket)
                 (pws:set-response-header websocket "X-Answer" "42")
                 (pws:select-subprotocol websocket "second")
                 (handler-case (pws:set-response-header websocket "Connection" "close")
                   (pws:portal-error () (put box :refused))))
      :connect (lambda (websocket)
                 (put box (pws:subprotocol websocket))
                 (put box (handler-case (pws:set-response-header websocket "X-Late" "1")
                            (pws:portal-error () :late)))))
    (with-server (server)
      (is (equal "second" (nth-value 1 (connect server "/choosing" "protocol=first,second"))))
      (is (eq :refused (take box)))
      (is (equal "second" (take box)))
      (is (eq :late (take box))))))

(test an-error-in-upgrade-is-answered-500-and-told
  (let ((box (make-box)))
    (pws:define-path-handler "/failing-upgrade"
      :upgrade (lambda (websocket)
                 (declare (ignore websocket))
                 (error "no"))
      :error (lambda (websocket condition)
               (declare (ignore websocket))
               (put box (princ-to-string condition))))
    (with-debugging (nil)
      (with-server (server)
        (is (eql 500 (connect server "/failing-upgrade")))
        (is (equal "no" (take box)))))))

(test nothing-leaves-upgrade-but-by-returning
  (pws:define-path-handler "/throwing"
    :upgrade (lambda (websocket)
               (declare (ignore websocket))
               (throw 'out-of-the-test 1)))
  (pws:define-path-handler "/aborting"
    :upgrade (lambda (websocket)
               (declare (ignore websocket))
               (abort)))
  (with-debugging (nil)
    (with-server (server)
      (is (eql 500 (connect server "/throwing")))
      (is (eql 500 (connect server "/aborting")))
      (define-echo "/throwing")
      (is (equal "on" (ask-and-hear (connect server "/throwing") "on"))))))

(test upgrade-may-come-and-go-with-a-redefinition
  (define-echo "/guarded")
  (with-server (server)
    (is (equal "in" (ask-and-hear (connect server "/guarded") "in")))
    (pws:define-path-handler "/guarded" :upgrade (lambda (websocket)
                                                   (declare (ignore websocket))
                                                   403))
    (is (eql 403 (connect server "/guarded")))
    (define-echo "/guarded")
    (is (equal "in" (ask-and-hear (connect server "/guarded") "in")))))

(test an-error-in-upgrade-may-enter-the-debugger
  (let ((times 0))
    (pws:define-path-handler "/debugged-upgrade"
      :upgrade (lambda (websocket)
                 (declare (ignore websocket))
                 (when (< (incf times) 3) (error 'planned-error))))
    (with-server (server)
      (with-debugging (t)
        (with-debugger (condition) (invoke-restart 'continue)
          (is (eql 500 (connect server "/debugged-upgrade"))))
        (with-debugger (condition) (invoke-restart 'pws:retry)
          (is (stringp (connect server "/debugged-upgrade"))))
        (is (eql 3 times))))))
