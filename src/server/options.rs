//! Every setting of a server, its default and its range.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::ServerError;
use super::error::ServerResult;
use super::trusted_proxies;
use crate::net::{self, Address, IdentityFiles, Pair, Proxy, ServerName, TrustFiles};

/// On which threads the application is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dispatch {
    /// On the server's own loop threads.
    Io,
    /// Each websocket's events on a thread of its own.
    PerClient,
    /// On the host's threads, inside `run`, `poll` and `pull`.
    Host,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deflate {
    /// Not at all.
    Off,
    /// Each for itself.
    WithoutTakeover,
    /// So that they may refer to earlier ones, where the client agrees.
    WithTakeover,
}

impl TryFrom<u32> for Deflate {
    type Error = ServerError;

    fn try_from(mode: u32) -> Result<Self, ServerError> {
        match mode {
            0 => Ok(Self::Off),
            1 => Ok(Self::WithoutTakeover),
            2 => Ok(Self::WithTakeover),
            _ => Err(ServerError::Argument),
        }
    }
}

/// How loops talk to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    /// What measures better.
    Auto,
    Epoll,
    /// io_uring where there is any.
    Ring,
}

/// The settings of a server. Times are in milliseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// A numeric address with or without brackets, a name, `unix:/path`, `fd:N`, `fd:systemd` or
    /// `none`. For `::`, listen on IPv4 too, or on `0.0.0.0` where there is no IPv6.
    pub(crate) host: String,
    /// 0: one per processor.
    pub(crate) threads: u32,
    pub(crate) dispatch: Dispatch,
    pub(crate) backlog: u32,
    /// 0: no limit.
    pub(crate) max_connections: u64,
    /// 0: no limit.
    pub(crate) max_connections_per_ip: u64,
    pub(crate) max_message_size: usize,
    pub(crate) max_fragments: u32,
    pub(crate) max_header_size: usize,
    pub(crate) max_queued: u64,
    /// 0: a share of what the process may have.
    pub(crate) max_memory: u64,
    pub(crate) handshake_timeout: u32,
    /// 0: never.
    pub(crate) idle_timeout: u32,
    /// 0: never.
    pub(crate) ping_interval: u32,
    pub(crate) close_timeout: u32,
    /// 0: a page ends its connection.
    pub(crate) page_keep_alive: u32,
    /// Empty: any.
    pub(crate) origins: Vec<String>,
    /// In order of preference.
    pub(crate) subprotocols: Vec<String>,
    pub(crate) deflate: Deflate,
    pub(crate) deflate_level: u32,
    pub(crate) deflate_min_size: usize,
    pub(crate) tls: IdentityFiles,
    /// Empty: no such header.
    pub(crate) server_header: String,
    pub(crate) backend: Backend,
    /// Where the metrics of all servers are served; empty: nowhere.
    pub(crate) metrics_path: String,
    /// Whether the paths and pages of the process are served.
    pub(crate) shared_paths: bool,
    /// Every connection begins with a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// The proxies whose word about a client is believed.
    pub(crate) trusted_proxies: Vec<String>,
    /// Permission bits of a Unix socket's file; 0: as the umask says.
    pub(crate) unix_mode: u32,
    /// The code with which a closing server closes its websockets.
    pub(crate) close_code: u16,
    /// Of a connection: before its second attempt; 0: there is none.
    pub(crate) reconnect: u32,
    pub(crate) reconnect_max: u32,
    /// Of a connection: whom it trusts. The certificate that it shows is that of `tls`.
    pub(crate) trust: TrustFiles,
    /// Empty: the URL's host.
    pub(crate) tls_server_name: String,
    /// A URL, or `env`; empty: none.
    pub(crate) proxy: String,
}

/// One line of the table of settings.
pub(crate) struct Setting {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) value: Value,
    field: Field,
}

/// What a setting takes.
pub(crate) enum Value {
    Number {
        #[allow(dead_code, reason = "the header's comments are compared with it")]
        unit: &'static str,
        default: i64,
        range: RangeInclusive<i64>,
    },
    Text {
        default: &'static str,
    },
}

/// Where a setting is kept, and how a text is checked.
enum Field {
    U32(fn(&mut Options) -> &mut u32),
    U64(fn(&mut Options) -> &mut u64),
    Size(fn(&mut Options) -> &mut usize),
    Bool(fn(&mut Options) -> &mut bool),
    Dispatch,
    Text(fn(&mut Options) -> &mut String, fn(&str) -> ServerResult),
    /// Separated by commas; the check is of one item.
    List(
        fn(&mut Options) -> &mut Vec<String>,
        fn(&str) -> ServerResult,
    ),
    DeflateMode,
    Backend,
    CloseCode,
    /// Whether certificates are verified.
    Verify,
    /// A part that this build leaves out.
    LeftOut,
}

