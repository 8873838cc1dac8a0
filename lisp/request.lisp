;;;; The request of a client. It is copied while C has it, and can be read at any time.

(in-package #:portal)

(defstruct (opening (:copier nil))
  "The copy of a request."
  path target peer headers parameters)

(defmethod print-object ((opening opening) stream)
  (print-unreadable-object (opening stream :type t)
    (format stream "from ~a, ~d header~:p" (opening-peer opening) (length (opening-headers opening)))))

(defmethod print-object ((websocket websocket) stream)
  (let ((opening (websocket-opening websocket))
        (path (websocket-path websocket)))
    (print-unreadable-object (websocket stream :type t)
      (format stream "~@[~a~]~@[ on ~a~]"
              (and opening (opening-peer opening)) (and path (path-name path))))))

(defun parameter-names (path)
  "Returns the names in PATH's braces: (\"name\" \"rest\") for \"/room/{name}/{*rest}\". \"{{\" is a literal
brace."
  (loop with start = 0
        for open = (position #\{ path :start start)
        while open
        if (and (< (1+ open) (length path)) (char= (char path (1+ open)) #\{))
          do (setf start (+ open 2))
        else
          collect (let ((close (or (position #\} path :start open) (length path))))
                    (setf start close)
                    (string-left-trim "*" (subseq path (1+ open) close)))))

(defun read-headers (request)
  "Returns C's headers, in order, as pairs of strings."
  (loop for index below (portal-request-header-count request)
        collect (cons (lenient-text-from (portal-request-header-name request index))
                      (lenient-text-from (portal-request-header-value request index)))))

(defun read-opening (request path)
  "Copies C's REQUEST for PATH."
  (make-opening :path (portal-request-path request)
                :target (lenient-text-from (portal-request-target request))
                :peer (portal-request-peer request)
                :headers (read-headers request)
                :parameters (loop for name in (parameter-names (path-name path))
                                  collect (cons name (portal-request-param request name)))))

(defun read-subprotocol (request)
  "Returns the subprotocol that C's REQUEST currently has, or NIL."
  (let ((name (portal-request-subprotocol request)))
    (when (string/= name "")
      name)))

(defun remote-address (websocket)
  "Returns the client's address: \"192.0.2.1:5000\", \"[2001:db8::1]:5000\" or \"unix\"."
  (opening-peer (websocket-opening websocket)))

(defun request-path (websocket)
  "Returns the path that the client requested, decoded, without the query."
  (opening-path (websocket-opening websocket)))

(defun parameter (websocket name)
  "Returns the value of the parameter NAME of WEBSOCKET's path, decoded; NIL when the path has none."
  (cdr (assoc name (opening-parameters (websocket-opening websocket)) :test #'string-equal)))

(defun request-header (websocket name)
  "Returns the value of the header NAME (a string or symbol, in upper or lower case), or NIL. Repeated
headers are joined with commas, cookies with semicolons."
  (let ((values (loop for (key . value) in (opening-headers (websocket-opening websocket))
                      when (string-equal key name)
                        collect value)))
    (when values
      (format nil (if (string-equal name "Cookie") "~{~a~^; ~}" "~{~a~^, ~}") values))))

(defparameter *well-known-headers*
  '(:accept :accept-encoding :accept-language :authorization :cache-control :connection :cookie :dnt
    :forwarded :from :host :origin :pragma :referer :sec-fetch-dest :sec-fetch-mode :sec-fetch-site
    :sec-websocket-extensions :sec-websocket-key :sec-websocket-protocol :sec-websocket-version
    :upgrade :user-agent :via :x-forwarded-for :x-forwarded-host :x-forwarded-proto :x-real-ip)
  "Names that are always keywords in HEADER.")

(defun header-key (name)
  "Returns NAME as a keyword if that keyword exists already, else as a string in upper case. Nothing is
interned, so clients cannot fill the memory with names; names that the program uses exist already."
  (let ((name (string-upcase name)))
    (or (find-symbol name '#:keyword)
        name)))

(defun header (websocket)
  "Returns the request as an alist: :METHOD, :SCRIPT (the path as sent), :QUERY-STRING if there is a
question mark, :VERSION, and the headers in order, each repeated one separately. The key of a header is
its name as an upcased keyword; a name that is not a keyword yet becomes a string in upper case."
  (let* ((opening (websocket-opening websocket))
         (target (opening-target opening))
         (mark (position #\? target)))
    (append (list (cons :method "GET")
                  (cons :script (subseq target 0 mark)))
            (when mark
              (list (cons :query-string (subseq target (1+ mark)))))
            (list (cons :version "HTTP/1.1"))
            (loop for (name . value) in (opening-headers opening)
                  collect (cons (header-key name) value)))))
