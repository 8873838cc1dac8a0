//! # Options
//!
//! A server keeps a copy of its options. So the same options may start several servers, and may be
//! changed or destroyed after a start.

use std::ffi::c_char;
use std::ptr;

use super::entry::guard;
use super::guard::guard_or;
use super::pointer::{borrow_mut, text};
use super::status::portal_status;
use super::types::portal_options;
use crate::server::{Options, OwnPaths};

/// The settings of a server. Each is validated when it is set.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "C programs use these names")]
pub enum portal_option {
    /// The address to listen on: a numeric address (brackets allowed) or a host name. A name is
    /// resolved once, at the start; the server then listens on all its addresses. "unix:/path" is a
    /// Unix socket: the port must be 0, a stale socket file is replaced, and the file is removed on
    /// close. "::" is all addresses, IPv4 included ("0.0.0.0" where there is no IPv6).
    ///
    /// "fd:N" is the descriptor N of this process: a TCP or Unix socket that is listening already.
    /// The port must be 0 or the socket's own, and BACKLOG has no effect. The descriptor belongs to
    /// the server after a successful start, which closes it when it stops accepting; after a failed
    /// start it is still the program's. The socket is never shut down: other processes that have it
    /// accept from it, now and later. "fd:systemd" is the first socket that systemd has passed to
    /// this process (sd_listen_fds(3)). A descriptor that is none of these, or that another server
    /// of the process uses, is PORTAL_STATUS_ADDRESS; the log has the reason.
    ///
    /// "none": the server has no listener; the port must be 0, and METRICS_PATH empty.
    ///
    /// Text. Default "::".
    PORTAL_OPTION_HOST = 1,
    /// Number of event loops, each on its own thread; 0 = one per processor.
    ///
    /// Number. Default 1. Range 0 to 1,024.
    PORTAL_OPTION_THREADS = 2,
    /// The threads on which callbacks run: enum portal_dispatch.
    ///
    /// Number. Default 0. Range 0 to 2.
    PORTAL_OPTION_DISPATCH = 3,
    /// Maximum number of connections that wait to be accepted, as in listen(2).
    ///
    /// Number. Default 4,096. Range 1 to 2,147,483,647.
    PORTAL_OPTION_BACKLOG = 4,
    /// Maximum number of concurrent connections; 0 = no limit. Further ones are refused with 503.
    ///
    /// Number. Default 0. Range 0 to 9,007,199,254,740,991.
    PORTAL_OPTION_MAX_CONNECTIONS = 5,
    /// Maximum number of concurrent connections from one address; an IPv6 /64 counts as one
    /// address; 0 = no limit. Further ones are refused with 429.
    ///
    /// Number. Default 0. Range 0 to 9,007,199,254,740,991.
    PORTAL_OPTION_MAX_CONNECTIONS_PER_IP = 6,
    /// Maximum size of a received message, after decompression. A larger one closes the websocket
    /// with 1009.
    ///
    /// Number, bytes. Default 16,777,216. Range 1 to 8,589,934,592.
    PORTAL_OPTION_MAX_MESSAGE_SIZE = 7,
    /// Maximum number of frames in one received message. More of them close the websocket with
    /// 1008.
    ///
    /// Number. Default 131,072. Range 1 to 2,147,483,647.
    PORTAL_OPTION_MAX_FRAGMENTS = 8,
    /// Maximum size of the request line and headers. A larger request is refused with 431, and so
    /// is one with more than 100 headers of any size.
    ///
    /// Number, bytes. Default 16,384. Range 128 to 16,777,216.
    PORTAL_OPTION_MAX_HEADER_SIZE = 9,
    /// Limit of a websocket's send queue, counted in framed and compressed bytes plus the overhead
    /// of queueing them. Sends return PORTAL_STATUS_FULL once the queue has reached the limit, so
    /// the queue holds at most one message more.
    ///
    /// Number, bytes. Default 16,777,216. Range 1 to 8,589,934,592.
    PORTAL_OPTION_MAX_QUEUED = 10,
    /// Maximum time from accepting a connection to the end of its request, TLS handshake included.
    ///
    /// Number, ms. Default 10,000. Range 1 to 2,147,483,647.
    PORTAL_OPTION_HANDSHAKE_TIMEOUT = 11,
    /// Maximum time without a frame from the peer; the websocket is then closed with 1001. 0 = no
    /// limit.
    ///
    /// Number, ms. Default 0. Range 0 to 2,147,483,647.
    PORTAL_OPTION_IDLE_TIMEOUT = 12,
    /// Time between two pings; 0 = no pings. When nothing was received from the peer by the next
    /// ping, the connection is dropped (1006), unless the peer is still receiving queued data and
    /// its system acknowledges bytes.
    ///
    /// Number, ms. Default 30,000. Range 0 to 2,147,483,647.
    PORTAL_OPTION_PING_INTERVAL = 13,
    /// Maximum time from portal_close, or from Portal's close frame, to the end of the connection.
    /// It starts again when the peer's system acknowledges bytes and when the close frame has been
    /// written, at most 12 times.
    ///
    /// Number, ms. Default 5,000. Range 1 to 2,147,483,647.
    PORTAL_OPTION_CLOSE_TIMEOUT = 14,
    /// The allowed origins (RFC 6455 section 10.2), separated by commas, none twice; empty = any.
    /// Each is scheme://host[:port], "null", "file://" or "app://-". The host may be "*." and a
    /// domain: every host below that domain, not the domain itself. The port may be "*": any. The
    /// default port of a scheme is equivalent to no port. Any other Origin is refused with 403; a
    /// request without an Origin header is accepted.
    ///
    /// Text. Default "".
    PORTAL_OPTION_ORIGINS = 15,
    /// The subprotocols that the server supports (RFC 6455 section 1.9), separated by commas, none
    /// twice, in order of preference. The first one that the client offers is selected; when there
    /// is none in common, the client is accepted without a subprotocol.
    ///
    /// Text. Default "".
    PORTAL_OPTION_SUBPROTOCOLS = 16,
    /// permessage-deflate (RFC 7692): 0 off, 1 on without context takeover, 2 on with context
    /// takeover where the client agrees. With 1, an idle websocket needs no more memory than an
    /// uncompressed one; with 2, each websocket needs up to 210 KiB after its first compressed
    /// messages. In a build without compression the default is 0, and no other value is accepted.
    ///
    /// Number. Default 1. Range 0 to 2.
    PORTAL_OPTION_DEFLATE = 17,
    /// Compression level: 1 is fastest, 9 compresses best.
    ///
    /// Number. Default 1. Range 1 to 9.
    PORTAL_OPTION_DEFLATE_LEVEL = 18,
    /// Messages smaller than this are sent uncompressed, and so are those that compression would
    /// not shorten.
    ///
    /// Number, bytes. Default 256. Range 0 to 2,147,483,647.
    PORTAL_OPTION_DEFLATE_MIN_SIZE = 19,
    /// A PEM file with the certificate and its chain, read at the start. Together with TLS_KEY it
    /// enables wss://. See also portal_options_add_certificate.
    ///
    /// Text. Default "".
    PORTAL_OPTION_TLS_CERTIFICATE = 20,
    /// A PEM file with the certificate's private key.
    ///
    /// Text. Default "".
    PORTAL_OPTION_TLS_KEY = 21,
    /// A PEM file with certificate authorities; clients must present a certificate that one of them
    /// signed.
    ///
    /// Text. Default "".
    PORTAL_OPTION_TLS_CLIENT_CA = 22,
    /// The value of the "Server" header; empty = no header.
    ///
    /// Text. Default "".
    PORTAL_OPTION_SERVER_HEADER = 23,
    /// The system interface of the loops: 1 = epoll, 2 = io_uring, 0 = automatic: epoll to receive,
    /// and io_uring to send to many websockets at once, which is fastest. Where the system
    /// forbids io_uring or is older than Linux 6.1, and with HOST dispatch, epoll is used for
    /// everything, without an error.
    ///
    /// Number. Default 0. Range 0 to 2.
    PORTAL_OPTION_BACKEND = 24,
    /// Of a connection of portal_connect: the longest time before the second attempt. It doubles with
    /// each further one, up to RECONNECT_MAX, and begins again after a minute of being open; each
    /// attempt waits for a random part of it. 0 = there is one attempt.
    ///
    /// Number, ms. Default 0. Range 0 to 2,147,483,647.
    PORTAL_OPTION_RECONNECT = 25,
    /// Of a connection: the longest time before any attempt.
    ///
    /// Number, ms. Default 30,000. Range 1 to 2,147,483,647.
    PORTAL_OPTION_RECONNECT_MAX = 26,
    /// Of a connection: a PEM file with the certificate authorities that it trusts, in place of the
    /// system's.
    ///
    /// Text. Default "".
    PORTAL_OPTION_TLS_CA = 27,
    /// Of a connection: whether the server's certificate is verified: 1 yes, 0 no, for tests; the log
    /// warns of it, at level 2.
    ///
    /// Number. Default 1. Range 0 to 1.
    PORTAL_OPTION_TLS_VERIFY = 28,
    /// Of a connection: the name that the server is asked for (SNI, RFC 6066 section 3) and that its
    /// certificate must have. Empty = the URL's host.
    ///
    /// Text. Default "".
    PORTAL_OPTION_TLS_SERVER_NAME = 29,
    /// Of a connection: the proxy to connect through: "http://[user:password@]host[:port]" (CONNECT),
    /// "socks5h://[user:password@]host[:port]" (RFC 1928; the proxy resolves the name), or "env": as
    /// the variables https_proxy, http_proxy (lower case alone), all_proxy and no_proxy say at the
    /// call. Empty = none.
    ///
    /// Text. Default "".
    PORTAL_OPTION_PROXY = 30,
    /// A path, such as "/metrics", at which GET returns the metrics of all servers of the process, with
    /// the labels "server" (the id) and "port": in OpenMetrics 1.0 when the request accepts
    /// application/openmetrics-text, else in Prometheus's text format. It takes precedence over a
    /// page. Empty = none.
    ///
    /// Text. Default "".
    PORTAL_OPTION_METRICS_PATH = 33,
    /// Whether the server serves the process's paths and pages, after its own of
    /// portal_options_define_path and portal_options_define_page: 1 yes, 0 no, as for the port of
    /// an administrator.
    ///
    /// Number. Default 1. Range 0 to 1.
    PORTAL_OPTION_SHARED_PATHS = 34,
    /// The permission bits of a Unix socket's file, for example 432, which is 0660 in octal; the
    /// file never has more than these. 0 = those that the umask leaves. Without effect for other
    /// kinds of HOST.
    ///
    /// Number. Default 0. Range 0 to 511.
    PORTAL_OPTION_UNIX_MODE = 35,
    /// Whether every connection begins with a PROXY header of version 1 or 2 (HAProxy, "The PROXY
    /// protocol"), before TLS: 1 yes, 0 no. portal_request_peer, the log and
    /// MAX_CONNECTIONS_PER_IP then use the address in it, unless the header says that there is no
    /// client or that it is not known (LOCAL, UNKNOWN). A connection without one, or from an address
    /// that is not one of TRUSTED_PROXIES if those are set, ends. Only for a port that just proxies
    /// can reach.
    ///
    /// Number. Default 0. Range 0 to 1.
    PORTAL_OPTION_PROXY_PROTOCOL = 36,
    /// Proxies in front of the server, comma-separated: addresses, networks (`10.0.0.0/8`), and
    /// `unix` for what connects to a Unix socket. When a request comes from one of them, the client
    /// is the last address in `X-Forwarded-For` that is not one of them; with `forwarded` in the
    /// list, in `Forwarded` instead (RFC 7239). All lines of the header are one list, and an element
    /// that is no address ends the search. portal_request_peer, the log and MAX_CONNECTIONS_PER_IP
    /// use that address, which has a port only if the header has one; a proxy itself may have any
    /// number of connections. With PROXY_PROTOCOL, the address in the PROXY header must be trusted.
    ///
    /// Text. Default "".
    PORTAL_OPTION_TRUSTED_PROXIES = 37,
    /// Time for which a connection that was answered with a page waits for the next request, as a load
    /// balancer's idle connections do; 0 = it is closed after the response. When descriptors or memory
    /// run short, such connections are ended first.
    ///
    /// Number, ms. Default 75,000. Range 0 to 2,147,483,647.
    PORTAL_OPTION_PAGE_KEEP_ALIVE = 38,
    /// The code with which a closing server closes its websockets: 1001 (going away), 1012 (service
    /// restart), 1013 (try again later) or 3000 to 4999.
    ///
    /// Number. Default 1001. Range 1001 to 4999.
    PORTAL_OPTION_CLOSE_CODE = 39,
    /// Maximum memory that the server holds for its connections: send queues, incomplete messages and
    /// requests, unread input, contexts of compression, and pulled records until they are returned,
    /// which count for half of it at most. When more is held, the connections that hold most end,
    /// largest first, until 7/8 of it are left: `error` is called with PORTAL_STATUS_MEMORY, the send
    /// queue is dropped, and after the frame that is being sent only a close frame with 1013 follows. 0
    /// = half of what the process may have (of the machine's memory, of its control group's or of its
    /// resource limits), which all servers with 0 share.
    ///
    /// Number, bytes. Default 0. Range 0 to 9,007,199,254,740,991.
    PORTAL_OPTION_MAX_MEMORY = 40,
    /// A PEM file with revocation lists (RFC 5280 section 5) for TLS_CLIENT_CA, which must be set. A
    /// client whose certificate is on one of them is refused. So is one for whose certificate there
    /// is no list of its issuer, or for an intermediate certificate that it presents, and one for
    /// which that list is out of date: this is how nginx treats its lists, too.
    ///
    /// Text. Default "".
    PORTAL_OPTION_TLS_CLIENT_CRL = 41,
}

