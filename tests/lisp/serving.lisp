;;;; Paths and servers.

(in-package #:portal-tests)

(in-suite portal)

(defun define-echo (path)
  (pws:define-path-handler path
    :message (lambda (websocket message) (pws:send websocket message))))

(test a-client-is-greeted-and-hears-its-messages
  (pws:define-path-handler "/greeting"
    :connect (lambda (websocket) (pws:send websocket "Welcome."))
    :message (lambda (websocket message) (pws:send websocket message)))
  (with-server (server)
    (let ((client (connect server "/greeting")))
      (is (equal "Welcome." (hear client)))
      (is (equal "Hello." (ask-and-hear client "Hello.")))
      (is (equal '(:closed 1000 "") (leave client))))))

(test every-way-to-ask-for-threads-serves
  (define-echo "/ways")
  (flet ((serves (server)
           (unwind-protect
                (progn (is (bt:threadp server))
                       (is (equal "Hello." (ask-and-hear (connect server "/ways") "Hello."))))
             (pws:server-close server))))
    (serves (pws:websocket-server 0))
    (serves (pws:websocket-server 0 nil))
    (serves (pws:websocket-server 0 :multi-thread))
    (serves (pws:websocket-server 0 t))
    (serves (pws:websocket-server 0 :multi-thread t))
    (serves (pws:websocket-server 0 :host "127.0.0.1" :multi-thread nil :deflate nil :threads 2))
    (serves (pws:server 0 t :ping-interval 0))))

(test an-unknown-option-is-an-error-that-names-those-there-are
  (signals pws:portal-error (pws:websocket-server 0 :colour "red"))
  (signals pws:portal-error (pws:websocket-server 0 :max-message-size 0))
  (is (search ":ORIGINS" (handler-case (pws:websocket-server 0 :colour "red")
                           (pws:portal-error (condition) (princ-to-string condition))))))

(test options-reach-the-library
  (define-echo "/options")
  (with-server (server :max-message-size 10 :origins '("https://example.org") :server-header "Portal")
    (is (eql 403 (connect server "/options" "header=Origin:https://example.com")))
    (let ((client (connect server "/options" "header=Origin:https://example.org")))
      (is (equal "0123456789" (ask-and-hear client "0123456789")))
      (say client "01234567890")
      (is (equal 1009 (second (hear client)))))))

(test a-port-in-use-is-an-address-error-that-names-it
  (with-server (server)
    (let* ((port (pws:server-port server))
           (condition (handler-case (pws:websocket-server port :host "127.0.0.1")
                        (pws:address-error (condition) condition))))
      (is-true (typep condition 'pws:address-error))
      (is (eql port (pws:address-error-port condition)))
      (is (search (princ-to-string port) (princ-to-string condition)))
      (is (search "in use" (princ-to-string condition))))))

(test a-missing-certificate-is-an-error
  (signals pws:portal-error
    (pws:websocket-server 0 :tls-certificate #p"/nowhere/certificate.pem" :tls-key "/nowhere/key.pem")))

(test an-unknown-path-is-answered-404
  (with-server (server)
    (is (eql 404 (connect server "/nowhere")))))

(test a-bad-path-is-an-error
  (signals pws:portal-error (pws:define-path-handler "no slash")))

(test a-redefinition-changes-clients-that-are-connected
  (pws:define-path-handler "/changing" :message (lambda (websocket message)
                                                  (pws:send websocket (format nil "old ~a" message))))
  (with-server (server)
    (let ((client (connect server "/changing")))
      (is (equal "old 1" (ask-and-hear client "1")))
      (pws:define-resource "/changing" :message (lambda (websocket message)
                                                  (pws:send websocket (format nil "new ~a" message))))
      (is (equal "new 2" (ask-and-hear client "2"))))))

(defun answer-by-name (websocket message)
  (pws:send websocket (string-upcase message)))

(test a-handler-may-be-a-functions-name
  (pws:define-path-handler "/by-name" :message 'answer-by-name)
  (with-server (server)
    (is (equal "LOUD" (ask-and-hear (connect server "/by-name") "loud")))))

(test handlers-may-be-left-out
  (pws:define-path-handler "/silent")
  (with-server (server)
    (let ((client (connect server "/silent")))
      (say client "anybody?")
      (is (equal '(:closed 1000 "") (leave client))))))

(test an-undefined-path-keeps-its-clients-and-takes-no-new-ones
  (define-echo "/leaving")
  (with-server (server)
    (let ((client (connect server "/leaving")))
      (is (eq t (pws:undefine-path-handler "/leaving")))
      (is (null (pws:undefine-path-handler "/leaving")))
      (is (eql 404 (connect server "/leaving")))
      (is (equal "still" (ask-and-hear client "still")))
      (define-echo "/leaving")
      (is (equal "again" (ask-and-hear (connect server "/leaving") "again"))))))

(test a-page-is-served-and-removed
  (pws:define-page "/healthy" "all is wéll" :content-type "text/plain; charset=utf-8")
  (with-server (server)
    (flet ((look ()
             (destructuring-bind (status type body) (ask "get" (pws:server-port server) "/healthy")
               (list status (text-from-wire type) (text-from-wire body)))))
      (is (equal '("200" "text/plain; charset=utf-8" "all is wéll") (look)))
      (is (eq t (pws:undefine-page "/healthy")))
      (is (null (pws:undefine-page "/healthy")))
      (is (equal "404" (first (look)))))))

(test a-server-of-metrics-serves-nothing-else
  (pws:define-page "/shared-page" "for other servers")
  (with-server (server :metrics-path "/metrics" :shared-paths nil)
    (flet ((look (path)
             (destructuring-bind (status &optional type body) (ask "get" (pws:server-port server) path)
               (declare (ignore type))
               (list status (and body (text-from-wire body))))))
      (destructuring-bind (status body) (look "/metrics")
        (is (equal "200" status))
        (is (search (format nil "port=\"~d\"" (pws:server-port server)) body)))
      (is (equal "404" (first (look "/shared-page"))))))
  (pws:undefine-page "/shared-page"))

(test statistics-count-messages
  (define-echo "/counted")
  (with-server (server)
    (let ((client (connect server "/counted")))
      (ask-and-hear client "one")
      (ask-and-hear client "two")
      (let ((figures (pws:server-statistics server)))
        (is (eql 1 (getf figures :connections)))
        (is (eql 2 (getf figures :messages-in)))))))

(test the-log-tells-its-function-until-it-is-ended
  (with-server (server)
    (let ((lines '()))
      (flet ((start-again ()
               (signals pws:address-error
                 (pws:websocket-server (pws:server-port server) :host "127.0.0.1"))))
        (pws:set-log (lambda (level line) (push (list level line) lines)) :level :warning)
        (unwind-protect (start-again)
          (pws:set-log nil))
        (is (eql 1 (length lines)))
        (is (eq :error (first (first lines))))
        (is (search "listen" (second (first lines))))
        (start-again)
        (is (eql 1 (length lines)))))))

(test the-library-says-its-version
  (is (stringp (pws:library-version))))

(test every-exported-name-is-documented
  (do-external-symbols (symbol '#:portal)
    (is (or (documentation symbol 'function)
            (documentation symbol 'type)
            (documentation symbol 'structure)
            (documentation symbol 'variable)
            (member symbol '(pws:retry pws:drop-client)))
        "~a has no docstring" symbol)))
