//! Requests from their first byte to the answer: good and bad ones, however their bytes are cut.

use portal::proto::{HeadScanner, Offer, Refusal, RequestHead, check, parse_head, write_accept};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

const LIMIT: usize = 16 * 1024;
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    /// It is not complete.
    Waiting,
    /// It is a good handshake for this path; so many bytes belong to it.
    Accepted(String, Offer, usize),
    Refused(Refusal),
}

impl Outcome {
    fn status(&self) -> u16 {
        match self {
            Self::Waiting => 0,
            Self::Accepted(..) => 101,
            Self::Refused(refusal) => refusal.status,
        }
    }
}

/// What a server does with bytes that come in pieces, cut at each of `cuts`.
fn serve(bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut scanner = HeadScanner::default();
    for &cut in cuts.iter().chain([&bytes.len()]) {
        match scanner.scan(&bytes[..cut], LIMIT) {
            Ok(None) => {}
            Ok(Some(head_len)) => {
                let mut head = bytes[..head_len].to_vec();
                let checked =
                    parse_head(&mut head).and_then(|head| Ok((head.path().into(), check(&head)?)));
                return match checked {
                    Ok((path, offer)) => Outcome::Accepted(path, offer, head_len),
                    Err(refusal) => Outcome::Refused(refusal),
                };
            }
            Err(refusal) => return Outcome::Refused(refusal),
        }
    }
    Outcome::Waiting
}

/// The outcome, which must be the same in every cutting into two or three and byte by byte.
fn serve_any_cutting(request: &[u8]) -> Outcome {
    let whole = serve(request, &[]);
    let each_byte: Vec<_> = (0..request.len()).collect();
    assert_eq!(serve(request, &each_byte), whole);
    for one in 0..=request.len() {
        assert_eq!(serve(request, &[one]), whole, "cut at {one}");
        for two in (one..=request.len()).step_by(7) {
            assert_eq!(serve(request, &[one, two]), whole, "cut at {one} and {two}");
        }
    }
    whole
}

/// A good handshake in which `line` is replaced by `other`.
fn handshake_with(line: &str, other: &str) -> String {
    let good = format!(
        "GET /chat HTTP/1.1\r\n\
         Host: server.example.com\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         {KEY}\
         Sec-WebSocket-Version: 13\r\n\
         \r\n"
    );
    assert!(good.contains(line), "{line:?} is not in a good handshake");
    good.replacen(line, other, 1)
}

fn good_handshake() -> String {
    handshake_with("", "")
}

