;;;; Numbers, layouts and functions are C's, as include/portal.json describes them.

(in-package #:portal-tests)

(in-suite portal)

(defparameter *interface*
  (with-open-file (file (asdf:system-relative-pathname "portal" "../include/portal.json")
                        :external-format :utf-8)
    (yason:parse file))
  "The description of the C interface: hash tables and lists.")

(defun of (thing &rest keys)
  "What stands in THING, of the description, under KEYS."
  (reduce (lambda (table key) (values (gethash key table))) keys :initial-value thing))

(defun named (name things)
  "The one of THINGS, of the description, that is called NAME; NIL when there is none."
  (find name things :key (lambda (thing) (of thing "name")) :test #'string=))

(defun c-name (format symbol)
  "SYMBOL as C spells a number's name, put in FORMAT."
  (format nil format (substitute #\_ #\- (string-trim "+" (symbol-name symbol)))))

(defun enumerators ()
  (loop for enumeration in (of *interface* "enumerations")
        append (of enumeration "values")))

(defun number-in-c (format symbol)
  (let ((enumerator (named (c-name format symbol) (enumerators))))
    (when enumerator
      (of enumerator "value"))))

;;; Numbers

(defun constants ()
  (loop for symbol being the symbols of '#:portal
        when (and (eq (symbol-package symbol) (find-package '#:portal))
                  (boundp symbol)
                  (constantp symbol)
                  (char= #\+ (char (symbol-name symbol) 0)))
          collect symbol))

(test constants-are-c-s-numbers
  (is (member 'portal::+status-gone+ (constants)))
  (dolist (symbol (constants))
    (is (eql (symbol-value symbol)
             (or (number-in-c "PORTAL_~a" symbol)
                 ;; +TEXT+ and +BINARY+.
                 (number-in-c "PORTAL_MESSAGE_~a" symbol)))
        "~a" symbol)))

(test each-option-of-c-has-its-keyword
  (let ((options (of (named "portal_option" (of *interface* "enumerations")) "values"))
        (known '("PORTAL_OPTION_DISPATCH")))
    (loop for (keyword number kind) in portal::*options*
          for name = (c-name "PORTAL_OPTION_~a" keyword)
          for option = (named name options)
          do (push name known)
             (is (eql number (number-in-c "PORTAL_OPTION_~a" keyword)) "~a" keyword)
             (is (search (ecase kind (:text "Text.") (:number "Number"))
                         (of option "comment"))
                 "~a" keyword))
    ;; Lisp has no connections to servers yet.
    (dolist (option (remove-if (lambda (option) (eql 0 (search "Of a connection" (of option "comment")))) options))
      (is (member (of option "name") known :test #'string=) "~a" (of option "name")))))

(test statistics-are-in-the-order-of-c-s-numbers
  (loop for name in portal::*statistics*
        for number from 1
        do (is (eql number (number-in-c "PORTAL_METRIC_~a" name)) "~a" name)))

;;; Types

(defun lisp-types (c-type)
  "The types by which C-TYPE may go in Lisp."
  (let ((typedef (named c-type (of *interface* "typedefs"))))
    (cond (typedef
           (lisp-types (of typedef "type")))
          ((rest (assoc c-type '(("int32_t" :int32 portal::status)
                                 ("uint32_t" :uint32)
                                 ("int64_t" :int64)
                                 ("uint64_t" :uint64 portal::id)
                                 ("size_t" :size)
                                 ("const char *" :pointer :string)
                                 ("void *" :pointer :uintptr)
                                 ("void" :void))
                        :test #'string=)))
          ((or (find #\* c-type) (named c-type (of *interface* "callbacks")))
           '(:pointer)))))

(defun goes-by (lisp-type c-type)
  "Whether C-TYPE may go by LISP-TYPE."
  (member lisp-type (lisp-types c-type)))

(defun slots-of (struct)
  "Offset and type of each slot of STRUCT, in order."
  (sort (loop for slot in (cffi:foreign-slot-names struct)
              collect (list (cffi:foreign-slot-offset struct slot)
                            (cffi:foreign-slot-type struct slot)))
        #'< :key #'first))

(test structures-are-laid-out-as-in-c
  (loop for (name c-name) in '((portal::handlers "portal_handlers")
                               (portal::pulled "portal_pulled")
                               (portal::failure "portal_error"))
        for struct = (list :struct name)
        for described = (named c-name (of *interface* "structs"))
        for fields = (of described "fields")
        for slots = (slots-of struct)
        ;; C's may have grown at its end.
        for next = (nth (length slots) fields)
        do (is (<= (length slots) (length fields)) "~a" name)
           (is (eql (cffi:foreign-type-size struct)
                    (if next (of next "offset") (of described "size")))
               "~a" name)
           (loop for (offset type) in slots
                 for field in fields
                 do (is (eql offset (of field "offset")) "~a ~a" name (of field "name"))
                    (is-true (goes-by type (of field "type")) "~a ~a" name (of field "name")))))

;;; Functions

(defun defined-functions ()
  "The DEFINE-C-FUNCTION forms of the sources, without that word."
  (let ((*package* (find-package '#:portal)))
    (with-open-file (file (asdf:system-relative-pathname "portal" "bindings.lisp")
                          :external-format :utf-8)
      (loop for form = (read file nil file)
            until (eq form file)
            when (and (consp form) (eq (first form) 'portal::define-c-function))
              collect (rest form)))))

(test functions-take-and-return-what-c-s-do
  (is (assoc "portal_send" (defined-functions) :test #'string=))
  (loop for (name result . parameters) in (defined-functions)
        for function = (named name (of *interface* "functions"))
        for described = (and function (of function "parameters"))
        do (is-true function "~a" name)
           (when function
             (is-true (goes-by result (of function "returns" "type")) "~a" name)
             (is (eql (length parameters) (length described)) "~a" name)
             (loop for (nil type) in parameters
                   for parameter in described
                   do (is-true (goes-by type (of parameter "type"))
                               "~a ~a" name (of parameter "name"))))))