/// Creates options, all at their defaults.
///
/// @return The options, to be destroyed by portal_options_destroy; NULL when an allocation failed.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub extern "C" fn portal_options_create() -> *mut portal_options {
    guard_or(ptr::null_mut(), || {
        Box::into_raw(Box::new(portal_options {
            options: Options::default(),
            paths: OwnPaths::default(),
        }))
    })
}

/// Sets a numeric option.
///
/// @param options  Borrowed until the call returns.
/// @param option   A number of enum portal_option.
/// @param value    A value in the range given at the option.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, an unknown option, an option that takes text, or out of
///                                    range.
/// @return PORTAL_STATUS_UNSUPPORTED  The feature is not in this build.
///
/// @threads  Any thread, one at a time for the same options, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_options_set_number(
    options: *mut portal_options,
    option: u32,
    value: i64,
) -> portal_status {
    guard(|| {
        // SAFETY: the caller's options, or NULL, and no other thread uses them.
        let options = unsafe { borrow_mut(options) }?;
        Ok(options.options.set_number(option, value)?)
    })
}

/// Sets a text option.
///
/// @param options  Borrowed until the call returns.
/// @param option   A number of enum portal_option.
/// @param value    UTF-8, NUL-terminated. Copied.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL, an unknown option, an option that takes a number, or
///                                    malformed.
/// @return PORTAL_STATUS_UNSUPPORTED  The feature is not in this build.
/// @return PORTAL_STATUS_MEMORY       An allocation failed.
///
/// @threads  Any thread, one at a time for the same options, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_options_set_text(
    options: *mut portal_options,
    option: u32,
    value: *const c_char,
) -> portal_status {
    guard(|| {
        // SAFETY: the caller's options, or NULL, and no other thread uses them.
        let options = unsafe { borrow_mut(options) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment requires.
        let value = unsafe { text(value) }?;
        Ok(options.options.set_text(option, value)?)
    })
}

/// Adds a certificate for clients that ask for one of its names (SNI, RFC 6066 section 3): its DNS
/// names in subjectAltName, in which "*." stands for one label.
///
/// The certificate of TLS_CERTIFICATE, which must be set, is for all other names. Of several
/// certificates for one name, the first is presented that the client can verify: one of them may
/// have an EC key, and one an RSA key. The files are read at the start and by
/// portal_server_reload_tls; what is wrong with them is reported there.
///
/// @param options      Borrowed until the call returns.
/// @param certificate  The name of a PEM file with the certificate and its chain, NUL-terminated.
///                     Copied.
/// @param key          The name of a PEM file with the certificate's private key, NUL-terminated.
///                     Copied.
///
/// @return PORTAL_STATUS_OK
/// @return PORTAL_STATUS_ARGUMENT     NULL or empty.
/// @return PORTAL_STATUS_UNSUPPORTED  This build has no TLS.
/// @return PORTAL_STATUS_MEMORY       An allocation failed.
///
/// @threads  Any thread, one at a time for the same options, and inside any callback.
/// @since    0.2
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_options_add_certificate(
    options: *mut portal_options,
    certificate: *const c_char,
    key: *const c_char,
) -> portal_status {
    guard(|| {
        // SAFETY: the caller's options, or NULL, and no other thread uses them.
        let options = unsafe { borrow_mut(options) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment asks.
        let certificate = unsafe { text(certificate) }?;
        // SAFETY: a string that ends in NUL, or NULL, as the comment asks.
        let key = unsafe { text(key) }?;
        Ok(options.options.add_certificate(certificate, key)?)
    })
}

/// Destroys the options. Servers that were started with them are not affected.
///
/// @param options  Must not be used again. May be NULL.
///
/// @threads  Any thread, and inside any callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C" fn portal_options_destroy(options: *mut portal_options) {
    guard_or((), || {
        if !options.is_null() && options.is_aligned() {
            // SAFETY: created by `portal_options_create`, and not used by the caller again.
            drop(unsafe { Box::from_raw(options) });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use portal_option::*;
    use std::ffi::CStr;

    #[test]
    fn settings_go_in_until_the_options_are_destroyed() {
        let options = portal_options_create();
        // SAFETY: options that this test made, and literals.
        unsafe {
            assert_eq!(
                portal_options_set_number(options, PORTAL_OPTION_THREADS as u32, 4),
                0
            );
            assert_eq!(
                portal_options_set_number(options, PORTAL_OPTION_THREADS as u32, -1),
                -1
            );
            assert_eq!(
                portal_options_set_number(options, PORTAL_OPTION_DEFLATE as u32, 3),
                -1
            );
            assert_eq!(
                portal_options_set_number(options, PORTAL_OPTION_HOST as u32, 1),
                -1
            );
            let host = PORTAL_OPTION_HOST as u32;
            assert_eq!(
                portal_options_set_text(options, host, c"127.0.0.1".as_ptr()),
                0
            );
            assert_eq!(
                portal_options_set_text(options, host, c"no host".as_ptr()),
                -1
            );
            assert_eq!(portal_options_set_text(options, host, c"\xff".as_ptr()), -1);
            assert_eq!(portal_options_set_text(options, host, ptr::null()), -1);

            let kept = &(*options).options;
            assert_eq!((kept.threads, kept.host.as_str()), (4, "127.0.0.1"));
            portal_options_destroy(options);
        }
    }

    #[test]
    fn certificates_are_added_by_the_names_of_their_files() {
        let options = portal_options_create();
        let add = |certificate: &CStr, key: &CStr| {
            // SAFETY: options that this test made, and literals.
            unsafe { portal_options_add_certificate(options, certificate.as_ptr(), key.as_ptr()) }
        };
        let taken = if cfg!(feature = "tls") { 0 } else { -10 };
        assert_eq!(add(c"a.pem", c"a.key"), taken);
        assert_eq!(add(c"b.pem", c"b.key"), taken);
        for (certificate, key) in [(c"", c"key"), (c"pem", c""), (c"\xff", c"key")] {
            assert_eq!(add(certificate, key), -1);
        }
        // SAFETY: options that this test made, a literal and NULL.
        unsafe {
            let file = c"file".as_ptr();
            assert_eq!(
                portal_options_add_certificate(options, file, ptr::null()),
                -1
            );
            assert_eq!(
                portal_options_add_certificate(options, ptr::null(), file),
                -1
            );
            assert_eq!(
                portal_options_add_certificate(ptr::null_mut(), file, file),
                -1
            );
            let kept = &(*options).options.tls.more;
            let names: Vec<_> = kept
                .iter()
                .map(|pair| (&*pair.certificate, &*pair.key))
                .collect();
            let added = [("a.pem", "a.key"), ("b.pem", "b.key")];
            assert_eq!(names, added[..if taken == 0 { 2 } else { 0 }]);
            portal_options_destroy(options);
        }
    }

    #[test]
    fn no_options_are_an_argument_and_may_be_destroyed() {
        let misaligned = ptr::without_provenance_mut(1);
        for none in [ptr::null_mut(), misaligned] {
            // SAFETY: neither pointer is dereferenced.
            unsafe {
                assert_eq!(
                    portal_options_set_number(none, PORTAL_OPTION_THREADS as u32, 1),
                    -1
                );
                let host = PORTAL_OPTION_HOST as u32;
                assert_eq!(portal_options_set_text(none, host, c"::".as_ptr()), -1);
                portal_options_destroy(none);
            }
        }
    }
}