/// Calls `with` with a request that [`parse_head`] must read.
fn parsed<T>(request: &str, with: impl FnOnce(&RequestHead<'_>) -> T) -> T {
    let mut bytes = request.as_bytes().to_vec();
    match parse_head(&mut bytes) {
        Ok(head) => with(&head),
        Err(refusal) => panic!("{request:?}: {refusal:?}"),
    }
}

#[test]
fn the_handshake_of_the_rfc_is_accepted_1_3() {
    let request = "GET /chat HTTP/1.1\r\n\
                   Host: server.example.com\r\n\
                   Upgrade: websocket\r\n\
                   Connection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                   Origin: http://example.com\r\n\
                   Sec-WebSocket-Protocol: chat, superchat\r\n\
                   Sec-WebSocket-Version: 13\r\n\
                   \r\n";
    let Outcome::Accepted(path, offer, head_len) = serve_any_cutting(request.as_bytes()) else {
        panic!("not accepted");
    };
    assert_eq!((path.as_str(), head_len), ("/chat", request.len()));
    assert_eq!(offer.subprotocols, ["chat", "superchat"]);
    assert_eq!(offer.extensions, []);

    let mut answer = Vec::new();
    write_accept(&mut answer, &offer.accept, Some("chat"), None, "", &[]);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "));
    assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
}

#[test]
fn every_handshake_gets_the_answer_that_the_rfcs_ask_for() {
    // Section (of RFC 6455 where no other is named), line of a good handshake, what stands in its
    // place, status.
    let cases: &[(&str, &str, &str, u16)] = &[
        ("4.2.1", "", "", 101),
        // Request line.
        ("RFC 9112 2.2", "GET ", "\r\n\r\nGET ", 101),
        ("RFC 9110 2.5", "HTTP/1.1", "HTTP/1.2", 101),
        ("RFC 9110 2.5", "HTTP/1.1", "HTTP/1.9", 101),
        ("4.2.1", "HTTP/1.1", "HTTP/1.0", 400),
        ("4.2.1", "HTTP/1.1", "HTTP/2.0", 400),
        ("RFC 9112 2.3", "HTTP/1.1", "HTTP/1.10", 400),
        ("RFC 9112 2.3", "HTTP/1.1", "http/1.1", 400),
        ("RFC 9112 2.3", "HTTP/1.1", "HTTP/1.", 400),
        ("RFC 9112 3", " HTTP/1.1", "", 400),
        ("RFC 9112 3", "GET /chat", "GET  /chat", 400),
        ("RFC 9112 3", "/chat ", "/chat  ", 400),
        ("RFC 9112 3", "/chat ", "/chat\t", 400),
        ("RFC 9112 3", "/chat", "/ch at", 400),
        ("RFC 9112 3", "/chat", "", 400),
        ("RFC 9112 3", "GET ", " GET ", 400),
        ("RFC 9112 3.1", "GET", "G(T", 400),
        ("4.2.1", "GET", "POST", 405),
        ("4.2.1", "GET", "HEAD", 405),
        ("RFC 9110 9.1", "GET", "get", 405),
        // Target.
        ("RFC 9112 3.2.1", "/chat", "/", 101),
        ("RFC 9112 3.2.1", "/chat", "/chat?a=%zz&b=?/", 101),
        ("RFC 9112 3.2.2", "/chat", "http://other.example/chat", 101),
        ("RFC 9112 3.2.2", "/chat", "WSS://h:1/chat?x", 101),
        ("RFC 9112 3.2.2", "/chat", "http://other.example", 101),
        ("RFC 9112 3.2.2", "/chat", "http:///chat", 400),
        ("RFC 9112 3.2.2", "/chat", "http://u@h/chat", 400),
        ("RFC 9112 3.2.2", "/chat", "ftp://h/chat", 400),
        ("RFC 9112 3.2.3", "/chat", "server.example.com:80", 400),
        ("RFC 9112 3.2.4", "/chat", "*", 400),
        ("RFC 9112 3.2", "/chat", "chat", 400),
        ("RFC 9112 3.2", "/chat", "?x", 400),
        ("RFC 6455 3", "/chat", "/chat#x", 400),
        ("RFC 6455 3", "/chat", "/chat?x#", 400),
        ("RFC 3986 2.1", "/chat", "/%4", 400),
        ("RFC 3986 2.1", "/chat", "/%zz", 400),
        ("RFC 3986 2.1", "/chat", "/a%00", 400),
        ("RFC 3986 2", "/chat", "/é", 400),
        ("RFC 3986 2.5", "/chat", "/%ff", 400),
        // Lines.
        (
            "RFC 9112 2.2",
            "Upgrade: websocket\r\n",
            "Upgrade: websocket\n",
            400,
        ),
        (
            "RFC 9112 2.2",
            "Upgrade: websocket\r\n",
            "Upgrade: web\rsocket\r\n",
            400,
        ),
        ("RFC 9112 5.1", "Upgrade:", "Upgrade :", 400),
        ("RFC 9112 5.1", "Upgrade:", ":", 400),
        ("RFC 9112 5.1", "Upgrade:", "Upgrade", 400),
        ("RFC 9112 5.1", "Upgrade:", "Up(grade:", 400),
        ("RFC 9112 5.2", "Connection: ", "Connection:\r\n ", 400),
        ("RFC 9110 5.5", "Host", "X: a\0b\r\nHost", 400),
        ("RFC 9110 5.5", "Host", "X: a\x01b\r\nHost", 400),
        ("RFC 9110 5.5", "Host", "X: a\x7fb\r\nHost", 400),
        ("RFC 9110 5.5", "Host", "X: caf\u{e9}\t!\r\nHost", 101),
        ("RFC 9110 5.5", "Host", "X:\r\nHost", 101),
        // Host.
        ("RFC 9112 3.2", "Host: server.example.com\r\n", "", 400),
        ("RFC 9112 3.2", "Host", "Host: a\r\nhost", 400),
        ("RFC 9112 3.2", "server.example.com", "", 400),
        ("RFC 9112 3.2", "server.example.com", "a, b", 400),
        ("RFC 9112 3.2", "server.example.com", "http://a", 400),
        ("RFC 9112 3.2", "server.example.com", "a/b", 400),
        ("RFC 9112 3.2", "server.example.com", "u@a", 400),
        ("RFC 9112 3.2", "server.example.com", "a:b", 400),
        ("RFC 9112 3.2", "server.example.com", "a:123456", 400),
        ("RFC 9112 3.2", "server.example.com", ":80", 400),
        ("RFC 9112 3.2", "server.example.com", "[]", 400),
        ("RFC 9112 3.2", "server.example.com", "::1", 400),
        ("RFC 9112 3.2", "server.example.com", "[::1]", 101),
        ("RFC 9112 3.2", "server.example.com", "[::1]:4433", 101),
        ("RFC 9112 3.2", "server.example.com", "127.0.0.1:4433", 101),
        ("RFC 9112 3.2", "server.example.com", "a_b.example", 101),
        // Body.
        ("RFC 9112 6", "Host", "Content-Length: 0\r\nHost", 101),
        ("RFC 9112 6", "Host", "Content-Length: 1\r\nHost", 400),
        ("RFC 9112 6", "Host", "Content-Length: 0, 0\r\nHost", 400),
        ("RFC 9112 6", "Host", "content-length:\r\nHost", 400),
        (
            "RFC 9112 6",
            "Host",
            "Content-Length: 0\r\nContent-Length: 5\r\nHost",
            400,
        ),
        (
            "RFC 9112 6",
            "Host",
            "Transfer-Encoding: chunked\r\nHost",
            400,
        ),
        (
            "RFC 9112 6",
            "Host",
            "transfer-encoding: identity\r\nHost",
            400,
        ),
        // Upgrade.
        ("4.2.1 3", "Upgrade: websocket", "upgrade:WebSocket", 101),
        (
            "RFC 9110 7.8",
            "Upgrade: websocket",
            "Upgrade: h2c, websocket",
            101,
        ),
        (
            "RFC 9110 7.8",
            "Upgrade: websocket",
            "Upgrade: h2c\r\nUpgrade: websocket",
            101,
        ),
        ("4.2.1 3", "Upgrade: websocket\r\n", "", 426),
        ("4.2.1 3", "Upgrade: websocket", "Upgrade: h2c", 426),
        ("4.2.1 3", "Upgrade: websocket", "Upgrade: websockets", 426),
        ("4.2.1 3", "Upgrade: websocket", "Upgrade: web socket", 426),
        // Connection.
        (
            "4.2.1 4",
            "Connection: Upgrade",
            "Connection: keep-alive, Upgrade",
            101,
        ),
        (
            "4.2.1 4",
            "Connection: Upgrade",
            "connection: UPGRADE,,keep-alive",
            101,
        ),
        (
            "4.2.1 4",
            "Connection: Upgrade",
            "Connection: x\r\nConnection: upgrade",
            101,
        ),
        ("4.2.1 4", "Connection: Upgrade\r\n", "", 400),
        (
            "4.2.1 4",
            "Connection: Upgrade",
            "Connection: keep-alive",
            400,
        ),
        (
            "RFC 9112 9.6",
            "Connection: Upgrade",
            "Connection: close",
            400,
        ),
        // As lighttpd sends it.
        (
            "4.2.1 4",
            "Connection: Upgrade",
            "Connection: close, Upgrade",
            101,
        ),
        (
            "4.2.1 4",
            "Connection: Upgrade",
            "Connection: Upgrade, Close",
            101,
        ),
        (
            "4.2.1 4",
            "Connection: Upgrade",
            "Connection: close\r\nConnection: upgrade",
            101,
        ),
        // Key.
        ("4.2.1 5", KEY, "", 400),
        (
            "4.2.1 5",
            "Host",
            "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nHost",
            400,
        ),
        (
            "11.3.1",
            KEY,
            "sec-websocket-key:\t dGhlIHNhbXBsZSBub25jZQ== \r\n",
            101,
        ),
        (
            "4.1 7",
            KEY,
            "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n",
            101,
        ),
        ("4.2.1 5", KEY, "Sec-WebSocket-Key:\r\n", 400),
        (
            "4.2.1 5",
            KEY,
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n",
            400,
        ),
        (
            "4.2.1 5",
            KEY,
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXM=\r\n",
            400,
        ),
        (
            "4.2.1 5",
            KEY,
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
            400,
        ),
        // Version.
        ("4.4", "Sec-WebSocket-Version: 13\r\n", "", 426),
        ("4.4", "Version: 13", "Version: 8", 426),
        ("4.4", "Version: 13", "Version: 013", 426),
        ("4.4", "Version: 13", "Version: 13, 8", 426),
        ("4.4", "Host", "Sec-WebSocket-Version: 13\r\nHost", 426),
        // Origin.
        ("RFC 6454 7", "Host", "Origin: null\r\nHost", 101),
        ("RFC 6454 7", "Host", "Origin: a\r\nOrigin: b\r\nHost", 400),
        // Subprotocols.
        (
            "4.1 10",
            "Host",
            "Sec-WebSocket-Protocol: a, b\r\nHost",
            101,
        ),
        (
            "4.1 10",
            "Host",
            "Sec-WebSocket-Protocol: a, a\r\nHost",
            400,
        ),
        ("4.1 10", "Host", "Sec-WebSocket-Protocol: a b\r\nHost", 400),
        ("4.1 10", "Host", "Sec-WebSocket-Protocol: a/b\r\nHost", 400),
        ("11.3.4", "Host", "Sec-WebSocket-Protocol:\r\nHost", 400),
        // Extensions.
        (
            "9.1",
            "Host",
            "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10\r\nHost",
            101,
        ),
        (
            "9.1",
            "Host",
            "Sec-WebSocket-Extensions: a;b=\"c\"\r\nSec-WebSocket-Extensions: d\r\nHost",
            101,
        ),
        ("9.1", "Host", "Sec-WebSocket-Extensions: a;\r\nHost", 400),
        (
            "9.1",
            "Host",
            "Sec-WebSocket-Extensions: a; b=\"c d\"\r\nHost",
            101,
        ),
        (
            "9.1",
            "Host",
            "Sec-WebSocket-Extensions: a; b=\"c\r\nHost",
            400,
        ),
    ];
    for &(section, line, other, status) in cases {
        let request = handshake_with(line, other);
        let outcome = serve_any_cutting(request.as_bytes());
        assert_eq!(
            outcome.status(),
            status,
            "{section}: {request:?}: {outcome:?}"
        );
    }
}

#[test]
fn http_1_0_needs_no_host_and_cannot_be_upgraded_9110_7_8() {
    for (request, is_old, upgrades) in [
        ("GET / HTTP/1.0\r\n\r\n", true, false),
        (
            "GET / HTTP/1.0\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
            true,
            false,
        ),
        (
            "GET / HTTP/1.2\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
            false,
            true,
        ),
    ] {
        parsed(request, |head| {
            assert_eq!(head.is_http_1_0, is_old, "{request:?}");
            assert_eq!(head.wants_websocket(), upgrades, "{request:?}");
        });
    }
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a b\r\n\r\n",
    ] {
        assert!(
            parse_head(&mut request.as_bytes().to_vec()).is_err(),
            "{request:?}"
        );
    }
}

