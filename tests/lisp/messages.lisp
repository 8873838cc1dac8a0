;;;; Messages: what comes, what goes.

(in-package #:portal-tests)

(in-suite portal)

(defparameter *sizes* '(0 1 125 126 65535 65536 1048576))

(defun text-of (size)
  "Characters of one to four octets, SIZE octets in all."
  (let* ((words (format nil "Gr~a " (code-char #xFC)))
         (words (concatenate 'string words (string (code-char #x4E16)) (string (code-char #x1F44B))))
         (needed (length (portal::octets-of words))))
    (multiple-value-bind (times rest) (floor size needed)
      (with-output-to-string (text)
        (loop repeat times do (write-string words text))
        (loop repeat rest do (write-char #\. text))))))

(defun octets-of-size (size)
  (let ((octets (make-array size :element-type '(unsigned-byte 8))))
    (dotimes (index size octets)
      (setf (aref octets index) (mod index 251)))))

(test text-of-any-size-comes-back
  (define-echo "/text")
  (with-server (server)
    (let ((client (connect server "/text")))
      (dolist (size *sizes*)
        (let ((text (text-of size)))
          (is (string= text (ask-and-hear client text)) "~d octets" size))))))

(test octets-of-any-number-come-back
  (define-echo "/octets")
  (with-server (server)
    (let ((client (connect server "/octets")))
      (dolist (size *sizes*)
        (let ((octets (octets-of-size size)))
          (is (equalp octets (ask-and-hear client octets)) "~d octets" size))))))

(test messages-are-strings-and-simple-octet-vectors
  (let ((box (make-box)))
    (pws:define-path-handler "/types"
      :message (lambda (websocket message)
                 (declare (ignore websocket))
                 (put box message)))
    (with-server (server)
      (let ((client (connect server "/types")))
        (say client "text")
        (is (typep (take box) 'string))
        (say client (octets-of-size 3))
        (is (typep (take box) '(simple-array (unsigned-byte 8) (*))))))))

(test every-character-survives
  (define-echo "/characters")
  (with-server (server)
    (let ((client (connect server "/characters")))
      (dolist (code '(#x0 #x7F #x80 #x7FF #x800 #xD7FF #xE000 #xFFFD #xFFFF #x10000 #x10FFFF))
        (let ((text (format nil "a~ab" (code-char code))))
          (is (string= text (ask-and-hear client text)) "~x" code))))))

(test a-fragmented-message-comes-whole
  (define-echo "/fragments")
  (with-server (server)
    (let ((client (connect server "/fragments"))
          (text (text-of 1000))
          (octets (octets-of-size 100000)))
      (say-in-fragments client text 7)
      (is (string= text (hear client)))
      (say-in-fragments client octets 999)
      (is (equalp octets (hear client))))))

(test messages-keep-their-order
  (define-echo "/order")
  (with-server (server)
    (let ((client (connect server "/order"))
          (texts (loop for number below 200 collect (princ-to-string number))))
      (dolist (text texts)
        (say client text))
      (is (equal texts (loop repeat 200 collect (hear client)))))))

(defun sent-by (thing &rest binary)
  "What a client hears when a handler sends THING, and what SEND returned."
  (let ((box (make-box)))
    (pws:define-path-handler "/sent"
      :connect (lambda (websocket) (put box (apply #'pws:send websocket thing binary))))
    (with-server (server)
      (values (hear (connect server "/sent")) (take box)))))

(test send-returns-the-message
  (dolist (thing (list "text" (octets-of-size 3) 42 nil))
    (is (eq thing (nth-value 1 (sent-by thing))))))

(test strings-of-every-kind-go-as-text
  (is (equal "simple" (sent-by "simple")))
  (is (equal "base" (sent-by (coerce "base" 'base-string))))
  (is (equal "growing" (sent-by (make-array 7 :element-type 'character :adjustable t :fill-pointer t
                                              :initial-contents "growing"))))
  (is (equal "part" (sent-by (make-array 4 :element-type 'character :displaced-to (copy-seq "a part")
                                           :displaced-index-offset 2)))))

(test octets-of-every-kind-go-as-binary
  (let ((octets (octets-of-size 5)))
    (is (equalp octets (sent-by octets)))
    (is (equalp octets (sent-by octets t)))
    (is (equalp octets (sent-by (make-array 5 :element-type '(unsigned-byte 8) :adjustable t
                                              :fill-pointer t :initial-contents octets))))
    (is (equalp #(1 2 3) (sent-by (make-array 3 :element-type '(unsigned-byte 8)
                                                :displaced-to octets :displaced-index-offset 1))))
    (is (equalp #(1 2 3 4) (sent-by (make-array '(2 2) :element-type '(unsigned-byte 8)
                                                       :initial-contents '((1 2) (3 4))))))
    (is (equalp #(1 2) (sent-by (vector 1 2) t)))
    (is (equalp #(104 105) (sent-by "hi" t)))))

(test anything-else-goes-as-princ-writes-it
  (is (equal "42" (sent-by 42)))
  (is (equal "NIL" (sent-by nil)))
  (is (equal "(1 two)" (sent-by (list 1 "two"))))
  (is (equal "SYMBOL" (sent-by 'symbol))))

(test half-a-surrogate-pair-is-an-error-and-nothing-is-sent
  (let ((box (make-box)))
    (pws:define-path-handler "/surrogate"
      :connect (lambda (websocket)
                 (put box (handler-case (pws:send websocket (string (code-char #xD800)))
                            (pws:portal-error () :refused)))
                 (pws:send websocket "after")))
    (with-server (server)
      (is (equal "after" (hear (connect server "/surrogate"))))
      (is (eq :refused (take box))))))

(test a-clients-ping-is-answered
  (define-echo "/pinged")
  (with-server (server)
    (is (eq t (ping (connect server "/pinged") "are you there?")))))

(test the-answer-to-a-ping-comes-to-pong
  (let ((box (make-box)))
    (pws:define-path-handler "/ping"
      :connect (lambda (websocket)
                 (put box (pws:send-ping websocket (octets-of-size 125)))
                 (put box (handler-case (pws:send-ping websocket (octets-of-size 126))
                            (pws:message-too-large () :too-large))))
      :pong (lambda (websocket octets)
              (declare (ignore websocket))
              (put box octets)))
    (with-server (server)
      (connect server "/ping")
      (is (equalp (octets-of-size 125) (take box)))
      (is (eq :too-large (take box)))
      (is (equalp (octets-of-size 125) (take box))))))

(test a-full-queue-is-an-error-and-drain-follows
  (let ((box (make-box))
        (piece (octets-of-size 100000)))
    (pws:define-path-handler "/full"
      :connect (lambda (websocket)
                 (put box (handler-case (loop (pws:send websocket piece))
                            (pws:send-queue-full () :full)))
                 (put box (plusp (pws:buffered-amount websocket))))
      :drain (lambda (websocket)
               (declare (ignore websocket))
               (put box :drain)))
    (with-server (server :max-queued 200000)
      (let ((client (connect server "/full")))
        (is (eq :full (take box)))
        (is (eq t (take box)))
        (loop repeat 2 do (is (equalp piece (hear client))))
        (is (eq :drain (take box)))))))

(test broadcast-reaches-a-path-a-server-or-some
  (with-server (server)
    (let ((box (make-box)))
      (dolist (path '("/crowd" "/crowd/other"))
        (pws:define-path-handler path :connect (lambda (websocket) (put box websocket))))
      (let* ((anna (connect server "/crowd"))
             (bert (connect server "/crowd"))
             (websockets (list (take box) (take box)))
             (other (connect server "/crowd/other")))
        (take box)
        (is (eql 2 (pws:broadcast "/crowd" "to the path")))
        (is (eql 3 (pws:broadcast server "to all")))
        (is (eql 1 (pws:broadcast (last websockets) (octets-of-size 3))))
        (is (equal "to the path" (hear anna)))
        (is (equal "to the path" (hear bert)))
        (dolist (client (list anna bert other))
          (is (equal "to all" (hear client))))
        (is (equalp (octets-of-size 3) (hear bert)))
        (leave anna)
        (is (eql 1 (eventually (when (eql 1 (pws:broadcast websockets "to who is left")) 1))))
        (is (eql 0 (pws:broadcast "/nowhere" "to nobody")))))))

(test a-long-handler-may-flush
  (let ((box (make-box)))
    (pws:define-path-handler "/flush"
      :connect (lambda (websocket)
                 (pws:send websocket "before")
                 (pws:flush websocket)
                 (take box)))
    (with-server (server)
      (let ((client (connect server "/flush")))
        (is (equal "before" (hear client)))
        (put box :go)))))