const MAX_COUNT: i64 = i32::MAX as i64;
const MAX_TIME_MS: i64 = i32::MAX as i64;
/// The largest whole number below which a double is exact.
const MAX_CONNECTIONS: i64 = (1 << 53) - 1;
/// What the count of a websocket's queued bytes holds, four times over.
const MAX_BYTES: i64 = 1 << 33;
const MIB: i64 = 1 << 20;

/// The HOST of a server that only its own connections use.
const NO_LISTENER: &str = "none";

/// Whether this build has permessage-deflate.
const DEFLATES: bool = cfg!(feature = "deflate");

#[rustfmt::skip] // one setting a line
pub(crate) const SETTINGS: [Setting; 39] = [
    text(1, "HOST", "::", Field::Text(|to| &mut to.host, check_host)),
    number(2, "THREADS", "", 1, 0..=1024, Field::U32(|to| &mut to.threads)),
    number(3, "DISPATCH", "", 0, 0..=2, Field::Dispatch),
    number(4, "BACKLOG", "", 4096, 1..=MAX_COUNT, Field::U32(|to| &mut to.backlog)),
    number(5, "MAX_CONNECTIONS", "", 0, 0..=MAX_CONNECTIONS, Field::U64(|to| &mut to.max_connections)),
    number(6, "MAX_CONNECTIONS_PER_IP", "", 0, 0..=MAX_CONNECTIONS, Field::U64(|to| &mut to.max_connections_per_ip)),
    number(7, "MAX_MESSAGE_SIZE", "bytes", 16 * MIB, 1..=MAX_BYTES, Field::Size(|to| &mut to.max_message_size)),
    number(8, "MAX_FRAGMENTS", "", 131_072, 1..=MAX_COUNT, Field::U32(|to| &mut to.max_fragments)),
    number(9, "MAX_HEADER_SIZE", "bytes", 16_384, 128..=16 * MIB, Field::Size(|to| &mut to.max_header_size)),
    number(10, "MAX_QUEUED", "bytes", 16 * MIB, 1..=MAX_BYTES, Field::U64(|to| &mut to.max_queued)),
    number(11, "HANDSHAKE_TIMEOUT", "ms", 10_000, 1..=MAX_TIME_MS, Field::U32(|to| &mut to.handshake_timeout)),
    number(12, "IDLE_TIMEOUT", "ms", 0, 0..=MAX_TIME_MS, Field::U32(|to| &mut to.idle_timeout)),
    number(13, "PING_INTERVAL", "ms", 30_000, 0..=MAX_TIME_MS, Field::U32(|to| &mut to.ping_interval)),
    number(14, "CLOSE_TIMEOUT", "ms", 5_000, 1..=MAX_TIME_MS, Field::U32(|to| &mut to.close_timeout)),
    text(15, "ORIGINS", "", Field::List(|to| &mut to.origins, check_origin)),
    text(16, "SUBPROTOCOLS", "", Field::List(|to| &mut to.subprotocols, check_token)),
    number(17, "DEFLATE", "", DEFLATES as i64, 0..=2, Field::DeflateMode),
    number(18, "DEFLATE_LEVEL", "", 1, 1..=9, if_deflates(Field::U32(|to| &mut to.deflate_level))),
    number(19, "DEFLATE_MIN_SIZE", "bytes", 256, 0..=MAX_COUNT, if_deflates(Field::Size(|to| &mut to.deflate_min_size))),
    text(20, "TLS_CERTIFICATE", "", if_encrypts(Field::Text(|to| &mut to.tls.pair.certificate, check_file))),
    text(21, "TLS_KEY", "", if_encrypts(Field::Text(|to| &mut to.tls.pair.key, check_file))),
    text(22, "TLS_CLIENT_CA", "", if_encrypts(Field::Text(|to| &mut to.tls.client_ca, check_file))),
    text(23, "SERVER_HEADER", "", Field::Text(|to| &mut to.server_header, check_header_value)),
    number(24, "BACKEND", "", 0, 0..=2, Field::Backend),
    number(25, "RECONNECT", "ms", 0, 0..=MAX_TIME_MS, Field::U32(|to| &mut to.reconnect)),
    number(26, "RECONNECT_MAX", "ms", 30_000, 1..=MAX_TIME_MS, Field::U32(|to| &mut to.reconnect_max)),
    text(27, "TLS_CA", "", if_encrypts(Field::Text(|to| &mut to.trust.authorities, check_file))),
    number(28, "TLS_VERIFY", "", 1, 0..=1, if_encrypts(Field::Verify)),
    text(29, "TLS_SERVER_NAME", "", if_encrypts(Field::Text(|to| &mut to.tls_server_name, check_server_name))),
    text(30, "PROXY", "", Field::Text(|to| &mut to.proxy, check_proxy)),
    text(33, "METRICS_PATH", "", Field::Text(|to| &mut to.metrics_path, check_literal_path)),
    number(34, "SHARED_PATHS", "", 1, 0..=1, Field::Bool(|to| &mut to.shared_paths)),
    number(35, "UNIX_MODE", "", 0, 0..=0o777, Field::U32(|to| &mut to.unix_mode)),
    number(36, "PROXY_PROTOCOL", "", 0, 0..=1, Field::Bool(|to| &mut to.proxy_protocol)),
    text(37, "TRUSTED_PROXIES", "", Field::List(|to| &mut to.trusted_proxies, trusted_proxies::check_entry)),
    number(38, "PAGE_KEEP_ALIVE", "ms", 75_000, 0..=MAX_TIME_MS, Field::U32(|to| &mut to.page_keep_alive)),
    number(39, "CLOSE_CODE", "", 1001, 1001..=4999, Field::CloseCode),
    number(40, "MAX_MEMORY", "bytes", 0, 0..=MAX_CONNECTIONS, Field::U64(|to| &mut to.max_memory)),
    text(41, "TLS_CLIENT_CRL", "", if_encrypts(Field::Text(|to| &mut to.tls.client_crl, check_file))),
];

