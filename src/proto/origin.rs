//! Origins: the site whose page sends the request (RFC 6454).

/// Whether a pattern allows an origin: the same scheme, host and port. A scheme's default port is equivalent to no
/// port. A port `*` is any port, and a host `*.example.com` is every host below that domain.
#[must_use]
pub fn allows_origin(pattern: &[u8], origin: &[u8]) -> bool {
    let (origin, port) = split_port(origin);
    let (pattern, is_allowed_port) = match pattern.strip_suffix(b":*") {
        Some(pattern) => (pattern, true),
        None => {
            let (pattern, allowed) = split_port(pattern);
            (pattern, allowed == port)
        }
    };
    let wildcard = pattern.windows(4).position(|four| four == b"://*");
    is_allowed_port
        && match wildcard {
            Some(at) => is_below(&pattern[..at + 3], &pattern[at + 4..], origin),
            None => pattern.eq_ignore_ascii_case(origin),
        }
}

/// Whether the origin has that scheme, and a host below that domain, which begins with its dot.
fn is_below(scheme: &[u8], domain: &[u8], origin: &[u8]) -> bool {
    let Some(labels_len) = origin.len().checked_sub(scheme.len() + domain.len()) else {
        return false;
    };
    let (origin_scheme, host) = origin.split_at(scheme.len());
    let (labels, origin_domain) = host.split_at(labels_len);
    let is_label = |label: &[u8]| {
        let is_label_byte = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
        !label.is_empty() && label.iter().all(is_label_byte)
    };
    origin_scheme.eq_ignore_ascii_case(scheme)
        && origin_domain.eq_ignore_ascii_case(domain)
        && labels.split(|&byte| byte == b'.').all(is_label)
}

/// Returns what precedes the port, and the port or the scheme's default.
fn split_port(origin: &[u8]) -> (&[u8], Option<u16>) {
    let colon = origin.iter().rposition(|&byte| byte == b':');
    let said = colon.and_then(|colon| Some((&origin[..colon], number(&origin[colon + 1..])?)));
    match said {
        Some((rest, port)) => (rest, Some(port)),
        None => (origin, port_of_scheme(origin)),
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    let is_number = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()?
        .parse()
        .ok()
        .filter(|_| is_number)
}

/// Returns the scheme's default port (RFC 9110 section 4.2, RFC 6455 section 3).
fn port_of_scheme(origin: &[u8]) -> Option<u16> {
    let has_scheme = |scheme: &str| {
        origin
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme.as_bytes()))
    };
    [
        ("https://", 443),
        ("wss://", 443),
        ("http://", 80),
        ("ws://", 80),
    ]
    .into_iter()
    .find_map(|(scheme, port)| has_scheme(scheme).then_some(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_the_same_by_scheme_host_and_port_6454_5() {
        let same = [
            ("https://a.example", "HTTPS://A.Example"),
            ("https://a.example", "https://a.example:443"),
            ("http://a.example:80", "http://a.example"),
            ("wss://a.example", "wss://a.example:443"),
            ("ws://a.example:80", "ws://a.example"),
            ("http://[::1]", "http://[::1]:80"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://a.example:8080", "http://a.example:08080"),
            ("app://a:1", "app://a:1"),
            ("null", "null"),
        ];
        for (one, other) in same {
            assert!(
                allows_origin(one.as_bytes(), other.as_bytes()),
                "{one} {other}"
            );
            assert!(
                allows_origin(other.as_bytes(), one.as_bytes()),
                "{one} {other}"
            );
        }
        let different = [
            ("https://a.example", "http://a.example"),
            ("https://a.example", "https://a.example:80"),
            ("http://a.example", "http://a.example:443"),
            ("https://a.example:443", "https://a.example:8443"),
            ("https://a.example", "https://a.example/"),
            ("https://a.example", "https://a.example:"),
            ("https://a.example:443", "https://a.example:+443"),
            ("https://a.example", "https://a.example.evil.test"),
            ("https://a.example", "https://b.example:443"),
            ("http://[::1]", "http://[::1"),
            ("app://a", "app://a:80"),
            ("https://a.example", "null"),
            ("https://a.example", ""),
            ("https://a.example", "https:443"),
        ];
        for (one, other) in different {
            assert!(
                !allows_origin(one.as_bytes(), other.as_bytes()),
                "{one} {other}"
            );
            assert!(
                !allows_origin(other.as_bytes(), one.as_bytes()),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn a_wildcard_host_is_every_host_below_the_domain_and_not_itself() {
        let pattern = b"https://*.example.com";
        for allowed in [
            "https://a.example.com",
            "https://b.a.example.com",
            "HTTPS://A.Example.COM:443",
            "https://xn--bcher-kva.example.com",
        ] {
            assert!(allows_origin(pattern, allowed.as_bytes()), "{allowed}");
        }
        for refused in [
            "https://example.com",
            "https://.example.com",
            "https://a..example.com",
            "https://aexample.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://a.example.com.evil.test",
            "https://evil.test/.example.com",
            "https://evil.test:1.example.com",
            "https://user@a.example.com",
            "https://*.example.com",
            "https:",
            "null",
        ] {
            assert!(!allows_origin(pattern, refused.as_bytes()), "{refused}");
        }
        let with_port = b"https://*.example.com:8443";
        assert!(allows_origin(with_port, b"https://a.example.com:8443"));
        assert!(!allows_origin(with_port, b"https://a.example.com"));
    }

    #[test]
    fn a_wildcard_port_is_any_port_or_none() {
        let pattern = b"http://localhost:*";
        for allowed in [
            "http://localhost",
            "http://localhost:80",
            "http://localhost:5173",
        ] {
            assert!(allows_origin(pattern, allowed.as_bytes()), "{allowed}");
        }
        for refused in [
            "https://localhost:5173",
            "http://localhost:",
            "http://localhost:x",
            "http://localhost:65536",
            "http://localhost.evil.test",
            "http://localhost:*",
        ] {
            assert!(!allows_origin(pattern, refused.as_bytes()), "{refused}");
        }
        assert!(allows_origin(b"http://*.test:*", b"http://a.test:1"));
    }

    #[test]
    fn opaque_origins_and_those_of_files_and_apps_are_compared_as_they_are() {
        for origin in ["null", "file://", "app://-"] {
            assert!(
                allows_origin(origin.as_bytes(), origin.as_bytes()),
                "{origin}"
            );
            assert!(
                !allows_origin(origin.as_bytes(), b"https://a.example"),
                "{origin}"
            );
        }
        assert!(!allows_origin(b"file://", b"file:///etc"));
    }
}