#[test]
fn what_is_no_http_is_refused_before_a_line_has_ended() {
    let cases: [(&str, &[u8]); 4] = [
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        ("a frame", b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
        ("SOCKS", b"\x05\x01\x00"),
        ("PROXY, version 2", b"\r\n\r\n\0\r\nQUIT\n"),
    ];
    for (name, bytes) in cases {
        assert_eq!(serve_any_cutting(bytes).status(), 400, "{name}");
    }
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(serve_any_cutting(preface).status(), 400, "HTTP/2");
}

#[test]
fn a_request_that_is_cut_short_waits() {
    let request = good_handshake();
    for len in 0..request.len() {
        assert_eq!(
            serve(&request.as_bytes()[..len], &[]),
            Outcome::Waiting,
            "{len} bytes"
        );
    }
}

#[test]
fn what_follows_a_request_is_left_alone_4_2() {
    let request = good_handshake();
    let with_frames = [request.as_bytes(), b"\x81\x80\0\0\0\0\0\n\r\n\r\n"].concat();
    let Outcome::Accepted(_, _, head_len) = serve_any_cutting(&with_frames) else {
        panic!("not accepted");
    };
    assert_eq!(head_len, request.len());
}

#[test]
fn size_and_number_of_headers_are_limited_6585_5() {
    let padding = |len: usize| handshake_with("Host", &format!("X: {}\r\nHost", "x".repeat(len)));
    let rest = padding(0).len();
    assert_eq!(serve(padding(LIMIT - rest).as_bytes(), &[]).status(), 101);
    assert_eq!(
        serve(padding(LIMIT - rest + 1).as_bytes(), &[]).status(),
        431
    );
    assert_eq!(serve(padding(10 * LIMIT).as_bytes(), &[20]).status(), 431);

    let headers =
        |count: usize| handshake_with("Host", &format!("{}Host", "X: y\r\n".repeat(count)));
    let in_a_handshake = 5;
    assert_eq!(
        serve(headers(100 - in_a_handshake).as_bytes(), &[]).status(),
        101
    );
    assert_eq!(
        serve(headers(101 - in_a_handshake).as_bytes(), &[]).status(),
        431
    );
}

#[test]
fn a_version_other_than_13_is_told_which_one_is_spoken_4_4() {
    let request = handshake_with("Version: 13", "Version: 99");
    let Outcome::Refused(refusal) = serve(request.as_bytes(), &[]) else {
        panic!("not refused");
    };
    let mut answer = Vec::new();
    refusal.write(&mut answer, "", false);
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("\r\nSec-WebSocket-Version: 13\r\n"),
        "{answer}"
    );
}

