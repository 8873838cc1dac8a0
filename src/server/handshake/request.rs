//! The HTTP request of an opening handshake, as the application sees it: of a client, or of ours with what the
//! server has answered.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::CStr;
use std::io::Write as _;

use percent_encoding::percent_decode_str;

use crate::net::{Peer, TlsFact, TlsFacts, memory};
use crate::proto::{self, Agreement, Body, Names, RequestHead, ResponseHead, Role, Url};
use crate::server::ServerError;
use crate::server::error::ServerResult;
use crate::server::handshake::pairs::Pairs;
use crate::server::handshake::text::{Span, Text, reserve};
use crate::server::options::Deflate;

/// The strings of a request.
pub(crate) struct Head<'a> {
    /// Strings may be lent from here.
    pub text: &'a [u8],
    pub target: &'a str,
    /// Decoded.
    pub path: Cow<'a, str>,
    pub query_len: usize,
    /// Of our own request, those of the server's answer.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> From<&'a RequestHead<'_>> for Head<'a> {
    fn from(head: &'a RequestHead<'_>) -> Self {
        Self {
            text: head.text,
            target: &head.target,
            path: head.path(),
            query_len: head.query.len(),
            headers: &head.headers,
        }
    }
}

impl<'a> Head<'a> {
    /// Of our own request, with the headers of the server's answer once there is one.
    pub(crate) fn of_ours(url: &'a Url, answer: Option<&'a ResponseHead<'_>>) -> Self {
        let (path, query) = url.target.split_once('?').unwrap_or((&url.target, ""));
        Self {
            text: answer.map_or(&[], |answer| answer.text),
            target: &url.target,
            path: String::from_utf8_lossy(&percent_decode_str(path).collect::<Vec<u8>>())
                .into_owned()
                .into(),
            query_len: query.len(),
            headers: answer.map_or(&[], |answer| &answer.headers),
        }
    }
}

/// What a request is made of.
pub(crate) struct RequestParts<'a> {
    pub head: Head<'a>,
    /// Whether we are the server that it is for, or the client that sends it.
    pub role: Role,
    pub peer: Peer,
    /// Of the path, decoded.
    pub params: &'a [(String, String)],
    /// The subprotocols that the client offers, in order.
    pub offered: &'a [String],
    /// Which of them the options chose.
    pub chosen: Option<usize>,
    /// How the server compresses.
    pub deflate: Deflate,
}

/// One request. It owns every string that it lends, each with a NUL behind it and at an address
/// that stays as long as the request.
#[derive(Debug)]
pub(crate) struct Request {
    role: Role,
    text: Text,
    target: Span,
    path: Span,
    query: Span,
    peer: Peer,
    /// Written when it is asked for.
    peer_name: OnceCell<[u8; PEER_NAME_BYTES]>,
    /// None: the connection is not encrypted.
    tls: Option<Box<TlsFacts>>,
    headers: Vec<Header>,
    params: Vec<(Span, Span)>,
    /// Decoded when one is asked for.
    query_params: OnceCell<Pairs>,
    cookies: OnceCell<Pairs>,
    offered: Vec<Span>,
    /// The one of them that is in force.
    chosen: Cell<Option<usize>>,
    /// What the application adds to the answer.
    extra_headers: RefCell<Vec<(String, String)>>,
    /// The application's body of a rejection.
    body: RefCell<Option<Body>>,
    /// How messages are compressed at most, as the application and the server say it.
    deflate: Cell<Deflate>,
    server_deflate: Deflate,
    /// Whether the answer is out of the application's hands.
    sealed: Cell<bool>,
}

/// Room for the longest address, `[1111:…:8888%4294967295]:65535`, with its NUL.
const PEER_NAME_BYTES: usize = 60;

#[derive(Clone, Copy, Debug)]
struct Header {
    name: Span,
    value: Span,
    /// Of the first one of its name: the values of all, joined.
    joined: Span,
}

