;;;; Lisps of their own, for what would end this one or needs another beginning.

(in-package #:portal-tests)

(in-suite portal)

(defun runtime ()
  #+sbcl (uiop:native-namestring sb-ext:*runtime-pathname*)
  #+ecl "ecl")

(defun options-of-runtime (heap)
  "The command line's options for a Lisp with HEAP megabytes, which runs no file of the user's."
  #+sbcl `(,@(when heap (list "--dynamic-space-size" (format nil "~dMB" heap)))
           "--noinform" "--no-sysinit" "--no-userinit")
  #+ecl `("--norc" ,@(when heap (list "--heap-size" (princ-to-string (* heap 1024 1024))))))

(defun command-of-lisp (forms &key heap)
  "The command that starts a Lisp which evaluates FORMS, strings, and leaves. It is given ten deadlines:
it may compile."
  `("timeout" "--foreground" "--kill-after=10" ,(princ-to-string (* 10 *deadline*))
    ,(runtime) ,@(options-of-runtime heap)
    ,@(loop for form in `("(require \"asdf\")" ,@forms "(uiop:quit 0)")
            append (list "--eval" form))))

(defun start-lisp (forms &rest settings)
  "Starts a Lisp that evaluates FORMS. Its input is a pipe, and stays open."
  (uiop:launch-program (apply #'command-of-lisp forms settings)
                       :input :stream :output :stream :error-output :output))

(defun line-of (process)
  (read-line (uiop:process-info-output process)))

(defun line-beginning (process beginning)
  "What follows BEGINNING in the next line of PROCESS that has it; NIL when there is none."
  (loop for line = (read-line (uiop:process-info-output process) nil)
        while line
        when (eql 0 (search beginning line))
          return (subseq line (length beginning))))

(defun run-lisp (forms &rest settings)
  "What a Lisp that evaluates FORMS has printed."
  (uiop:run-program (apply #'command-of-lisp forms settings)
                    :output :string :error-output :output :ignore-error-status t))

(defun serving (server)
  "Forms that serve with what the form SERVER starts, until a line comes."
  (list (format nil "(defvar *server* ~a)" server)
        "(format t \"~&port ~d~%\" (pws:server-port *server*))"
        "(finish-output)"
        "(read-line *standard-input* nil)"
        "(pws:server-close *server*)"))

(defun announced (process name)
  "The number that PROCESS prints after NAME."
  (parse-integer (or (line-beginning process (format nil "~(~a~) " name)) "0")))

(defun tell-to-end (process)
  "Lets a process that serves end. Its input is not closed: ECL hands the other end to its child."
  (ignore-errors
   (let ((input (uiop:process-info-input process)))
     (write-line "end" input)
     (finish-output input))))

(defmacro with-serving-lisp ((names forms &rest settings) &body body)
  "Runs BODY while another Lisp, which has evaluated FORMS, serves. NAMES, variables, have the numbers
that it prints after these names. It must end in order."
  (let ((process (gensym "PROCESS")))
    `(let ((,process (start-lisp (list* "(asdf:load-system \"portal\")" ,forms) ,@settings)))
       (unwind-protect
            (let* ,(loop for name in names
                         collect `(,name (announced ,process ',name)))
              ,@body
              (tell-to-end ,process)
              (is (eql 0 (uiop:wait-process ,process))))
         (when (uiop:process-alive-p ,process)
           (uiop:terminate-process ,process))))))

(defmacro with-temporary-folder ((folder) &body body)
  `(let ((,folder (uiop:ensure-directory-pathname
                   (string-trim '(#\newline) (uiop:run-program '("mktemp" "-d") :output :string)))))
     (unwind-protect (progn ,@body)
       (uiop:delete-directory-tree ,folder :validate t))))
