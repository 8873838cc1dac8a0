;;;; What the original's manual shows, and what our examples are, runs as it stands; only the port is any
;;;; that is free, and nothing sleeps.

(in-package #:portal-tests)

(in-suite portal)

(defvar *go* (make-box)
  "Where what a program waits for is put.")

(defun forms-in (input)
  "The forms up to that which starts the server, read as a user would type them, with the port 0 for
4433. Where a program would sleep, it waits for the test to say go, after longer than what is sent waits for the end
of a turn."
  (let ((*package* (find-package '#:common-lisp-user)))
    (subst 0 4433 (subst '(progn (sleep 1/50) (take *go*)) '(sleep 1)
                         (loop for form = (read input)
                               collect form
                               until (eq (first form) 'defparameter))
                         :test #'equal))))

(defun forms-of (file)
  "The forms in FILE, whose name is relative to Portal's folder: those of its first example in Lisp, if it
is a manual."
  (with-open-file (input (asdf:system-relative-pathname "portal" (concatenate 'string "../" file)))
    (when (equal (pathname-type input) "md")
      (loop until (equal (read-line input) "```lisp")))
    (forms-in input)))

(defmacro with-program ((server file) &body body)
  "Runs BODY after what FILE says; SERVER is what it calls server."
  `(with-debugging (pws:*debug-on-error*)
     (mapc #'eval (forms-of ,file))
     (let ((,server (symbol-value (find-symbol "SERVER" '#:common-lisp-user))))
       (unwind-protect (progn ,@body)
         (pws:websocket-server-close ,server)))))

(test the-manual-of-the-first-version-runs-as-it-stands
  (with-program (server "tests/lisp/original-first.lisp")
    (is (bt:threadp server))
    (let ((client (connect server "/echo")))
      (is (equal "Welcome to echo server." (hear client)))
      (is (equal "Hello." (ask-and-hear client "Hello.")))
      (is (null (pws:websocket-server-close server)))
      (is (equal '(:closed 1001) (subseq (hear client) 0 2)))
      (is (not (bt:thread-alive-p server))))))

(test the-manual-of-version-1.2-runs-as-it-stands
  (with-program (server "tests/lisp/original-1.2.lisp")
    (is (bt:threadp server))
    (let ((client (connect server "/echo")))
      (is (equal "Welcome to echo server." (hear client)))
      (say client "Hello.")
      (put *go* :first)
      (is (equal "Hello." (hear client)) "the first answer does not wait for the second")
      (put *go* :second)
      (is (equal "Hello." (hear client))))
    (let ((client (connect server "/err")))
      (is (equal "Welcome to error server." (hear client)))
      (let ((answer (ask-and-hear client "a string")))
        (is (search "a string" answer)))
      (is (equal '(:closed 1000 "") (leave client))))
    (is (null (pws:server-close server)))
    (is (not (bt:thread-alive-p server)))))

(test a-program-may-close-its-client-at-any-point
  (pws:define-path-handler "/no"
    :connect (lambda (websocket) (pws:close websocket)))
  (with-server (server)
    (is (equal '(:closed 1000 "") (hear (connect server "/no"))))))

(test a-program-may-speak-of-the-class
  (is (find-class 'pws:websocket))
  (let ((box (make-box)))
    (pws:define-path-handler "/class"
      :connect (lambda (websocket) (put box (typep websocket 'pws:websocket))))
    (with-server (server)
      (connect server "/class")
      (is (eq t (take box))))))

(test the-manuals-first-example-runs-as-it-stands
  (dolist (file '("lisp/README.md" "README.md"))
    (with-program (server file)
      (is (equal "Hello." (let ((client (connect server "/echo")))
                            (hear client)
                            (ask-and-hear client "Hello.")))
          "~a" file))))

(test a-package-may-use-portals
  (let ((package (eval '(defpackage #:a-user-of-portal
                         (:use #:common-lisp #:pws)
                         (:shadowing-import-from #:pws #:close)))))
    (is (eq 'pws:close (find-symbol "CLOSE" package)))
    (delete-package package)))

(test the-echo-example-echoes
  (with-program (server "lisp/examples/echo.lisp")
    (let ((client (connect server "/echo")))
      (is (equal "Welcome to echo server." (hear client)))
      (is (equal "Hello." (ask-and-hear client "Hello."))))))

(test the-chat-example-tells-a-room-and-no-other
  (with-program (server "lisp/examples/chat.lisp")
    (let ((anna (connect server "/chat/one")))
      (is (search "has come" (hear anna)))
      (let ((bert (connect server "/chat/two")))
        (is (search "has come" (hear bert)))
        (say anna "Hello?")
        (is (search ": Hello?" (hear anna)))
        (let ((carl (connect server "/chat/one")))
          (is (search "has come" (hear carl)))
          (is (search "has come" (hear anna)))
          (leave carl)
          (is (search "has left" (hear anna))))
        (say bert "Nobody here?")
        (is (search "Nobody here?" (hear bert)))))))