impl Request {
    /// Copies the parts, in a box because strings of the request are within it.
    ///
    /// # Errors
    ///
    /// Memory.
    pub(crate) fn new(parts: &RequestParts<'_>) -> ServerResult<Box<Self>> {
        let head = &parts.head;
        let mut writer = Writer::new(head.text)?;
        let target = writer.place(head.target.as_bytes())?;
        let path = if head.path == head.target {
            target
        } else {
            writer.add(head.path.as_bytes())?
        };
        let mut headers = reserve(head.headers.len())?;
        for (name, value) in head.headers {
            let (name, value) = (writer.place(name.as_bytes())?, writer.place(value)?);
            headers.push(Header {
                name,
                value,
                joined: value,
            });
        }
        for (first, values) in repeated(head.headers) {
            headers[first].joined = writer.add(&values?)?;
        }
        let mut params = reserve(parts.params.len())?;
        for (name, value) in parts.params {
            params.push((writer.add(name.as_bytes())?, writer.add(value.as_bytes())?));
        }
        let mut offered = reserve(parts.offered.len())?;
        for name in parts.offered {
            offered.push(writer.add(name.as_bytes())?);
        }
        Ok(Box::new(Self {
            role: parts.role,
            text: writer.text,
            target,
            path,
            query: target.last(head.query_len),
            peer: parts.peer,
            peer_name: OnceCell::new(),
            tls: None,
            headers,
            params,
            query_params: OnceCell::new(),
            cookies: OnceCell::new(),
            offered,
            chosen: Cell::new(parts.chosen),
            extra_headers: RefCell::default(),
            body: RefCell::default(),
            deflate: Cell::new(parts.deflate),
            server_deflate: parts.deflate,
            sealed: Cell::new(false),
        }))
    }

    /// Returns how many bytes it holds, as it was received.
    pub(crate) fn held_bytes(&self) -> usize {
        let headers = self.headers.capacity() * size_of::<Header>();
        size_of::<Self>() + self.text.0.capacity() + headers
    }

    /// One with something in every part, for tests of what uses requests.
    #[cfg(test)]
    pub(crate) fn example() -> Box<Self> {
        let mut head = *b"GET /a%20b?q HTTP/1.1\r\nHost: h\r\n\r\n";
        let head = proto::parse_head(&mut head).expect("a good request");
        let parts = RequestParts {
            head: Head::from(&head),
            role: Role::Server,
            peer: Peer::Unix,
            params: &[("name".into(), "a b".into())],
            offered: &["chat".into()],
            chosen: None,
            deflate: Deflate::WithoutTakeover,
        };
        Self::new(&parts).expect("memory for a small request")
    }

    /// Path and query as sent.
    pub(crate) fn target(&self) -> &CStr {
        self.text.at(self.target)
    }

    /// Decoded, without the query.
    pub(crate) fn path(&self) -> &CStr {
        self.text.at(self.path)
    }

    /// What stands after the `?`, as sent.
    pub(crate) fn query(&self) -> &CStr {
        self.text.at(self.query)
    }

    pub(crate) fn peer_address(&self) -> Peer {
        self.peer
    }

    /// Who asks: an address with its port, or `unix`.
    pub(crate) fn peer(&self) -> &CStr {
        let name = self.peer_name.get_or_init(|| {
            let mut name = [0; PEER_NAME_BYTES];
            // It fits, and leaves its NUL.
            let _ = write!(&mut name[..PEER_NAME_BYTES - 1], "{}", self.peer);
            name
        });
        CStr::from_bytes_until_nul(name).unwrap_or_default()
    }

    /// Notes what is known of the connection's encryption.
    pub(crate) fn set_tls(&mut self, facts: Option<TlsFacts>) {
        self.tls = facts.map(Box::new);
    }

    /// Returns what is known of the connection's encryption; empty when there is none.
    pub(crate) fn tls(&self, fact: TlsFact) -> &CStr {
        self.tls.as_ref().map_or(c"", |facts| facts.get(fact))
    }

    /// The value of a header, its name in any case; repeated ones joined.
    pub(crate) fn header(&self, name: &[u8]) -> Option<&CStr> {
        let has_name =
            |header: &&Header| self.text.bytes_at(header.name).eq_ignore_ascii_case(name);
        self.headers
            .iter()
            .find(has_name)
            .map(|header| self.text.at(header.joined))
    }

