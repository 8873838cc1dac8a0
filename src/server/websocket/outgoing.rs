//! A connection of ours to a server, over all its attempts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::{Connecting, Proxy, Remote, Route, ServerName, Token, Trust};
use crate::proto::{Limits, Place, Url};
use crate::server::error::ServerResult;
use crate::server::options::Deflate;
use crate::server::{Failure, Options, ServerError};

/// Where a connection leads, and how: the same for each of its attempts.
pub(crate) struct Destination {
    pub url: Url,
    pub tls: Option<(Trust, ServerName)>,
    pub proxy: Option<Proxy>,
    pub subprotocols: Vec<String>,
    pub deflate: Deflate,
    pub limits: Limits,
    pub max_header_size: usize,
    pub max_queued: u64,
    /// From the beginning of an attempt to the server's answer.
    pub handshake_timeout: Duration,
    /// In milliseconds, as the others; 0: never.
    pub idle_timeout: u32,
    pub ping_interval: u32,
    pub close_timeout: u32,
    /// Before the second attempt; 0: there is none.
    pub reconnect: u32,
    pub reconnect_max: u32,
}

impl Destination {
    /// Reads the files that the options name, so it may take a while.
    ///
    /// # Errors
    ///
    /// Argument for a malformed URL, or a malformed proxy in the environment; Tls for files that are of no use;
    /// Unsupported for `wss` in a build without TLS.
    pub(crate) fn new(url: &str, options: &Options) -> ServerResult<Self> {
        let url = Url::parse(url).ok_or(ServerError::Argument)?;
        let tls = match url.is_tls {
            true => Some(tls_of(&url, options)?),
            false => None,
        };
        let proxy = match options.proxy.as_str() {
            "" => None,
            "env" => Proxy::from_environment(&remote_of(&url), url.is_tls)
                .map_err(|_| ServerError::Argument)?,
            proxy => Some(Proxy::parse(proxy).ok_or(ServerError::Argument)?),
        };
        Ok(Self {
            tls,
            // A Unix socket is here.
            proxy: proxy.filter(|_| matches!(url.place, Place::Host { .. })),
            subprotocols: options.subprotocols.clone(),
            deflate: options.deflate,
            limits: Limits {
                max_message_size: options.max_message_size,
                max_fragments: options.max_fragments,
            },
            max_header_size: options.max_header_size,
            max_queued: options.max_queued,
            handshake_timeout: Duration::from_millis(u64::from(options.handshake_timeout)),
            idle_timeout: options.idle_timeout,
            ping_interval: options.ping_interval,
            close_timeout: options.close_timeout,
            reconnect: options.reconnect,
            reconnect_max: options.reconnect_max,
            url,
        })
    }

    pub(crate) fn route(&self) -> Route {
        Route {
            remote: remote_of(&self.url),
            proxy: self.proxy.clone(),
        }
    }
}

fn remote_of(url: &Url) -> Remote {
    match &url.place {
        Place::Host { name, port } => Remote::Host {
            name: name.clone(),
            port: *port,
        },
        Place::Unix(path) => Remote::Unix(path.into()),
    }
}

fn tls_of(url: &Url, options: &Options) -> ServerResult<(Trust, ServerName)> {
    if cfg!(not(feature = "tls")) {
        return Err(ServerError::Unsupported);
    }
    let host = match &url.place {
        Place::Host { name, .. } => name.as_str(),
        Place::Unix(_) => "localhost",
    };
    let name = match options.tls_server_name.as_str() {
        "" => host,
        name => name,
    };
    let name = ServerName::parse(name).ok_or(ServerError::Argument)?;
    let mut files = options.trust.clone();
    files.pair = options.tls.pair.clone();
    let trust = Trust::read(&files).map_err(|error| {
        log::error!("cannot set up TLS: {error}");
        ServerError::Tls
    })?;
    Ok((trust, name))
}

/// A connection that has begun, until its last attempt has ended.
pub(crate) struct Outgoing {
    pub destination: Arc<Destination>,
    /// The attempt that is being connected; dropping it gives it up.
    pub connecting: Option<Connecting>,
    /// The number of the attempt, wrapping.
    pub attempt: u32,
    /// Attempts in a row that have not led to a minute of being open.
    pub short_lived: u32,
    pub opened: Option<Instant>,
    /// What the server's accept value is made of.
    pub nonce: [u8; 16],
    /// Why the attempt has failed.
    pub failure: Option<Box<Failure>>,
    /// Attempts that ended while `upgrade` decided on the connection's own thread: so many verdicts still come.
    pub late_verdicts: u32,
    /// No further attempt follows.
    pub is_last: bool,
}

impl Outgoing {
    pub(crate) fn new(destination: Arc<Destination>) -> Self {
        Self {
            destination,
            connecting: None,
            attempt: 0,
            short_lived: 0,
            opened: None,
            nonce: [0; 16],
            failure: None,
            late_verdicts: 0,
            is_last: false,
        }
    }

    /// Returns the longest delay before the next attempt; None: there is none. The delay is a random part of it.
    pub(crate) fn next_delay(&mut self, now: Instant) -> Option<Duration> {
        const LONG: Duration = Duration::from_secs(60);

        let Destination {
            reconnect,
            reconnect_max,
            ..
        } = *self.destination;
        if reconnect == 0 || self.is_last {
            return None;
        }
        let opened = self.opened.take();
        if opened.is_some_and(|opened| now.saturating_duration_since(opened) >= LONG) {
            self.short_lived = 0;
        }
        let doublings = self.short_lived.min(31);
        self.short_lived += 1;
        let delay =
            (u64::from(reconnect) << doublings).min(u64::from(reconnect_max.max(reconnect)));
        Some(Duration::from_millis(delay))
    }
}

/// A connection that is to begin, on its way to its loop.
pub(crate) struct NewConnection {
    pub token: Token,
    /// The number of its handlers.
    pub path: u32,
    pub destination: Arc<Destination>,
}