const fn number(
    number: u32,
    name: &'static str,
    unit: &'static str,
    default: i64,
    range: RangeInclusive<i64>,
    field: Field,
) -> Setting {
    Setting {
        number,
        name,
        value: Value::Number {
            unit,
            default,
            range,
        },
        field,
    }
}

const fn text(number: u32, name: &'static str, default: &'static str, field: Field) -> Setting {
    Setting {
        number,
        name,
        value: Value::Text { default },
        field,
    }
}

const fn if_deflates(field: Field) -> Field {
    match DEFLATES {
        true => field,
        false => Field::LeftOut,
    }
}

const fn if_encrypts(field: Field) -> Field {
    match cfg!(feature = "tls") {
        true => field,
        false => Field::LeftOut,
    }
}

impl Default for Options {
    fn default() -> Self {
        let mut options = Self {
            host: String::new(),
            threads: 0,
            dispatch: Dispatch::Io,
            backlog: 0,
            max_connections: 0,
            max_connections_per_ip: 0,
            max_message_size: 0,
            max_fragments: 0,
            max_header_size: 0,
            max_queued: 0,
            max_memory: 0,
            handshake_timeout: 0,
            idle_timeout: 0,
            ping_interval: 0,
            close_timeout: 0,
            page_keep_alive: 0,
            origins: Vec::new(),
            subprotocols: Vec::new(),
            deflate: Deflate::Off,
            deflate_level: 0,
            deflate_min_size: 0,
            tls: IdentityFiles::default(),
            server_header: String::new(),
            backend: Backend::Auto,
            metrics_path: String::new(),
            shared_paths: false,
            unix_mode: 0,
            proxy_protocol: false,
            trusted_proxies: Vec::new(),
            close_code: 0,
            reconnect: 0,
            reconnect_max: 0,
            trust: TrustFiles::default(),
            tls_server_name: String::new(),
            proxy: String::new(),
        };
        for setting in &SETTINGS {
            let kept = match setting.value {
                Value::Number { default, .. } => options.keep_number(&setting.field, default),
                Value::Text { default } => options.keep_text(&setting.field, default),
            };
            // What is left out has no place for its default.
            debug_assert!(
                matches!(kept, Ok(()) | Err(ServerError::Unsupported)),
                "{}",
                setting.name
            );
        }
        options
    }
}

impl Options {
    /// Sets the number with this number in the table of settings.
    ///
    /// # Errors
    ///
    /// Argument for an unknown setting, one that takes text, or a value out of range; Unsupported
    /// for a part that this build leaves out.
    pub(crate) fn set_number(&mut self, option: u32, value: i64) -> ServerResult {
        let setting = find(option)?;
        match &setting.value {
            Value::Number { range, .. } if range.contains(&value) => {
                self.keep_number(&setting.field, value)
            }
            Value::Number { .. } | Value::Text { .. } => Err(ServerError::Argument),
        }
    }

    /// Sets the text with this number in the table of settings.
    ///
    /// # Errors
    ///
    /// Argument for an unknown setting, one that takes a number, or a malformed value; Unsupported
    /// for a part that this build leaves out; Memory.
    pub(crate) fn set_text(&mut self, option: u32, value: &str) -> ServerResult {
        let setting = find(option)?;
        match setting.value {
            Value::Text { .. } => self.keep_text(&setting.field, value),
            Value::Number { .. } => Err(ServerError::Argument),
        }
    }