    /// How many headers came, repeated ones each.
    pub(crate) fn header_count(&self) -> usize {
        self.headers.len()
    }

    /// As sent.
    pub(crate) fn header_name(&self, index: usize) -> Option<&CStr> {
        self.headers
            .get(index)
            .map(|header| self.text.at(header.name))
    }

    /// As sent.
    pub(crate) fn header_value(&self, index: usize) -> Option<&CStr> {
        self.headers
            .get(index)
            .map(|header| self.text.at(header.value))
    }

    /// A parameter of the path, decoded.
    pub(crate) fn param(&self, name: &[u8]) -> Option<&CStr> {
        let has_name = |(named, _): &&(Span, Span)| self.text.bytes_at(*named) == name;
        self.params
            .iter()
            .find(has_name)
            .map(|&(_, value)| self.text.at(value))
    }

    /// Returns the value of the query's first parameter of that name, decoded.
    pub(crate) fn query_param(&self, name: &[u8]) -> Option<&CStr> {
        let decode = || Pairs::of_query(self.query().to_bytes());
        pairs(&self.query_params, decode)?.get(name)
    }

    /// Returns the value of the first cookie of that name.
    pub(crate) fn cookie(&self, name: &[u8]) -> Option<&CStr> {
        let read = || Pairs::of_cookies(self.header(b"Cookie").unwrap_or_default().to_bytes());
        pairs(&self.cookies, read)?.get(name)
    }

    /// The subprotocol in force; empty when there is none.
    pub(crate) fn subprotocol(&self) -> &CStr {
        let chosen = self.chosen.get().and_then(|index| self.offered.get(index));
        chosen.map_or(c"", |&name| self.text.at(name))
    }

    /// The subprotocol in force, for the answer.
    pub(crate) fn chosen(&self) -> Option<&str> {
        // It is a token.
        let name = self.subprotocol().to_str().ok()?;
        Some(name).filter(|name| !name.is_empty())
    }

    /// Adds a header to the answer, in place of one with its name; a cookie beside others.
    ///
    /// # Errors
    ///
    /// Busy once sealed; Argument for what an application may not set; Memory.
    pub(crate) fn set_header(&self, name: &[u8], value: &[u8]) -> ServerResult {
        if self.sealed.get() {
            return Err(ServerError::Busy);
        }
        let may_set = match self.role {
            Role::Server => proto::may_set_header(name, value),
            Role::Client => proto::may_set_request_header(name, value),
        };
        if !may_set {
            return Err(ServerError::Argument);
        }
        let (name, value) = (copy(name)?, copy(value)?);
        let mut headers = self.extra_headers.borrow_mut();
        memory::try_reserve(&mut headers, 1).map_err(|_| ServerError::Memory)?;
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
    pub(crate) fn select_subprotocol(&self, name: &[u8]) -> ServerResult {
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
    pub(crate) fn take_extra_headers(&self) -> Vec<(String, String)> {
        self.extra_headers.take()
    }

    /// Sets the body of a rejection, in place of one that was set before.
    ///
    /// # Errors
    ///
    /// Busy once sealed; Argument for a content type that may not stand in a header; Memory.
    pub(crate) fn set_body(&self, content_type: &str, body: &[u8]) -> ServerResult {
        if self.sealed.get() {
            return Err(ServerError::Busy);
        }
        let is_type = proto::may_set_header(b"Content-Type", content_type.as_bytes());
        if !is_type || content_type.is_empty() {
            return Err(ServerError::Argument);
        }
        *self.body.borrow_mut() = Some(Body {
            content_type: copy(content_type.as_bytes())?,
            bytes: memory::copy(body)?,
        });
        Ok(())
    }

    /// Takes the body of a rejection, if the application has set one.
    pub(crate) fn take_body(&self) -> Option<Body> {
        self.body.take()
    }

    /// Lets messages be compressed at most in this way.
    ///
    /// # Errors
    ///
    /// Busy once sealed; Argument for more than the server's DEFLATE.
    pub(crate) fn set_deflate(&self, mode: Deflate) -> ServerResult {
        if self.sealed.get() {
            return Err(ServerError::Busy);
        }
        if mode > self.server_deflate {
            return Err(ServerError::Argument);
        }
        self.deflate.set(mode);
        Ok(())
    }

    /// Returns what is left of an agreement on compression.
    pub(crate) fn restrict(&self, agreement: Agreement) -> Option<Agreement> {
        match self.deflate.get() {
            Deflate::Off => None,
            Deflate::WithoutTakeover => Some(agreement.without_takeover()),
            Deflate::WithTakeover => Some(agreement),
        }
    }

    /// Takes the answer out of the application's hands: from now on the setters answer Busy.
    pub(crate) fn seal(&self) {
        self.sealed.set(true);
    }
}

/// Makes the text of a request: a copy of its head, in which a NUL stands over the byte behind each string. Behind
/// it stand strings that are not in the head as they are needed.
struct Writer<'a> {
    head: &'a [u8],
    text: Text,
}

impl<'a> Writer<'a> {
    fn new(head: &'a [u8]) -> ServerResult<Self> {
        let mut text = reserve(head.len())?;
        text.extend_from_slice(head);
        let text = Text(text);
        Ok(Self { head, text })
    }

