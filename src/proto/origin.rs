//! Origins: the site whose page sends the request (RFC 6454).

/// Whether both have the same scheme, host and port. A scheme's default port is equivalent to no port.
#[must_use]
pub fn is_same_origin(one: &[u8], other: &[u8]) -> bool {
    let (one, one_port) = split_port(one);
    let (other, other_port) = split_port(other);
    one_port == other_port && one.eq_ignore_ascii_case(other)
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
                is_same_origin(one.as_bytes(), other.as_bytes()),
                "{one} {other}"
            );
            assert!(
                is_same_origin(other.as_bytes(), one.as_bytes()),
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
                !is_same_origin(one.as_bytes(), other.as_bytes()),
                "{one} {other}"
            );
            assert!(
                !is_same_origin(other.as_bytes(), one.as_bytes()),
                "{one} {other}"
            );
        }
    }
}