    /// Adds a certificate, with its key, for clients that ask for one of its names.
    ///
    /// # Errors
    ///
    /// Argument for what cannot be the name of a file; Unsupported in a build without TLS; Memory.
    pub(crate) fn add_certificate(&mut self, certificate: &str, key: &str) -> ServerResult {
        for file in [certificate, key] {
            check_file(file)?;
            require(!file.is_empty())?;
        }
        if cfg!(not(feature = "tls")) {
            return Err(ServerError::Unsupported);
        }
        let pair = Pair {
            certificate: copy(certificate)?,
            key: copy(key)?,
        };
        let more = &mut self.tls.more;
        more.try_reserve(1).map_err(|_| ServerError::Memory)?;
        more.push(pair);
        Ok(())
    }

    /// The backend of each loop. A loop of a HOST server moves from thread to thread, which io_uring
    /// does not allow as we use it.
    pub(super) fn backend(&self) -> net::Backend {
        match self.backend {
            _ if self.dispatch == Dispatch::Host => net::Backend::Epoll,
            Backend::Auto => net::Backend::Mixed,
            Backend::Epoll => net::Backend::Epoll,
            Backend::Ring => net::Backend::Ring,
        }
    }

    fn keep_number(&mut self, field: &Field, value: i64) -> ServerResult {
        match field {
            Field::U32(place) => {
                *place(self) = u32::try_from(value).map_err(|_| ServerError::Argument)?
            }
            Field::U64(place) => {
                *place(self) = u64::try_from(value).map_err(|_| ServerError::Argument)?
            }
            Field::Size(place) => {
                *place(self) = usize::try_from(value).map_err(|_| ServerError::Argument)?
            }
            Field::Bool(place) => *place(self) = value != 0,
            Field::Dispatch => {
                self.dispatch = match value {
                    0 => Dispatch::Io,
                    1 => Dispatch::PerClient,
                    2 => Dispatch::Host,
                    _ => return Err(ServerError::Argument),
                }
            }
            Field::DeflateMode => {
                if value != 0 && !DEFLATES {
                    return Err(ServerError::Unsupported);
                }
                let mode = u32::try_from(value).map_err(|_| ServerError::Argument)?;
                self.deflate = Deflate::try_from(mode)?;
            }
            Field::Backend => {
                self.backend = match value {
                    0 => Backend::Auto,
                    1 => Backend::Epoll,
                    2 => Backend::Ring,
                    _ => return Err(ServerError::Argument),
                }
            }
            Field::CloseCode => {
                require(matches!(value, 1001 | 1012 | 1013 | 3000..=4999))?;
                self.close_code = u16::try_from(value).map_err(|_| ServerError::Argument)?;
            }
            Field::Verify => self.trust.skips_verification = value == 0,
            Field::LeftOut => return Err(ServerError::Unsupported),
            Field::Text(..) | Field::List(..) => return Err(ServerError::Argument),
        }
        Ok(())
    }

    fn keep_text(&mut self, field: &Field, value: &str) -> ServerResult {
        match field {
            Field::Text(place, check) => {
                check(value)?;
                *place(self) = copy(value)?;
                Ok(())
            }
            Field::List(place, check) => {
                *place(self) = list(value, *check)?;
                Ok(())
            }
            Field::LeftOut => Err(ServerError::Unsupported),
            Field::U32(_)
            | Field::U64(_)
            | Field::Size(_)
            | Field::Bool(_)
            | Field::Dispatch
            | Field::DeflateMode
            | Field::Backend
            | Field::CloseCode
            | Field::Verify => Err(ServerError::Argument),
        }
    }
}

impl Options {
    /// HOST `none`.
    pub(super) fn set_no_listener(&mut self) {
        self.host = NO_LISTENER.to_owned();
    }

    /// Whether a server with these options has a listener.
    pub(super) fn listens(&self) -> bool {
        self.host != NO_LISTENER
    }

    /// For each text that is so long that the reserve has no copy of it: what the copies may need that are
    /// made of it at a start.
    pub(crate) fn long_texts(&self) -> impl Iterator<Item = usize> {
        const COPIES: usize = 4;
        const LONG: usize = 64 << 10;

        let texts = [&self.host, &self.server_header, &self.metrics_path].map(String::len);
        let files = self.tls.lens();
        let lists = [&self.origins, &self.subprotocols].map(|list| size_of_val(&**list));
        let items = self.origins.iter().chain(&self.subprotocols);
        texts
            .into_iter()
            .chain(files)
            .chain(lists)
            .chain(items.map(String::len))
            .filter(|len| *len > LONG)
            .flat_map(|len| std::iter::repeat_n(len + 64, COPIES))
    }
}

fn check_server_name(name: &str) -> ServerResult {
    require(name.is_empty() || ServerName::parse(name).is_some())
}