    /// Ends a string that is lent from the head, where something stands behind it that is no part of
    /// another string. What is not lent from there is added.
    fn place(&mut self, string: &[u8]) -> ServerResult<Span> {
        let address = |bytes: &[u8]| bytes.as_ptr() as usize;
        let start = address(string).wrapping_sub(address(self.head));
        let end = start.wrapping_add(string.len());
        if start.max(end) >= self.head.len() {
            return self.add(string);
        }
        self.text.0[end] = 0;
        Span::new(start, string.len())
    }

    fn add(&mut self, string: &[u8]) -> ServerResult<Span> {
        let text = &mut self.text.0;
        memory::try_reserve(text, string.len() + 1).map_err(|_| ServerError::Memory)?;
        let span = Span::new(text.len(), string.len())?;
        text.extend_from_slice(string);
        text.push(0);
        Ok(span)
    }
}

/// The names that come more than once: the index of the first header of each, and the values of all,
/// joined.
fn repeated<'a>(
    headers: &'a [(&str, &[u8])],
) -> impl Iterator<Item = (usize, ServerResult<Vec<u8>>)> + 'a {
    let mut names = Names::default();
    headers
        .iter()
        .enumerate()
        .filter_map(move |(index, (name, _))| {
            if !names.add(name) {
                return None;
            }
            let mut earlier =
                (0..index).filter(|&other| headers[other].0.eq_ignore_ascii_case(name));
            let (first, second) = (earlier.next()?, earlier.next());
            second.is_none().then(|| (first, join(headers, name)))
        })
}

/// The values of all headers of that name.
fn join(headers: &[(&str, &[u8])], name: &str) -> ServerResult<Vec<u8>> {
    // Cookies hold commas (RFC 6265 section 5.4).
    let separator: &[u8] = if name.eq_ignore_ascii_case("Cookie") {
        b"; "
    } else {
        b", "
    };
    let values = || {
        headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    };
    let mut joined = reserve(values().map(|value| value.len() + separator.len()).sum())?;
    for (index, value) in values().enumerate() {
        if index > 0 {
            joined.extend_from_slice(separator);
        }
        joined.extend_from_slice(value);
    }
    Ok(joined)
}

/// Returns the pairs, which are read when they are first asked for; None while memory is refused.
fn pairs(cell: &OnceCell<Pairs>, read: impl FnOnce() -> ServerResult<Pairs>) -> Option<&Pairs> {
    if cell.get().is_none() {
        // It is empty, so it takes them.
        let _ = cell.set(read().ok()?);
    }
    cell.get()
}

