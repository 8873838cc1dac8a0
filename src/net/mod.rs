//! Sockets, their encryption, readiness and wake-ups. Knows nothing of WebSocket.

mod address;
mod event;
mod os;
mod poller;
mod proxy_header;
mod sockets;
mod tls;

pub(crate) use address::{Address, Peer};
pub(crate) use event::{IoEvent, Token};
pub(crate) use os::{
    Backend, CombinedDescriptor, Descriptor, Listener, PollSet, Readiness, Signal, Socket, Wait,
    Waited, Waker, lacks_resources, memory, memory_limit, process,
};
#[cfg(test)]
pub(crate) use os::{Failing, Network, RemoteEnd, Write};
pub(crate) use poller::{Beginning, Poller, Preamble};
pub(crate) use proxy_header::{NoHeader, proxy_header_len};
pub(crate) use tls::{Identity, IdentityFiles, Pair, TlsFact, TlsFacts, TlsSide};
#[expect(unused_imports, reason = "joined with the rest of the client later")]
pub(crate) use tls::{ServerName, Trust, TrustFiles};