fn check_proxy(proxy: &str) -> ServerResult {
    require(matches!(proxy, "" | "env") || Proxy::parse(proxy).is_some())
}

fn find(number: u32) -> ServerResult<&'static Setting> {
    SETTINGS
        .iter()
        .find(|setting| setting.number == number)
        .ok_or(ServerError::Argument)
}

fn copy(text: &str) -> ServerResult<String> {
    let mut copy = String::new();
    copy.try_reserve_exact(text.len())
        .map_err(|_| ServerError::Memory)?;
    copy.push_str(text);
    Ok(copy)
}

/// Items between commas, with blanks around them, none twice; a blank text is no item.
fn list(text: &str, check: fn(&str) -> ServerResult) -> ServerResult<Vec<String>> {
    let mut items: Vec<String> = Vec::new();
    if text.trim_ascii().is_empty() {
        return Ok(items);
    }
    for item in text.split(',').map(str::trim_ascii) {
        check(item)?;
        if items.iter().any(|earlier| earlier == item) {
            return Err(ServerError::Argument);
        }
        items.try_reserve(1).map_err(|_| ServerError::Memory)?;
        items.push(copy(item)?);
    }
    Ok(items)
}

/// Argument unless `holds`.
fn require(holds: bool) -> ServerResult {
    if holds {
        Ok(())
    } else {
        Err(ServerError::Argument)
    }
}

fn check_host(text: &str) -> ServerResult {
    /// What `sockaddr_un` holds, without the NUL at its end.
    const MAX_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

    if let Some(descriptor) = text.strip_prefix("fd:") {
        let is_number = descriptor.bytes().all(|byte| byte.is_ascii_digit());
        return require(descriptor == "systemd" || is_number && descriptor.parse::<i32>().is_ok());
    }
    if let Some(path) = Address::unix_path(text) {
        return require(path.starts_with('/') && path.len() <= MAX_PATH && !path.contains('\0'));
    }
    match text.strip_prefix('[') {
        Some(rest) => require(rest.strip_suffix(']').is_some_and(is_ipv6)),
        None => require(text.parse::<IpAddr>().is_ok() || is_ipv6(text) || is_name(text)),
    }
}

/// An IPv6 address, which may name the interface it is valid on (RFC 4007 section 11).
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let zone_is_name = |zone: &str| {
        matches!(zone.len(), 1..=15)
            && zone
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'/')
    };
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(zone_is_name)
}

/// A host name (RFC 1123 section 2.1), with the underscores that are met in practice. One that ends
/// in a number would be a broken IPv4 address.
fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        matches!(label.len(), 1..=63)
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let ends_in_number = text
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(is_label) && !ends_in_number
}