fn copy(bytes: &[u8]) -> ServerResult<String> {
    let mut copy = reserve(bytes.len())?;
    copy.extend_from_slice(bytes);
    String::from_utf8(copy).map_err(|_| ServerError::Argument)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ServerError::{Argument, Busy};

    /// A request with these headers behind the first, which is `Host: h`.
    fn request(headers: &[u8], offered: &[&str], chosen: Option<usize>) -> Box<Request> {
        let start = &b"GET /room/caf%C3%A9?x=1 HTTP/1.1\r\nHost: h\r\n"[..];
        let mut head = [start, headers, b"\r\n"].concat();
        let offered: Vec<String> = offered.iter().map(|&name| name.into()).collect();
        let head = proto::parse_head(&mut head).expect("a good request");
        let parts = RequestParts {
            head: Head::from(&head),
            role: Role::Server,
            peer: Peer::Inet("[2001:db8::1]:5000".parse().expect("an address")),
            params: &[("name".into(), "caf\u{e9}".into())],
            offered: &offered,
            chosen,
            deflate: Deflate::WithoutTakeover,
        };
        Request::new(&parts).expect("memory for a small request")
    }

    fn with_headers(headers: &[u8]) -> Box<Request> {
        request(headers, &[], None)
    }

    fn with_offered(offered: &[&str], chosen: Option<usize>) -> Box<Request> {
        request(b"", offered, chosen)
    }

    #[test]
    fn each_part_is_read_back() {
        let request = with_headers(b"");
        assert_eq!(request.target(), c"/room/caf%C3%A9?x=1");
        assert_eq!(request.path(), c"/room/caf\u{e9}");
        assert_eq!(request.query(), c"x=1");
        assert_eq!(request.peer(), c"[2001:db8::1]:5000");
        assert_eq!(request.param(b"name"), Some(c"caf\u{e9}"));
        assert_eq!(request.param(b"Name"), None);
    }

    #[test]
    fn target_path_and_query_are_told_apart_in_every_form_9112_3_2() {
        for (sent, target, path, query) in [
            ("/", c"/", c"/", c""),
            ("/a/b", c"/a/b", c"/a/b", c""),
            ("/a?", c"/a?", c"/a", c""),
            ("/a?b?c", c"/a?b?c", c"/a", c"b?c"),
            ("/a%2Fb", c"/a%2Fb", c"/a/b", c""),
            ("ws://h/a?b", c"/a?b", c"/a", c"b"),
            ("ws://h/a", c"/a", c"/a", c""),
            ("ws://h?b", c"/?b", c"/", c"b"),
            ("ws://h", c"/", c"/", c""),
        ] {
            let mut head = format!("GET {sent} HTTP/1.1\r\nHost: h\r\n\r\n").into_bytes();
            let head = proto::parse_head(&mut head).expect("a good request");
            let parts = RequestParts {
                head: Head::from(&head),
                role: Role::Server,
                peer: Peer::Unix,
                params: &[],
                offered: &[],
                chosen: None,
                deflate: Deflate::WithoutTakeover,
            };
            let request = Request::new(&parts).expect("memory for a small request");
            assert_eq!(
                (request.target(), request.path(), request.query()),
                (target, path, query),
                "{sent}"
            );
            assert_eq!(request.header(b"host"), Some(c"h"), "{sent}");
        }
    }

    #[test]
    fn the_longest_address_has_room_for_its_nul() {
        let address = "[1111:2222:3333:4444:5555:6666:7777:8888%4294967295]:65535";
        let request = Request {
            peer: Peer::Inet(address.parse().expect("an address")),
            ..*with_headers(b"")
        };
        assert_eq!(request.peer().to_bytes(), address.as_bytes());
        assert!(address.len() < PEER_NAME_BYTES);
    }

    #[test]
    fn what_is_missing_is_empty_or_none() {
        let request = with_headers(b"");
        assert_eq!(request.subprotocol(), c"");
        assert_eq!((request.header(b"X"), request.header_count()), (None, 1));
        assert_eq!(
            (request.header_name(1), request.header_value(1)),
            (None, None)
        );
        assert_eq!(request.chosen(), None);
    }

    #[test]
    fn headers_are_found_in_any_case_and_listed_as_sent() {
        let request = with_headers(b"x-EMPTY:\r\n");
        assert_eq!(request.header(b"hOST"), Some(c"h"));
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
        let request = with_headers(
            b"Accept: a\r\nCookie:x=1\r\nACCEPT: \r\ncookie:\ty=2, 3 \r\nTpecca: c\r\naccept: b\t\r\n",
        );
        assert_eq!(request.header(b"accept"), Some(c"a, , b"));
        assert_eq!(request.header(b"Cookie"), Some(c"x=1; y=2, 3"));
        assert_eq!(request.header(b"tpecca"), Some(c"c"));
        assert_eq!(request.header_value(1), Some(c"a"));
        assert_eq!(request.header_value(4), Some(c"y=2, 3"));
        assert_eq!(request.header_count(), 7);
    }

    #[test]
    fn parameters_of_the_query_and_cookies_keep_their_addresses() {
        let request = with_headers(b"Cookie: sid=1\r\nCookie: lang=en\r\n");
        assert_eq!(request.query_param(b"x"), Some(c"1"));
        assert_eq!(request.query_param(b"y"), None);
        assert_eq!(request.cookie(b"lang"), Some(c"en"));
        let before = request.cookie(b"sid").map(CStr::as_ptr);
        assert_eq!(with_headers(b"").cookie(b"sid"), None);
        assert_eq!(request.cookie(b"sid").map(CStr::as_ptr), before);
    }

    #[test]
    fn a_value_need_not_be_utf8() {
        let request = with_headers(b"X: \xff\r\n");
        assert_eq!(request.header(b"x"), Some(c"\xff"));
    }

    #[test]
    fn addresses_stay_when_the_request_changes() {
        let request = with_headers(b"");
        let addresses = |request: &Request| {
            let strings = [request.path(), request.target(), request.peer()];
            strings.map(CStr::as_ptr)
        };
        let before = addresses(&request);
        request.set_header(b"X-One", b"1").expect("a good header");
        let moved = request;
        assert_eq!(addresses(&moved), before);
    }

    #[test]
    fn a_subprotocol_is_one_of_those_offered() {
        let request = with_offered(&["chat.v1", "chat.v2"], Some(0));
        assert_eq!(request.subprotocol(), c"chat.v1");
        assert_eq!(request.select_subprotocol(b"chat.v2"), Ok(()));
        assert_eq!(
            (request.subprotocol(), request.chosen()),
            (c"chat.v2", Some("chat.v2"))
        );
        for other in [&b"chat.v3"[..], b"Chat.v1", b""] {
            assert_eq!(request.select_subprotocol(other), Err(Argument));
        }
        assert_eq!(request.subprotocol(), c"chat.v2");
    }

    #[test]
    fn a_header_of_the_answer_replaces_the_one_before_and_cookies_add_up() {
        let request = with_headers(b"");
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
        let request = with_headers(b"");
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
    fn once_sealed_the_setters_are_busy() {
        let request = with_offered(&["chat"], None);
        request.seal();
        assert_eq!(request.set_header(b"X-One", b"1"), Err(Busy));
        assert_eq!(request.set_body("text/plain", b""), Err(Busy));
        assert_eq!(request.set_deflate(Deflate::Off), Err(Busy));
        assert_eq!(request.select_subprotocol(b"chat"), Err(Busy));
        assert_eq!(request.chosen(), None);
    }

    #[test]
    fn a_body_has_a_content_type_and_the_last_counts() {
        let request = with_headers(b"");
        for bad in ["", "a\r\nb"] {
            assert_eq!(request.set_body(bad, b"x"), Err(Argument), "{bad:?}");
        }
        assert_eq!(request.set_body("text/html", b"one"), Ok(()));
        assert_eq!(request.set_body("application/json", b"{}\0"), Ok(()));
        let body = request.take_body().expect("the body that was set");
        assert_eq!(
            (body.content_type.as_str(), &body.bytes[..]),
            ("application/json", &b"{}\0"[..])
        );
        assert_eq!(request.take_body(), None);
    }

    #[test]
    fn compression_may_be_less_than_the_servers_and_not_more() {
        let request = with_headers(b"");
        assert_eq!(request.set_deflate(Deflate::WithTakeover), Err(Argument));
        assert_eq!(request.set_deflate(Deflate::Off), Ok(()));
        assert_eq!(request.set_deflate(Deflate::WithoutTakeover), Ok(()));
    }
}