#[test]
fn a_target_has_a_path_a_route_and_a_query() {
    // Target as sent; target without host, decoded path, route, query.
    let cases = [
        ("/", "/", "/", "/", ""),
        ("/a/b?c=d?e", "/a/b?c=d?e", "/a/b", "/a/b", "c=d?e"),
        ("/a?", "/a?", "/a", "/a", ""),
        ("//a/../b/", "//a/../b/", "//a/../b/", "//a/../b/", ""),
        (
            "/r%C3%a9sum%C3%A9?%20",
            "/r%C3%a9sum%C3%A9?%20",
            "/résumé",
            "/résumé",
            "%20",
        ),
        ("/x%2Fy/z", "/x%2Fy/z", "/x/y/z", "/x\0y/z", ""),
        ("/%252F%3F", "/%252F%3F", "/%2F?", "/%2F?", ""),
        ("http://h:80/a%20b?q", "/a%20b?q", "/a b", "/a b", "q"),
        ("http://h", "/", "/", "/", ""),
        ("http://h?q", "/?q", "/", "/", "q"),
    ];
    for (sent, target, path, route, query) in cases {
        parsed(&handshake_with("/chat", sent), |head| {
            assert_eq!(head.target, target, "{sent}");
            assert_eq!(head.path(), path, "{sent}");
            assert_eq!(head.route(), route, "{sent}");
            assert_eq!(head.query, query, "{sent}");
        });
    }
}

