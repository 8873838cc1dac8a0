//! Outgoing connections, which are made in the background: names are resolved, addresses are raced, and proxies
//! are asked for a tunnel. What is connected has not sent or received a byte of its own yet.
//!
//! - `route`: where to connect to, by way of whom, and why that failed
//! - `proxy`, `environment`: a proxy's URL, and the environment's choice of a proxy
//! - `thread`: the thread for all connections that are under way
//! - `attempt`: the steps of one of them
//! - `resolver`: threads that resolve names
//! - `race`: RFC 8305
//! - `negotiation`, `http_proxy`, `socks5`: what proxies are told

mod attempt;
mod background;
mod environment;
mod http_proxy;
mod negotiation;
mod proxy;
mod race;
mod resolver;
mod route;
mod socks5;
#[cfg(test)]
mod tests;
mod thread;

pub(crate) use proxy::Proxy;
pub(crate) use route::{ConnectError, Remote, Route};
pub(crate) use thread::{Connecting, connect};
