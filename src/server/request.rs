//! The HTTP request of an opening handshake, as the application sees it.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;

use super::{Answer, ServerError};
use crate::proto;

/// What a request is made of.
#[derive(Clone, Debug, Default)]
pub struct RequestParts {
    /// Path and query as sent.
    pub target: String,
    /// Decoded, without the query.
    pub path: String,
    /// What stands after the `?`, as sent.
    pub query: String,
    /// As sent, in order.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Decoded.
    pub params: Vec<(String, String)>,
    pub peer: String,
    /// The subprotocols that the client offers, in order.
    pub offered: Vec<String>,
    /// Which of them the options chose.
    pub chosen: Option<usize>,
}

/// One request. It owns every string that it lends, each with a NUL behind it and at an address
/// that stays as long as the request.
#[derive(Debug)]
pub struct Request {
    text: Text,
    target: Span,
    path: Span,
    query: Span,
    peer: Span,
    headers: Vec<Header>,
    params: Vec<(Span, Span)>,
    offered: Vec<Span>,
    /// The one of them that is in force.
    chosen: Cell<Option<usize>>,
    /// What the application adds to the answer.
    extra_headers: RefCell<Vec<(String, String)>>,
    /// Whether the answer is out of the application's hands.
    sealed: Cell<bool>,
}

/// Where a string stands in the text; its NUL follows.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    name: Span,
    value: Span,
    /// Of the first one of its name: the values of all, joined.
    joined: Span,
}

impl Request {
    /// Copies the parts into one text.
    ///
    /// # Errors
    ///
    /// Memory.
    pub fn new(parts: &RequestParts) -> Answer<Self> {
        let mut text = Text::for_parts(parts)?;
        let target = text.add(parts.target.as_bytes())?;
        let path = text.add(parts.path.as_bytes())?;
        let query = text.add(parts.query.as_bytes())?;
        let peer = text.add(parts.peer.as_bytes())?;

        let mut headers = reserve(parts.headers.len())?;
        for (name, value) in &parts.headers {
            let (name, value) = (text.add(name)?, text.add(value)?);
            headers.push(Header {
                name,
                value,
                joined: value,
            });
        }
        for (index, header) in headers.iter_mut().enumerate() {
            if let Some(values) = repeated(&parts.headers, index) {
                header.joined = text.add(&values?)?;
            }
        }
        let mut params = reserve(parts.params.len())?;
        for (name, value) in &parts.params {
            params.push((text.add(name.as_bytes())?, text.add(value.as_bytes())?));
        }
        let mut offered = reserve(parts.offered.len())?;
        for name in &parts.offered {
            offered.push(text.add(name.as_bytes())?);
        }
        Ok(Self {
            text,
            target,
            path,
            query,
            peer,
            headers,
            params,
            offered,
            chosen: Cell::new(parts.chosen),
            extra_headers: RefCell::default(),
            sealed: Cell::new(false),
        })
    }