#[test]
fn headers_are_found_in_any_case_and_kept_as_sent() {
    let request = "HEAD /p HTTP/1.1\r\n\
                   HOST: h\r\n\
                   X-a: 1\r\n\
                   x-A: \t2 \t\r\n\
                   Origin: https://o\r\n\
                   x-empty:\r\n\
                   \r\n";
    parsed(request, |head| {
        assert_eq!(head.method, "HEAD");
        assert_eq!(head.header("X-A").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(head.header("X-Empty").collect::<Vec<_>>(), [b""]);
        assert_eq!(head.header("absent").next(), None);
        assert_eq!(head.origin(), Some(&b"https://o"[..]));
        let names: Vec<_> = head.headers.iter().map(|&(name, _)| name).collect();
        assert_eq!(names, ["HOST", "X-a", "x-A", "Origin", "x-empty"]);
        assert!(!head.wants_websocket() && !head.body_announced());
    });
}

#[test]
fn what_a_client_offers_is_kept_in_its_order_over_several_headers() {
    let lines = "Sec-WebSocket-Protocol: v2, v1\r\n\
                 sec-websocket-protocol: v0\r\n\
                 Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
                 Sec-WebSocket-Extensions: foo; x=\"1\"\r\n\
                 Host";
    let Outcome::Accepted(_, offer, _) = serve(handshake_with("Host", lines).as_bytes(), &[])
    else {
        panic!("not accepted");
    };
    assert_eq!(offer.subprotocols, ["v2", "v1", "v0"]);
    let [deflate, foo] = &offer.extensions[..] else {
        panic!("{:?}", offer.extensions)
    };
    assert_eq!(deflate.name, "permessage-deflate");
    assert_eq!(
        deflate.parameters,
        [("client_max_window_bits".to_owned(), None)]
    );
    assert_eq!(foo.parameters, [("x".to_owned(), Some("1".to_owned()))]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_spoiled_handshake_gets_the_same_answer_in_any_cutting(
        spoiled in vec((any::<Index>(), any::<u8>()), 0..4),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut request = good_handshake().into_bytes();
        for (at, byte) in spoiled {
            let at = at.index(request.len());
            request[at] = byte;
        }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(request.len() + 1)).collect();
        cuts.sort_unstable();
        let whole = serve(&request, &[]);
        prop_assert_eq!(serve(&request, &cuts), whole);
    }

    #[test]
    fn any_segments_come_out_of_a_path_as_they_went_in(segments in vec("[^\0]{0,6}", 1..5)) {
        let mut target = String::new();
        for segment in &segments {
            target.push('/');
            for byte in segment.bytes() {
                target += &format!("%{byte:02X}");
            }
        }
        parsed(&handshake_with("/chat", &target), |head| {
            let found = head.route().split('/').skip(1);
            let found: Vec<_> = found.map(|segment| segment.replace('\0', "/")).collect();
            assert_eq!(found, segments);
        });
    }
}
