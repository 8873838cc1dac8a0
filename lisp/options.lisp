;;;; The options of a server: a keyword for each option of C.

(in-package #:portal)

(defparameter *options*
  '((:host 1 :text)
    (:threads 2 :number)
    (:backlog 4 :number)
    (:max-connections 5 :number)
    (:max-connections-per-ip 6 :number)
    (:max-message-size 7 :number)
    (:max-fragments 8 :number)
    (:max-header-size 9 :number)
    (:max-queued 10 :number)
    (:handshake-timeout 11 :number)
    (:idle-timeout 12 :number)
    (:ping-interval 13 :number)
    (:close-timeout 14 :number)
    (:origins 15 :text)
    (:subprotocols 16 :text)
    (:deflate 17 :number)
    (:deflate-level 18 :number)
    (:deflate-min-size 19 :number)
    (:tls-certificate 20 :text)
    (:tls-key 21 :text)
    (:tls-client-ca 22 :text)
    (:server-header 23 :text)
    (:backend 24 :number)
    (:metrics-path 33 :text)
    (:shared-paths 34 :number)
    (:unix-mode 35 :number)
    (:proxy-protocol 36 :number)
    (:trusted-proxies 37 :text)
    (:page-keep-alive 38 :number)
    (:close-code 39 :number)
    (:max-memory 40 :number)
    (:tls-client-crl 41 :text))
  "Keywords, with number and kind of the option in C. DISPATCH is not among them: Portal for Lisp pulls.")

(defconstant +option-dispatch+ 3)

(defun option-text (keyword value)
  "Returns VALUE as a text for C: a list is joined with commas, a pathname becomes a native file name."
  (typecase value
    (string (check-text keyword value))
    (pathname (uiop:native-namestring value))
    (list (format nil "~{~a~^,~}" (loop for text in value
                                        collect (check-text keyword text))))
    (t (refuse-argument keyword value "a string, a pathname or a list of strings"))))

(defun option-number (keyword value)
  "Returns VALUE as a number for C: NIL is 0 and T is 1."
  (case value
    ((nil) 0)
    ((t) 1)
    (t (check-argument keyword value '(signed-byte 64) "a whole number"))))

(defun refuse-option (keyword)
  (error 'argument-error
         :argument keyword
         :message (format nil "~s is not an option of a server. The options are :MULTI-THREAD~{, ~s~}."
                          keyword (mapcar #'first *options*))))

(defun set-option (options keyword value)
  (destructuring-bind (&optional number kind) (rest (assoc keyword *options*))
    (let ((status (ecase kind
                    (:text (portal-options-set-text options number (option-text keyword value)))
                    (:number (portal-options-set-number options number (option-number keyword value)))
                    ((nil) (refuse-option keyword)))))
      (when (minusp status)
        (fail status (format nil "Setting the option ~s to ~s" keyword value) :argument keyword)))))

(defmacro with-options ((options keywords) &body body)
  "Runs BODY with C options, set from the property list KEYWORDS, and HOST dispatch."
  `(let ((,options (portal-options-create)))
     (unwind-protect
          (progn
            (check (portal-options-set-number ,options +option-dispatch+ +dispatch-host+)
                   "Setting the dispatch")
            (loop for (keyword value) on ,keywords by #'cddr
                  do (set-option ,options keyword value))
            ,@body)
       (portal-options-destroy ,options))))

(defun check-options (options)
  "Returns OPTIONS, which must be keywords of *OPTIONS* or :MULTI-THREAD, each with a value."
  (flet ((no-value (keyword)
           (error 'argument-error
                  :argument keyword
                  :message (format nil "~s has no value." keyword))))
    (loop for (keyword . rest) on options by #'cddr
          do (cond ((not (or (eq keyword :multi-thread) (assoc keyword *options*)))
                    (refuse-option keyword))
                   ((null rest)
                    (no-value keyword))
                   ;; Such as (websocket-server 4433 :multi-thread :host).
                   ((and (eq keyword :multi-thread) (assoc (first rest) *options*))
                    (no-value (first rest))))))
  options)

(defun without-value-p (options)
  "Whether the first of OPTIONS is :MULTI-THREAD without a value, T or NIL."
  (or (member (first options) '(t nil))
      (and (eq (first options) :multi-thread) (oddp (length options)))))

(defun split-options (options)
  "Returns whether OPTIONS select a thread for each client, and the other options. The first option may
select it without a value, as in (websocket-server 4433 :multi-thread) or (websocket-server 4433 t)."
  (if (and options (without-value-p options))
      (values (first options) (check-options (rest options)))
      (values (getf (check-options options) :multi-thread)
              (loop for (keyword value) on options by #'cddr
                    unless (eq keyword :multi-thread)
                      append (list keyword value)))))
