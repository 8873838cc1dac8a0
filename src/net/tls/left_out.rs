//! Replaces TLS in builds without it. No identity or trust can be read, so no channel is ever created.

use std::convert::Infallible;
use std::ffi::CStr;
use std::io;

use super::{IdentityError, IdentityFiles, TlsFact, TrustFiles};

/// Never exists.
#[derive(Clone, Debug)]
pub(crate) struct Identity(Infallible);

impl Identity {
    pub(crate) fn read(
        _files: &IdentityFiles,
        _earlier: Option<&Self>,
    ) -> Result<Self, IdentityError> {
        Err(no_tls())
    }

    pub(crate) fn expires(&self) -> Option<u64> {
        match self.0 {}
    }

    pub(crate) fn warn_of_ends(&self) {
        match self.0 {}
    }
}

/// Never exists.
#[derive(Clone, Debug)]
pub(crate) struct Trust(Infallible);

impl Trust {
    pub(crate) fn read(_files: &TrustFiles) -> Result<Self, IdentityError> {
        Err(no_tls())
    }
}

fn no_tls() -> IdentityError {
    IdentityError("this build has no TLS".to_owned())
}

/// Never exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerName {}

impl ServerName {
    pub(crate) fn parse(_host: &str) -> Option<Self> {
        None
    }
}

/// Never exists.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TlsSide<'a> {
    Server(&'a Identity),
    #[expect(dead_code, reason = "nothing of it exists")]
    Client(&'a Trust, &'a ServerName),
}

/// There are none.
#[derive(Debug)]
pub(crate) struct TlsFacts(Infallible);

impl TlsFacts {
    pub(crate) fn get(&self, _fact: TlsFact) -> &CStr {
        match self.0 {}
    }
}

/// Never exists.
pub(crate) struct Channel(Infallible);

impl Channel {
    pub(crate) fn new(side: TlsSide<'_>) -> io::Result<Self> {
        match side {
            TlsSide::Server(identity) => match identity.0 {},
            TlsSide::Client(trust, _) => match trust.0 {},
        }
    }

    pub(crate) fn early_end(&self) -> io::Error {
        match self.0 {}
    }

    pub(crate) fn take_facts(&mut self) -> Option<TlsFacts> {
        match self.0 {}
    }

    pub(crate) fn held_bytes(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn is_established(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn is_closed_by_peer(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn is_plain_http(&self, _first: &[u8]) -> bool {
        match self.0 {}
    }

    pub(crate) fn decrypt(&mut self, _buffer: &mut [u8], _count: usize) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn encrypt(&mut self, _plain: &[u8], _out: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }

    pub(crate) fn close(&mut self) {
        match self.0 {}
    }

    pub(crate) fn unsent(&self) -> &[u8] {
        match self.0 {}
    }

    pub(crate) fn sent(&mut self, _count: usize) {
        match self.0 {}
    }

    pub(crate) fn keep(&mut self, _rest: &[u8], _plain: usize) {
        match self.0 {}
    }

    pub(crate) fn committed(&self) -> usize {
        match self.0 {}
    }

    pub(crate) fn take_committed(&mut self, _offered: usize) -> usize {
        match self.0 {}
    }
}
