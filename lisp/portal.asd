;;;; Portal for Common Lisp: two systems, the library and its tests.

(defsystem "portal"
  :description "WebSockets: a server in a few lines, on Portal's C library."
  :version "0.2.0"
  :license "MIT OR Apache-2.0"
  :depends-on ("cffi" "bordeaux-threads")
  :serial t
  :components ((:file "package")
               (:file "conditions")
               (:file "arguments")
               (:file "library")
               (:file "bindings")
               (:file "text")
               (:file "log")
               (:file "interrupts")
               (:file "debugging")
               (:file "paths")
               (:file "pages")
               (:file "websocket")
               (:file "request")
               (:file "handlers")
               (:file "sending")
               (:file "options")
               (:file "memory")
               (:file "client-thread")
               (:file "dispatcher")
               (:file "server")
               (:file "upgrade")
               (:file "image"))
  :in-order-to ((test-op (test-op "portal/tests"))))

(defsystem "portal/tests"
  :description "Portal's tests, which talk to it with Python's websockets."
  :license "MIT OR Apache-2.0"
  :depends-on ("portal" "fiveam" "yason")
  :pathname "../tests/lisp/"
  :serial t
  :components ((:file "package")
               (:file "client")
               (:file "processes")
               (:file "interface")
               (:file "serving")
               (:file "original")
               (:file "messages")
               (:file "requests")
               (:file "errors")
               (:file "debugging")
               (:file "arguments")
               (:file "printing")
               (:file "closing")
               (:file "threads")
               (:file "memory")
               (:file "lasting")
               (:file "loading")
               (:file "image"))
  :perform (test-op (operation system)
             (declare (ignore operation system))
             (unless (symbol-call "PORTAL-TESTS" "RUN-ALL")
               (error "Some of Portal's tests failed."))))
