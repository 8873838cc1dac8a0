;;;; A saved core serves, in a process that finds the library anew. ECL saves none.

(in-package #:portal-tests)

(in-suite portal)

#+sbcl
(progn
  (defun sbcl (&rest arguments)
    "Runs SBCL; returns what it printed. It is given the deadline."
    (uiop:run-program (list* "timeout" (princ-to-string (* 4 *deadline*)) (runtime)
                             arguments)
                      :output :string :error-output :output))

  (defun save-core (core)
    "Saves, as CORE, a Lisp in which a path and a page are defined."
    (sbcl "--noinform" "--no-sysinit" "--no-userinit" "--disable-debugger"
          "--eval" "(require \"asdf\")"
          "--eval" "(asdf:load-system \"portal\")"
          "--eval" "(pws:define-path-handler \"/saved\"
                      :upgrade (lambda (websocket) (if (pws:parameter websocket \"x\") 400 0))
                      :message (lambda (websocket message) (pws:send websocket message)))"
          "--eval" "(pws:define-page \"/page\" \"saved\")"
          ;; It has served before it is saved.
          "--eval" "(pws:server-close (pws:websocket-server 0))"
          "--eval" (format nil "(save-lisp-and-die ~s)" (namestring core))))

  (defun start-core (core &rest environment)
    "Starts CORE as a server that runs until its input ends."
    (uiop:launch-program
     `("env" ,@environment ,(runtime) "--core" ,(namestring core)
             "--noinform" "--no-sysinit" "--no-userinit" "--disable-debugger"
             "--eval" "(defvar *server* (pws:websocket-server 0 :host \"127.0.0.1\"))"
             "--eval" "(format t \"~d~%~a~%\" (pws:server-port *server*)
                               (cffi:foreign-library-pathname portal::*library*))"
             "--eval" "(finish-output)"
             "--eval" "(read-line *standard-input* nil)"
             "--eval" "(pws:server-close *server*)"
             "--quit")
     :input :stream :output :stream :error-output :output))

  (test a-saved-core-serves-with-a-library-that-is-elsewhere
    (with-temporary-folder (folder)
      (let ((core (merge-pathnames "saved.core" folder))
            (library (merge-pathnames "libportal-ws.so.0" folder)))
        (save-core core)
        (uiop:copy-file (cffi:foreign-library-pathname portal::*library*) library)
        (let* ((process (start-core core (format nil "PORTAL_LIBRARY=~a" folder)))
               (port (parse-integer (line-of process)))
               (name "saved"))
          (is (equal (namestring library) (line-of process)))
          (is (equal '("ok" "-") (ask "open" name port "/saved")))
          (is (equal "from a core" (ask-and-hear name "from a core")))
          (is (equal "200" (first (ask "get" port "/page"))))
          (close (uiop:process-info-input process))
          (is (equal 1001 (second (hear name))))
          (is (eql 0 (uiop:wait-process process)))))))

  (test a-core-is-not-saved-while-a-server-runs
    (with-server (server)
      (signals pws:portal-error (portal::leave-image)))))