/// `scheme://host[:port]` (RFC 6454 section 6.2), where the host may be `*.` and a domain and the port `*`; or
/// one of those that are not of this form.
fn check_origin(text: &str) -> ServerResult {
    if ["null", "file://", "app://-"].contains(&text) {
        return Ok(());
    }
    let (scheme, authority) = text.split_once("://").ok_or(ServerError::Argument)?;
    let scheme_is_name = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));

    // The colons of an IPv6 address stand in brackets.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let host_is_known = match (host.strip_prefix('['), host.strip_prefix("*.")) {
        (Some(rest), _) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        (_, Some(domain)) => is_name(domain),
        _ => host.parse::<Ipv4Addr>().is_ok() || is_name(host),
    };
    let port_is_known = port.is_none_or(|port| {
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        port == "*" || is_number && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    require(scheme_is_name && host_is_known && port_is_known)
}

/// A token (RFC 9110 section 5.6.2).
fn check_token(text: &str) -> ServerResult {
    let is_token_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    require(!text.is_empty() && text.bytes().all(is_token_byte))
}

/// The name of a file, or none.
fn check_file(text: &str) -> ServerResult {
    require(!text.contains('\0'))
}

/// A path that is compared as it is, or none.
fn check_literal_path(text: &str) -> ServerResult {
    require(text.is_empty() || text.starts_with('/') && !text.contains(['\0', '?', '#']))
}

/// What may stand behind `Server: `; nothing may, too.
fn check_header_value(text: &str) -> ServerResult {
    let is_printed = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    require(text.bytes().all(is_printed) && text.trim_ascii() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ServerError::{Argument, Unsupported};

    fn number_of(name: &str) -> u32 {
        SETTINGS
            .iter()
            .find(|setting| setting.name == name)
            .expect("a setting of that name")
            .number
    }

    fn set_text(name: &str, value: &str) -> ServerResult<Options> {
        let mut options = Options::default();
        options.set_text(number_of(name), value)?;
        Ok(options)
    }

    fn set_number(name: &str, value: i64) -> ServerResult<Options> {
        let mut options = Options::default();
        options.set_number(number_of(name), value)?;
        Ok(options)
    }

    #[test]
    fn settings_stand_in_the_order_of_their_numbers() {
        assert!(SETTINGS.is_sorted_by(|one, other| one.number < other.number));
    }

    fn with_commas(number: i64) -> String {
        let digits = number.to_string();
        let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
        String::from_utf8(groups.join(&b","[..])).expect("digits and commas")
    }

    #[test]
    fn the_header_tells_the_default_and_range_of_each_setting() {
        let header = include_str!("../../include/portal.h");
        for Setting {
            number,
            name,
            value,
            ..
        } in &SETTINGS
        {
            let written = |number: i64| match *name {
                "CLOSE_CODE" => number.to_string(),
                _ => with_commas(number),
            };
            let told = match value {
                Value::Number {
                    unit,
                    default,
                    range,
                } => format!(
                    "Number{}{unit}. Default {}. Range {} to {}.",
                    if unit.is_empty() { "" } else { ", " },
                    // Without permessage-deflate the default is 0; the header is the same for all builds.
                    written(if *name == "DEFLATE" { 1 } else { *default }),
                    written(*range.start()),
                    written(*range.end()),
                ),
                Value::Text { default } => format!("Text. Default \"{default}\"."),
            };
            let lines = format!("   * {told}\n   */\n  PORTAL_OPTION_{name} = {number}");
            // No comma stands behind the last one.
            let ends = [",\n", "\n"].map(|end| format!("{lines}{end}"));
            assert!(
                ends.iter().any(|lines| header.contains(lines)),
                "the comment of {name} lacks: {told}"
            );
        }
    }

    #[test]
    fn the_header_tells_how_many_headers_a_request_may_have() {
        let header = include_str!("../../include/portal.h");
        let words: Vec<&str> = header
            .split_whitespace()
            .filter(|word| *word != "*")
            .collect();
        let told = format!("more than {} headers", crate::proto::MAX_HEADERS);
        assert!(words.join(" ").contains(&told));
    }

    #[test]
    fn defaults_are_those_of_the_table() {
        let options = Options::default();
        assert_eq!(options.host, "::");
        assert_eq!(options.threads, 1);
        assert_eq!(options.dispatch, Dispatch::Io);
        assert_eq!(options.backlog, 4_096);
        assert_eq!(
            (options.max_connections, options.max_connections_per_ip),
            (0, 0)
        );
        assert_eq!(options.max_message_size, 16 << 20);
        assert_eq!(options.max_fragments, 131_072);
        assert_eq!(options.max_header_size, 16 << 10);
        assert_eq!(options.max_queued, 16 << 20);
        assert_eq!(
            (options.handshake_timeout, options.idle_timeout),
            (10_000, 0)
        );
        assert_eq!(
            (options.ping_interval, options.close_timeout),
            (30_000, 5_000)
        );
        assert!(options.origins.is_empty() && options.subprotocols.is_empty());
        let deflate = if DEFLATES {
            Deflate::WithoutTakeover
        } else {
            Deflate::Off
        };
        assert_eq!(options.deflate, deflate);
        if DEFLATES {
            assert_eq!((options.deflate_level, options.deflate_min_size), (1, 256));
        }
        assert_eq!(options.server_header, "");
        assert_eq!(options.backend, Backend::Auto);
        assert_eq!((options.unix_mode, options.close_code), (0, 1001));
    }

    #[test]
    fn a_close_code_is_one_that_a_closing_server_may_say() {
        for code in [1001, 1012, 1013, 3000, 3999, 4000, 4999] {
            let set = set_number("CLOSE_CODE", code).map(|options| options.close_code);
            assert_eq!(set.map(i64::from), Ok(code));
        }
        for code in [0, 1000, 1002, 1011, 1014, 1015, 2999, 5000] {
            assert_eq!(
                set_number("CLOSE_CODE", code).err(),
                Some(Argument),
                "{code}"
            );
        }
    }

    #[test]
    fn numbers_are_taken_from_end_to_end_of_their_range_and_not_beyond() {
        for setting in &SETTINGS {
            let Value::Number { range, default, .. } = &setting.value else {
                continue;
            };
            let mut options = Options::default();
            let mut set = |value| options.set_number(setting.number, value);
            let taken = match setting.field {
                Field::LeftOut => Err(Unsupported),
                Field::DeflateMode if !DEFLATES => Err(Unsupported),
                _ => Ok(()),
            };

            assert!(range.contains(default), "{}", setting.name);
            assert_eq!(set(*range.end()), taken, "{}", setting.name);
            for outside in [range.start() - 1, range.end() + 1, i64::MIN, i64::MAX] {
                assert_eq!(set(outside), Err(Argument), "{} {outside}", setting.name);
            }
        }
    }

    #[test]
    fn a_number_reaches_its_own_field() {
        assert_eq!(
            set_number("THREADS", 7).map(|options| options.threads),
            Ok(7)
        );
        assert_eq!(
            set_number("DISPATCH", 1).map(|options| options.dispatch),
            Ok(Dispatch::PerClient)
        );
        assert_eq!(
            set_number("DISPATCH", 2).map(|options| options.dispatch),
            Ok(Dispatch::Host)
        );
        assert_eq!(
            set_number("BACKEND", 2).map(|options| options.backend),
            Ok(Backend::Ring)
        );
        assert_eq!(
            set_number("UNIX_MODE", 0o660).map(|options| options.unix_mode),
            Ok(0o660)
        );
        assert_eq!(
            set_number("BACKLOG", 7).map(|options| options.backlog),
            Ok(7)
        );
        assert_eq!(
            set_number("MAX_CONNECTIONS", 7).map(|options| options.max_connections),
            Ok(7)
        );
        assert_eq!(
            set_number("MAX_CONNECTIONS_PER_IP", 7).map(|options| options.max_connections_per_ip),
            Ok(7)
        );
        assert_eq!(
            set_number("MAX_MESSAGE_SIZE", 7).map(|options| options.max_message_size),
            Ok(7)
        );
        assert_eq!(
            set_number("MAX_FRAGMENTS", 7).map(|options| options.max_fragments),
            Ok(7)
        );
        assert_eq!(
            set_number("MAX_HEADER_SIZE", 700).map(|options| options.max_header_size),
            Ok(700)
        );
        assert_eq!(
            set_number("MAX_QUEUED", 1 << 33).map(|options| options.max_queued),
            Ok(1 << 33)
        );
        assert_eq!(
            set_number("HANDSHAKE_TIMEOUT", 7).map(|options| options.handshake_timeout),
            Ok(7)
        );
        assert_eq!(
            set_number("IDLE_TIMEOUT", 7).map(|options| options.idle_timeout),
            Ok(7)
        );
        assert_eq!(
            set_number("PING_INTERVAL", 7).map(|options| options.ping_interval),
            Ok(7)
        );
        assert_eq!(
            set_number("CLOSE_TIMEOUT", 7).map(|options| options.close_timeout),
            Ok(7)
        );
        if DEFLATES {
            assert_eq!(
                set_number("DEFLATE", 2).map(|options| options.deflate),
                Ok(Deflate::WithTakeover)
            );
            assert_eq!(
                set_number("DEFLATE_LEVEL", 7).map(|options| options.deflate_level),
                Ok(7)
            );
            assert_eq!(
                set_number("DEFLATE_MIN_SIZE", 7).map(|options| options.deflate_min_size),
                Ok(7)
            );
        }
    }

    #[test]
    fn an_unknown_setting_or_the_wrong_kind_is_refused() {
        let mut options = Options::default();
        for number in [0, 32, u32::MAX] {
            assert_eq!(options.set_number(number, 1), Err(Argument));
            assert_eq!(options.set_text(number, ""), Err(Argument));
        }
        assert_eq!(options.set_number(number_of("HOST"), 1), Err(Argument));
        assert_eq!(options.set_number(number_of("TLS_KEY"), 1), Err(Argument));
        assert_eq!(options.set_text(number_of("THREADS"), "1"), Err(Argument));
        assert_eq!(
            options.set_text(number_of("DEFLATE_LEVEL"), "1"),
            Err(Argument)
        );
    }

    #[test]
    fn what_is_left_out_says_so() {
        assert!(set_number("DEFLATE", 0).is_ok());
        let taken = if DEFLATES { None } else { Some(Unsupported) };
        for (name, value) in [
            ("DEFLATE", 1),
            ("DEFLATE", 2),
            ("DEFLATE_LEVEL", 1),
            ("DEFLATE_MIN_SIZE", 0),
        ] {
            assert_eq!(set_number(name, value).err(), taken, "{name} {value}");
        }
        let taken = if cfg!(feature = "tls") {
            None
        } else {
            Some(Unsupported)
        };
        for name in [
            "TLS_CERTIFICATE",
            "TLS_KEY",
            "TLS_CLIENT_CA",
            "TLS_CLIENT_CRL",
        ] {
            assert_eq!(set_text(name, "/some/file.pem").err(), taken, "{name}");
        }
    }

    #[test]
    fn a_host_is_an_address_a_name_or_a_unix_socket() {
        let longest_path = format!(
            "unix:/{}",
            "x".repeat(if cfg!(target_os = "linux") { 106 } else { 102 })
        );
        for good in [
            "::",
            "::1",
            "[::1]",
            "[::]",
            "127.0.0.1",
            "0.0.0.0",
            "fe80::1%eth0",
            "[fe80::1%2]",
            "localhost",
            "a.example.org",
            "example.org.",
            "my_host-2",
            "3com.example",
            "unix:/run/portal.sock",
            "fd:0",
            "fd:2147483647",
            "fd:systemd",
            "none",
            &longest_path,
        ] {
            assert_eq!(
                set_text("HOST", good).map(|options| options.host),
                Ok(good.to_owned()),
                "{good}"
            );
        }
        let too_long_path = format!("{longest_path}x");
        for bad in [
            "",
            " ",
            "[",
            "[]",
            "[127.0.0.1]",
            "[::1",
            "::1]",
            "[::1]:80",
            "127.0.0.1:80",
            "256.0.0.1",
            "1.2.3",
            "1234",
            "a..b",
            ".",
            "-a",
            "a-",
            "a b",
            "caf\u{e9}",
            "host:80",
            "::1%",
            "::1%a/b",
            "fd:",
            "fd:-1",
            "fd:+1",
            "fd:2147483648",
            "fd:systemd ",
            "fd:x",
            "unix:",
            "unix:run",
            "unix:/a\0b",
            &too_long_path,
        ] {
            assert_eq!(set_text("HOST", bad).err(), Some(Argument), "{bad}");
        }
    }

    #[test]
    fn origins_are_scheme_host_and_port() {
        let origins = set_text(
            "ORIGINS",
            " https://example.org, http://localhost:8080 ,http://[::1]:1",
        )
        .map(|options| options.origins);
        assert_eq!(
            origins.as_deref(),
            Ok([
                "https://example.org",
                "http://localhost:8080",
                "http://[::1]:1"
            ]
            .map(str::to_owned)
            .as_slice())
        );

        let patterns =
            "null,file://,app://-,https://*.example.org,http://localhost:*,http://*.test:*";
        let origins = set_text("ORIGINS", patterns).map(|options| options.origins.join(","));
        assert_eq!(origins.as_deref(), Ok(patterns));

        for bad in [
            "example.org",
            "https://",
            "https://example.org/",
            "https://a@b",
            "https://a:0",
            "https://a:65536",
            "https://a:",
            "https://a:+1",
            "://a",
            "1a://b",
            "Null",
            "file:///",
            "app://-/",
            "*",
            "https://*",
            "https://*.",
            "https://*.*.example.org",
            "https://a.*",
            "https://*.127.0.0.1",
            "*://example.org",
            "https://a:*:1",
            "https://a,",
            ",https://a",
            "https://a,,https://b",
            "https://a https://b",
            "https://a,https://a",
            "https://[::1",
        ] {
            assert_eq!(set_text("ORIGINS", bad).err(), Some(Argument), "{bad}");
        }
    }

    #[test]
    fn subprotocols_are_distinct_tokens() {
        let subprotocols =
            set_text("SUBPROTOCOLS", "chat.v2, chat").map(|options| options.subprotocols);
        assert_eq!(
            subprotocols.as_deref(),
            Ok(["chat.v2", "chat"].map(str::to_owned).as_slice())
        );

        for bad in ["a b", "a,a", "a,", "a/b", "\u{e9}", "a\"b"] {
            assert_eq!(set_text("SUBPROTOCOLS", bad).err(), Some(Argument), "{bad}");
        }
    }

    #[test]
    fn an_empty_list_takes_the_old_one_back() {
        let mut options = Options::default();
        for name in ["ORIGINS", "SUBPROTOCOLS"] {
            let item = if name == "ORIGINS" { "https://a" } else { "a" };
            assert_eq!(options.set_text(number_of(name), item), Ok(()));
            assert_eq!(options.set_text(number_of(name), " "), Ok(()));
        }
        assert!(options.origins.is_empty() && options.subprotocols.is_empty());
    }

    #[test]
    fn a_refused_text_changes_nothing() {
        let mut options = Options::default();
        assert_eq!(options.set_text(number_of("SUBPROTOCOLS"), "chat"), Ok(()));
        assert_eq!(
            options.set_text(number_of("SUBPROTOCOLS"), "one, two, one"),
            Err(Argument)
        );
        assert_eq!(options.subprotocols, ["chat"]);
    }

    #[test]
    fn the_server_header_is_one_printed_line() {
        assert_eq!(
            set_text("SERVER_HEADER", "Portal/0.1 (test)").map(|options| options.server_header),
            Ok("Portal/0.1 (test)".to_owned())
        );
        assert!(set_text("SERVER_HEADER", "").is_ok());
        for bad in ["a\r\nb", "a\n", " a", "a ", "a\0", "\u{7f}", "\u{e9}"] {
            assert_eq!(
                set_text("SERVER_HEADER", bad).err(),
                Some(Argument),
                "{bad:?}"
            );
        }
    }
}
