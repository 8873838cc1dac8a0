;;;; The interface of Portal.

(defpackage #:portal
  (:nicknames #:pws)
  (:use #:common-lisp)
  (:shadow #:close)
  (:export
   ;; Paths and handlers
   #:define-path-handler
   #:define-resource
   #:undefine-path-handler
   #:define-page
   #:undefine-page
   ;; Servers
   #:websocket-server
   #:server
   #:stop-accepting
   #:websocket-server-close
   #:server-close
   #:server-port
   #:server-statistics
   #:reload-tls
   ;; Operations on a websocket
   #:websocket
   #:send
   #:send-ping
   #:broadcast
   #:flush
   #:close
   ;; Properties of a websocket
   #:ready-state
   #:buffered-amount
   #:close-code
   #:close-reason
   #:remote-address
   #:subprotocol
   #:parameter
   #:header
   #:request-header
   #:request-path
   #:websocket-data
   ;; Inside :upgrade
   #:set-response-header
   #:select-subprotocol
   ;; Errors
   #:*debug-on-error*
   #:retry
   #:drop-client
   #:portal-error
   #:portal-error-status
   #:argument-error
   #:argument-error-argument
   #:connection-closed
   #:portal-error-websocket
   #:send-queue-full
   #:message-too-large
   #:address-error
   #:address-error-port
   #:tls-error
   #:protocol-error
   #:library-not-found
   ;; The library
   #:library-version
   #:set-log)
  (:documentation "WebSockets: define handlers for a path, start a server, send."))
