//! The way to a server.

use super::proxy::Proxy;
use super::remote::Remote;

/// How to get there.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub remote: Remote,
    pub proxy: Option<Proxy>,
}
