;;;; UTF-8, both ways, and octets: from C's memory into Lisp objects and back.
;;;;
;;;; Text from C is copied as octets first: ECL reads a Lisp vector forty times faster than foreign memory,
;;;; and on SBCL the copy costs little.

(in-package #:portal)

(deftype octets () '(simple-array (unsigned-byte 8) (*)))
(deftype text () '(simple-array character (*)))
(deftype index () `(integer 0 ,(1- array-dimension-limit)))

(defmacro optimized (&body body)
  "Compiles BODY, an inner loop whose indices are always in range, for speed."
  `(locally (declare (optimize (speed 3) (safety 0) (debug 0))
                     #+sbcl (sb-ext:muffle-conditions sb-ext:compiler-note))
     ,@body))

(defmacro with-data ((pointer length octets) &body body)
  "Runs BODY with a pointer to the contents of OCTETS and their number."
  (let ((vector (gensym "OCTETS")))
    `(let* ((,vector ,octets)
            (,length (length (the octets ,vector))))
       (cffi:with-pointer-to-vector-data (,pointer ,vector)
         ,@body))))

;;; From C

(defun octets-from (pointer length)
  "Returns a copy of the LENGTH octets at POINTER."
  (let ((octets (cffi:make-shareable-byte-vector length)))
    (cffi:with-pointer-to-vector-data (copy octets)
      (cffi:foreign-funcall "memcpy" :pointer copy :pointer pointer :size length :pointer))
    octets))

(defun ascii-length (octets)
  "Returns the number of octets before the first that is not ASCII."
  (declare (type octets octets))
  (optimized
    (let ((index 0))
      (declare (type index index))
      (loop while (and (< index (length octets)) (< (aref octets index) #x80))
            do (incf index))
      index)))

(defun count-characters (octets start)
  "Returns the number of characters that begin in OCTETS from START on."
  (declare (type octets octets) (type index start))
  (optimized
    (let ((count 0))
      (declare (type index count))
      (loop for index of-type index from start below (length octets)
            unless (= (logand (aref octets index) #xC0) #x80)
              do (incf count))
      count)))

(defun octets-text (octets)
  "Returns the string in OCTETS, which are UTF-8."
  (declare (type octets octets))
  (let* ((length (length octets))
         (plain (ascii-length octets))
         (text (make-string (+ plain (the index (count-characters octets plain))))))
    (declare (type index length plain))
    (optimized
      (loop for index of-type index from 0 below plain
            do (setf (schar text index) (code-char (aref octets index))))
      (let ((from plain)
            (to plain))
        (declare (type index from to))
        (flet ((next ()
                 (prog1 (aref octets from)
                   (incf from))))
          (declare (inline next))
          (flet ((bits ()
                   (logand (next) #x3F)))
            (declare (inline bits))
            (loop while (< from length)
                  do (let* ((first (next))
                            (code (cond ((< first #x80) first)
                                        ((< first #xE0)
                                         (logior (ash (logand first #x1F) 6) (bits)))
                                        ((< first #xF0)
                                         (logior (ash (logand first #x0F) 12)
                                                 (ash (bits) 6) (bits)))
                                        (t
                                         (logior (ash (logand first #x07) 18)
                                                 (ash (bits) 12) (ash (bits) 6) (bits))))))
                       (declare (type (unsigned-byte 21) code))
                       (setf (schar text to) (code-char code))
                       (incf to)))))))
    text))

(declaim (inline text-from))
(defun text-from (pointer length)
  "Returns the string in LENGTH octets at POINTER, which the library has validated as UTF-8."
  (octets-text (octets-from pointer length)))

;;; To C

(declaim (inline octets-needed))
(defun octets-needed (code)
  (cond ((< code #x80) 1)
        ((< code #x800) 2)
        ((< code #x10000) 3)
        (t 4)))

(defun text-length-in-octets (text)
  (declare (type text text))
  (optimized
    (let ((length 0))
      (declare (type index length))
      (loop for character across text
            do (incf length (the index (octets-needed (char-code character)))))
      length)))

(defun text-octets (text)
  "Returns TEXT as UTF-8."
  (declare (type text text))
  (let* ((length (text-length-in-octets text))
         (octets (cffi:make-shareable-byte-vector length)))
    (declare (type octets octets))
    (optimized
      (if (= length (length text))
          (loop for index of-type index from 0 below length
                do (setf (aref octets index) (char-code (schar text index))))
          (let ((to 0))
            (declare (type index to))
            (flet ((put (octet)
                     (setf (aref octets to) octet)
                     (incf to)))
              (declare (inline put))
              (loop for character across text
                    for code of-type (unsigned-byte 21) = (char-code character)
                    do (flet ((put-bits (shift)
                                (put (logior #x80 (logand #x3F (ash code (- shift)))))))
                         (declare (inline put-bits))
                         (case (octets-needed code)
                           (1 (put code))
                           (2 (put (logior #xC0 (ash code -6)))
                            (put-bits 0))
                           (3 (put (logior #xE0 (ash code -12)))
                            (put-bits 6) (put-bits 0))
                           (t (put (logior #xF0 (ash code -18)))
                              (put-bits 12) (put-bits 6) (put-bits 0)))))))))
    octets))

(defun octets-of (data &optional (argument 'message))
  "Returns DATA, the value of ARGUMENT, as a simple vector of octets for C; a string is encoded as UTF-8."
  (typecase data
    (octets data)
    (text (text-octets data))
    (string (text-octets (coerce data 'text)))
    (vector (coerce data 'octets))
    (array (let ((octets (cffi:make-shareable-byte-vector (array-total-size data))))
             (dotimes (index (length octets) octets)
               (setf (aref octets index) (row-major-aref data index)))))
    (list (coerce data 'octets))
    (t (refuse-argument argument data "a string or octets"))))

(defun lenient-text-from (pointer)
  "Returns the NUL-terminated string at POINTER, decoded as UTF-8, or else as Latin-1."
  (let ((length (cffi:foreign-funcall "strlen" :pointer pointer :size)))
    (handler-case (values (cffi:foreign-string-to-lisp pointer :count length :encoding :utf-8))
      (error () (values (cffi:foreign-string-to-lisp pointer :count length :encoding :latin-1))))))
