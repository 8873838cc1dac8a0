;;;; Checks of arguments, at the call. The condition names the argument.

(in-package #:portal)

(defun refuse-argument (argument value wanted)
  "Signals that VALUE, the value of ARGUMENT, is not WANTED, which is a description."
  (error 'argument-error
         :argument argument
         :message (let ((*print-length* 10)
                        (*print-level* 3))
                    (format nil "~s is ~s, which is not ~a." argument value wanted))))

(defun check-argument (argument value type wanted)
  "Returns VALUE, which must be of TYPE."
  (unless (typep value type)
    (refuse-argument argument value wanted))
  value)

(defun check-text (argument value)
  "Returns VALUE, which must be a string without NUL."
  (check-argument argument value 'string "a string")
  (when (find (code-char 0) value)
    (refuse-argument argument value "a string without NUL"))
  value)
