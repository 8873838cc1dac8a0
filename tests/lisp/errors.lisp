;;;; Errors in handlers: who is told, and that the server goes on.

(in-package #:portal-tests)

(in-suite portal)

(defun define-failing (kind box)
  "Defines /failing, whose handler of KIND fails, and whose :ERROR puts the condition into BOX."
  (flet ((failing (a-kind)
           (lambda (websocket &rest message)
             (cond ((eq kind a-kind) (error 'planned-error))
                   (message (pws:send websocket (first message)))))))
    (pws:define-path-handler "/failing"
      :connect (failing :connect)
      :message (failing :message)
      :disconnect (failing :disconnect)
      :error (lambda (websocket condition)
               (put box (list (type-of websocket) (type-of condition)))))))

(defun provoke (server)
  "A client that has made every handler of /failing run."
  (let ((client (connect server "/failing")))
    (say client "message")
    (leave client)))

(defmacro for-each-kind-of-server ((server) &body body)
  "Runs BODY with a server with one thread, and with one with a thread for each client."
  `(progn
     (with-server (,server) ,@body)
     (with-server (,server :multi-thread) ,@body)))

(test an-error-in-a-handler-is-told-and-the-server-goes-on
  (dolist (kind '(:connect :message :disconnect))
    (for-each-kind-of-server (server)
      (let ((box (make-box)))
        (define-failing kind box)
        (provoke server)
        (is (equal '(pws:websocket planned-error) (take box)) "in ~a" kind)
        (define-failing nil box)
        (is (equal "on" (ask-and-hear (connect server "/failing") "on")) "after ~a" kind)))))

(test an-error-in-a-handler-enters-the-debugger-when-that-is-wanted
  (dolist (kind '(:connect :message :disconnect))
    (for-each-kind-of-server (server)
      (let ((box (make-box)))
        (define-failing kind box)
        (with-debugging (t)
          (with-debugger (condition)
              (progn (put box (list :debugger (type-of condition)))
                     (invoke-restart 'continue))
            (provoke server)
            (is (equal '(pws:websocket planned-error) (take box)) "in ~a" kind)
            (is (equal '(:debugger planned-error) (take box)) "in ~a" kind)
            (define-failing nil box)
            (is (equal "on" (ask-and-hear (connect server "/failing") "on")) "after ~a" kind)))))))

(defmacro with-restart-chosen ((restart) &body body)
  "Runs BODY while whoever enters the debugger chooses RESTART."
  `(with-debugging (t)
     (with-debugger (condition) (invoke-restart ,restart)
       ,@body)))

(test continue-goes-on-with-the-next-event
  (for-each-kind-of-server (server)
    (pws:define-path-handler "/continue"
      :message (lambda (websocket message)
                 (when (equal message "bad") (error 'planned-error))
                 (pws:send websocket message)))
    (with-restart-chosen ('continue)
      (let ((client (connect server "/continue")))
        (say client "bad")
        (is (equal "good" (ask-and-hear client "good")))))))

(test retry-runs-the-handler-again
  (for-each-kind-of-server (server)
    (let ((times 0))
      (pws:define-path-handler "/retry"
        :message (lambda (websocket message)
                   (when (< (incf times) 3) (error 'planned-error))
                   (pws:send websocket (format nil "~a ~d" message times))))
      (with-restart-chosen ('pws:retry)
        (is (equal "tried 3" (ask-and-hear (connect server "/retry") "tried")))))))

(test retry-runs-the-newest-definition
  (with-server (server)
    (pws:define-path-handler "/mended" :message (lambda (websocket message)
                                                  (declare (ignore websocket message))
                                                  (error 'planned-error)))
    (with-debugging (t)
      (with-debugger (condition)
          (progn (define-echo "/mended")
                 (invoke-restart 'pws:retry))
        (is (equal "mended" (ask-and-hear (connect server "/mended") "mended")))))))

(test drop-client-closes-the-websocket
  (for-each-kind-of-server (server)
    (pws:define-path-handler "/drop" :message (lambda (websocket message)
                                                (declare (ignore websocket message))
                                                (error 'planned-error)))
    (with-restart-chosen ('pws:drop-client)
      (is (equal '(:closed 1011 "") (ask-and-hear (connect server "/drop") "bad"))))))

(test abort-leaves-the-handler-and-not-the-thread
  (for-each-kind-of-server (server)
    (pws:define-path-handler "/abort"
      :message (lambda (websocket message)
                 (when (equal message "bad") (error 'planned-error))
                 (pws:send websocket message)))
    (with-restart-chosen ('abort)
      (let ((client (connect server "/abort")))
        (say client "bad")
        (is (equal "good" (ask-and-hear client "good")))))))

(test an-error-in-error-is-reported-and-harms-nobody
  (for-each-kind-of-server (server)
    (let* ((output (make-string-output-stream))
           (before *error-output*))
      (pws:define-path-handler "/twice"
        :message (lambda (websocket message)
                   (when (equal message "bad") (error 'planned-error))
                   (pws:send websocket message))
        :error (lambda (websocket condition)
                 (declare (ignore websocket condition))
                 (error "the second")))
      (setf *error-output* output)
      (unwind-protect
           (let ((client (connect server "/twice")))
             (say client "bad")
             (is (equal "good" (ask-and-hear client "good"))))
        (setf *error-output* before))
      (is (search "the second" (get-output-stream-string output))))))

(test a-non-local-exit-out-of-a-handler-is-harmless
  (for-each-kind-of-server (server)
    (let ((left (block left
                  (lambda () (return-from left nil)))))
      (pws:define-path-handler "/leaving-early"
        :message (lambda (websocket message)
                   (cond ((equal message "throw") (throw 'nowhere nil))
                         ((equal message "return") (funcall left))
                         ((equal message "restart") (invoke-restart 'abort))
                         (t (pws:send websocket message)))))
      (let ((client (connect server "/leaving-early")))
        (dolist (exit '("throw" "return" "restart"))
          (say client exit)
          (is (equal "still here" (ask-and-hear client "still here")) "after ~a" exit))))))

(test a-client-that-breaks-a-rule-is-told-to-error
  (let ((box (make-box)))
    (pws:define-path-handler "/rules"
      :error (lambda (websocket condition)
               (declare (ignore websocket))
               (put box (type-of condition))))
    (with-server (server :max-message-size 10)
      (let ((client (connect server "/rules")))
        (say client "more than ten octets")
        (is (equal 1009 (second (hear client))))
        (is (eq 'pws:message-too-large (take box)))))))

(test sending-after-the-end-is-connection-closed
  (let ((box (make-box)))
    (pws:define-path-handler "/ended"
      :disconnect (lambda (websocket)
                    (put box (handler-case (pws:send websocket "too late")
                               (pws:connection-closed (condition)
                                 (eq websocket (pws:portal-error-websocket condition)))))))
    (with-server (server)
      (leave (connect server "/ended"))
      (is (eq t (take box))))))

(test a-client-that-leaves-while-its-handler-sends-is-nobodys-error
  (let ((box (make-box)))
    (pws:define-path-handler "/gone"
      :message (lambda (websocket message)
                 (pws:close websocket)
                 (pws:send websocket message))
      :disconnect (lambda (websocket)
                    (declare (ignore websocket))
                    (put box :disconnect))
      :error (lambda (websocket condition)
               (declare (ignore websocket))
               (put box condition)))
    (with-server (server)
      (is (equal '(:closed 1000 "") (ask-and-hear (connect server "/gone") "x")))
      (is (eq :disconnect (take box))))))

(test all-conditions-are-portal-errors
  (dolist (name '(pws:connection-closed pws:send-queue-full pws:message-too-large pws:address-error
                  pws:tls-error pws:protocol-error pws:library-not-found))
    (is (subtypep name 'pws:portal-error))
    (is (stringp (princ-to-string (make-condition name))))))

(test a-missing-library-says-where-it-was-looked-for
  (let ((report (handler-case (error 'pws:library-not-found :places '("/one/" "/two/"))
                  (pws:library-not-found (condition) (princ-to-string condition)))))
    (is (search "/one/" report))
    (is (search "cargo build --release" report))
    (is (search "PORTAL_LIBRARY" report))))
