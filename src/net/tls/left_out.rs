//! Replaces TLS in builds without it. No identity can be read, so no channel is ever created.

use std::convert::Infallible;
use std::ffi::CStr;
use std::io;

use super::{IdentityError, IdentityFiles, TlsFact};

/// Never exists.
#[derive(Clone, Debug)]
pub(crate) struct Identity(Infallible);

impl Identity {
    pub(crate) fn read(
        _files: &IdentityFiles,
        _earlier: Option<&Self>,
    ) -> Result<Self, IdentityError> {
        Err(IdentityError("this build has no TLS".to_owned()))
    }

    pub(crate) fn expires(&self) -> Option<u64> {
        match self.0 {}
    }

    pub(crate) fn warn_of_ends(&self) {
        match self.0 {}
    }
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
    pub(crate) fn new(identity: &Identity) -> io::Result<Self> {
        match identity.0 {}
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