    /// One with something in every part, for tests of what uses requests.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        let parts = RequestParts {
            target: "/a%20b?q".into(),
            path: "/a b".into(),
            query: "q".into(),
            headers: vec![(b"Host".to_vec(), b"h".to_vec())],
            params: vec![("name".into(), "a b".into())],
            peer: "unix".into(),
            offered: vec!["chat".into()],
            chosen: None,
        };
        Self::new(&parts).expect("memory for a small request")
    }

    /// Path and query as sent.
    pub fn target(&self) -> &CStr {
        self.text.at(self.target)
    }

    /// Decoded, without the query.
    pub fn path(&self) -> &CStr {
        self.text.at(self.path)
    }

    /// What stands after the `?`, as sent.
    pub fn query(&self) -> &CStr {
        self.text.at(self.query)
    }

    /// Who asks: an address with its port, or `unix`.
    pub fn peer(&self) -> &CStr {
        self.text.at(self.peer)
    }

    /// The value of a header, its name in any case; repeated ones joined.
    pub fn header(&self, name: &[u8]) -> Option<&CStr> {
        let has_name =
            |header: &&Header| self.text.bytes_at(header.name).eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .find(has_name)
            .map(|header| self.text.at(header.joined))
    }

    /// How many headers came, repeated ones each.
    pub fn header_count(&self) -> usize {
        self.headers.len()
    }

    /// As sent.
    pub fn header_name(&self, index: usize) -> Option<&CStr> {
        self.headers
            .get(index)
            .map(|header| self.text.at(header.name))
    }

    /// As sent.
    pub fn header_value(&self, index: usize) -> Option<&CStr> {
        self.headers
            .get(index)
            .map(|header| self.text.at(header.value))
    }

    /// A parameter of the path, decoded.
    pub fn param(&self, name: &[u8]) -> Option<&CStr> {
        let has_name = |(named, _): &&(Span, Span)| self.text.bytes_at(*named) == name;
        self.params
            .iter()
            .find(has_name)
            .map(|&(_, value)| self.text.at(value))
    }

    /// The subprotocol in force; empty when there is none.
    pub fn subprotocol(&self) -> &CStr {
        let chosen = self.chosen.get().and_then(|index| self.offered.get(index));
        chosen.map_or(c"", |&name| self.text.at(name))
    }

    /// The subprotocol in force, for the answer.
    pub fn chosen(&self) -> Option<String> {
        let name = self.subprotocol().to_string_lossy();
        (!name.is_empty()).then(|| name.into_owned())
    }

    /// Adds a header to the answer, in place of one with its name; a cookie beside others.
    ///
    /// # Errors
    ///
    /// Busy once sealed; Argument for what an application may not set; Memory.
    pub fn set_header(&self, name: &[u8], value: &[u8]) -> Answer {
        if self.sealed.get() {
            return Err(ServerError::Busy);
        }
        if !proto::may_set_header(name, value) {
            return Err(ServerError::Argument);
        }
        let (name, value) = (copy(name)?, copy(value)?);
        let mut headers = self.extra_headers.borrow_mut();
        headers.try_reserve(1).map_err(|_| ServerError::Memory)?;
        let is_cookie = name.eq_ignore_ascii_case("Set-Cookie");
        match headers
            .iter_mut()
            .find(|(earlier, _)| !is_cookie && earlier.eq_ignore_ascii_case(&name))
        {
            Some(earlier) => *earlier = (name, value),
            None => headers.push((name, value)),
        }
        Ok(())
    }

    /// Chooses one of the subprotocols that the client offers.
    ///
    /// # Errors
    ///
    /// Busy once sealed; Argument when it was not offered.
    pub fn select_subprotocol(&self, name: &[u8]) -> Answer {
        if self.sealed.get() {
            return Err(ServerError::Busy);
        }
        let index = self
            .offered
            .iter()
            .position(|&offered| self.text.bytes_at(offered) == name);
        self.chosen.set(Some(index.ok_or(ServerError::Argument)?));
        Ok(())
    }

    /// What the application added to the answer, in order; none is left.
    pub fn take_extra_headers(&self) -> Vec<(String, String)> {
        self.extra_headers.take()
    }

    /// Takes the answer out of the application's hands: from now on both setters answer Busy.
    pub fn seal(&self) {
        self.sealed.set(true);
    }
}

/// Strings, one after the other, each with a NUL behind it.
#[derive(Debug)]
struct Text(Vec<u8>);

impl Text {
    /// With room for all strings of a request, as long as no header is repeated.
    fn for_parts(parts: &RequestParts) -> Answer<Self> {
        let single = [&parts.target, &parts.path, &parts.query, &parts.peer]
            .into_iter()
            .chain(&parts.offered);
        let single = single.map(|text| text.len() + 1).sum::<usize>();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 2)
            .sum::<usize>();
        let params = parts
            .params
            .iter()
            .map(|(name, value)| name.len() + value.len() + 2)
            .sum::<usize>();
        Ok(Self(reserve(single + headers + params)?))
    }

    fn add(&mut self, bytes: &[u8]) -> Answer<Span> {
        self.0
            .try_reserve(bytes.len() + 1)
            .map_err(|_| ServerError::Memory)?;
        let number = |number: usize| u32::try_from(number).map_err(|_| ServerError::Memory);
        let span = Span {
            start: number(self.0.len())?,
            len: number(bytes.len())?,
        };
        self.0.extend_from_slice(bytes);
        self.0.push(0);
        Ok(span)
    }

    fn bytes_at(&self, span: Span) -> &[u8] {
        &self.0[span.start as usize..][..span.len as usize]
    }

    fn at(&self, span: Span) -> &CStr {
        // Each string has its NUL, so this one ends there at the latest.
        CStr::from_bytes_until_nul(&self.0[span.start as usize..]).unwrap_or_default()
    }
}

