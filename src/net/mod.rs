//! Sockets, how they are connected, their encryption, readiness and wake-ups. Knows nothing of WebSocket.

mod address;
mod connect;
mod event;
mod os;
mod poller;
mod proxy_header;
mod sockets;
mod tls;

pub(crate) use address::{Address, Peer};
pub(crate) use connect::{ConnectError, Connecting, Proxy, Remote, Route, connect};
pub(crate) use event::{IoEvent, Token};
pub(crate) use os::{
    Backend, CombinedDescriptor, Descriptor, Listener, Outgoing, PollSet, Readiness, Signal,
    Socket, Wait, Waited, Waker, lacks_resources, memory, memory_limit, process, random,
    wait_for_outgoing,
};
#[cfg(test)]
pub(crate) use os::{Failing, Network, RemoteEnd, Write};
pub(crate) use poller::{Beginning, Poller, Preamble};
pub(crate) use proxy_header::{NoHeader, proxy_header_len};
pub(crate) use tls::{Identity, IdentityFiles, Pair, TlsFact, TlsFacts, TlsSide};
pub(crate) use tls::{ServerName, Trust, TrustFiles};