/// The joined values of the headers with the name that this one has; None for a header that stands
/// alone, or is not the first of its name.
fn repeated(headers: &[(Vec<u8>, Vec<u8>)], index: usize) -> Option<Answer<Vec<u8>>> {
    let name = &headers[index].0;
    let same = || {
        headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let is_first = !headers[..index]
        .iter()
        .any(|(other, _)| other.eq_ignore_ascii_case(name));
    if !is_first || same().nth(1).is_none() {
        return None;
    }
    // Cookies hold commas (RFC 6265 section 5.4).
    let separator: &[u8] = if name.eq_ignore_ascii_case(b"Cookie") {
        b"; "
    } else {
        b", "
    };
    let mut joined = match reserve(same().map(|value| value.len() + separator.len()).sum()) {
        Ok(room) => room,
        Err(error) => return Some(Err(error)),
    };
    for (index, value) in same().enumerate() {
        if index > 0 {
            joined.extend_from_slice(separator);
        }
        joined.extend_from_slice(value);
    }
    Some(Ok(joined))
}

fn reserve<T>(count: usize) -> Answer<Vec<T>> {
    let mut room = Vec::new();
    room.try_reserve_exact(count)
        .map_err(|_| ServerError::Memory)?;
    Ok(room)
}

fn copy(bytes: &[u8]) -> Answer<String> {
    let mut copy = reserve(bytes.len())?;
    copy.extend_from_slice(bytes);
    String::from_utf8(copy).map_err(|_| ServerError::Argument)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ServerError::{Argument, Busy};

    fn request(change: impl FnOnce(&mut RequestParts)) -> Request {
        let mut parts = RequestParts {
            target: "/room/caf%C3%A9?x=1".into(),
            path: "/room/caf\u{e9}".into(),
            query: "x=1".into(),
            peer: "[2001:db8::1]:5000".into(),
            ..RequestParts::default()
        };
        change(&mut parts);
        Request::new(&parts).expect("memory for a small request")
    }

    fn with_headers(headers: &[(&str, &str)]) -> Request {
        request(|parts| {
            parts.headers = headers
                .iter()
                .map(|&(name, value)| (name.into(), value.into()))
                .collect();
        })
    }

    fn with_offered(offered: &[&str], chosen: Option<usize>) -> Request {
        request(|parts| {
            parts.offered = offered.iter().map(|&name| name.into()).collect();
            parts.chosen = chosen;
        })
    }

    #[test]
    fn each_part_is_read_back() {
        let request = request(|parts| parts.params = vec![("name".into(), "caf\u{e9}".into())]);
        assert_eq!(request.target(), c"/room/caf%C3%A9?x=1");
        assert_eq!(request.path(), c"/room/caf\u{e9}");
        assert_eq!(request.query(), c"x=1");
        assert_eq!(request.peer(), c"[2001:db8::1]:5000");
        assert_eq!(request.param(b"name"), Some(c"caf\u{e9}"));
        assert_eq!(request.param(b"Name"), None);
    }

    #[test]
    fn what_is_missing_is_empty_or_none() {
        let request = Request::new(&RequestParts::default()).expect("memory for nothing");
        for text in [
            request.target(),
            request.path(),
            request.query(),
            request.peer(),
            request.subprotocol(),
        ] {
            assert_eq!(text, c"");
        }
        assert_eq!((request.header(b"Host"), request.header_count()), (None, 0));
        assert_eq!(
            (request.header_name(0), request.header_value(0)),
            (None, None)
        );
        assert_eq!(request.chosen(), None);
    }

    #[test]
    fn headers_are_found_in_any_case_and_listed_as_sent() {
        let request = with_headers(&[("Host", "example.org"), ("x-EMPTY", "")]);
        assert_eq!(request.header(b"hOST"), Some(c"example.org"));
        assert_eq!(request.header(b"X-Empty"), Some(c""));
        assert_eq!(request.header(b"X-Emp"), None);
        assert_eq!(request.header_count(), 2);
        assert_eq!(
            (request.header_name(1), request.header_value(1)),
            (Some(c"x-EMPTY"), Some(c""))
        );
        assert_eq!(
            (request.header_name(2), request.header_value(2)),
            (None, None)
        );
    }

    #[test]
    fn repeated_headers_are_joined_by_commas_and_cookies_by_semicolons() {
        let request = with_headers(&[
            ("Accept", "a"),
            ("Cookie", "x=1"),
            ("ACCEPT", ""),
            ("cookie", "y=2, 3"),
            ("Host", "h"),
            ("accept", "b"),
        ]);
        assert_eq!(request.header(b"accept"), Some(c"a, , b"));
        assert_eq!(request.header(b"Cookie"), Some(c"x=1; y=2, 3"));
        assert_eq!(request.header(b"Host"), Some(c"h"));
        assert_eq!(request.header_value(0), Some(c"a"));
        assert_eq!(request.header_count(), 6);
    }

    #[test]
    fn a_value_need_not_be_utf8() {
        let request = request(|parts| parts.headers = vec![(b"X".to_vec(), b"\xff".to_vec())]);
        assert_eq!(request.header(b"x"), Some(c"\xff"));
    }

    #[test]
    fn addresses_stay_when_the_request_moves_and_changes() {
        let request = with_headers(&[("Host", "h")]);
        let before = (
            request.path().as_ptr(),
            request.header(b"host").map(CStr::as_ptr),
        );
        let moved = Box::new(request);
        moved.set_header(b"X-One", b"1").expect("a good header");
        assert_eq!(
            (
                moved.path().as_ptr(),
                moved.header(b"host").map(CStr::as_ptr)
            ),
            before
        );
    }

    #[test]
    fn a_subprotocol_is_one_of_those_offered() {
        let request = with_offered(&["chat.v1", "chat.v2"], Some(0));
        assert_eq!(request.subprotocol(), c"chat.v1");
        assert_eq!(request.select_subprotocol(b"chat.v2"), Ok(()));
        assert_eq!(
            (request.subprotocol(), request.chosen()),
            (c"chat.v2", Some("chat.v2".into()))
        );
        for other in [&b"chat.v3"[..], b"Chat.v1", b""] {
            assert_eq!(request.select_subprotocol(other), Err(Argument));
        }
        assert_eq!(request.subprotocol(), c"chat.v2");
    }

    #[test]
    fn a_header_of_the_answer_replaces_the_one_before_and_cookies_add_up() {
        let request = request(|_| ());
        for (name, value) in [
            ("X-One", "1"),
            ("Set-Cookie", "a=1"),
            ("x-one", "2"),
            ("set-cookie", "b=2"),
            ("X-Two", ""),
        ] {
            assert_eq!(
                request.set_header(name.as_bytes(), value.as_bytes()),
                Ok(()),
                "{name}: {value}"
            );
        }
        let set = [
            ("x-one", "2"),
            ("Set-Cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("X-Two", ""),
        ];
        assert_eq!(
            request.take_extra_headers(),
            set.map(|(name, value)| (name.into(), value.into()))
        );
        assert_eq!(request.take_extra_headers(), []);
    }

    #[test]
    fn a_header_that_belongs_to_the_handshake_or_breaks_the_line_is_refused() {
        let request = request(|_| ());
        for name in [
            "Connection",
            "upgrade",
            "Sec-WebSocket-Accept",
            "Content-Length",
            "Transfer-Encoding",
            "",
            "a b",
        ] {
            assert_eq!(
                request.set_header(name.as_bytes(), b"x"),
                Err(Argument),
                "{name}"
            );
        }
        for value in [&b"a\r\nb"[..], b"a\nb", b"a\0b", b"\xff"] {
            assert_eq!(
                request.set_header(b"X-One", value),
                Err(Argument),
                "{value:?}"
            );
        }
        assert_eq!(request.take_extra_headers(), []);
    }

    #[test]
    fn once_sealed_both_setters_are_busy() {
        let request = with_offered(&["chat"], None);
        request.seal();
        assert_eq!(request.set_header(b"X-One", b"1"), Err(Busy));
        assert_eq!(request.select_subprotocol(b"chat"), Err(Busy));
        assert_eq!(request.chosen(), None);
    }
}
