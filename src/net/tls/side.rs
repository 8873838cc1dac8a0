//! The two sides of TLS as the library has them, so that one code serves both.

use std::io;

use rustls::CommonState;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::UnbufferedStatus;

use super::certificates::take_asked_name;
use super::failures;

/// A connection of the library.
pub(super) trait Side {
    type Data;

    /// Processes the records until the library has something to be done.
    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8])
    -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// Whether the library has something to send, which [`Side::process`] then returns before all else.
    fn has_unsent(&self) -> bool;

    /// Takes the name that the peer has asked for in what was processed last.
    fn take_asked_name() -> Option<Box<str>>;

    /// Describes why the peer's data cannot be processed.
    fn failure(error: rustls::Error) -> io::Error;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    #[inline]
    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(records)
    }

    fn has_unsent(&self) -> bool {
        CommonState::wants_write(self)
    }

    #[inline]
    fn take_asked_name() -> Option<Box<str>> {
        take_asked_name()
    }

    fn failure(error: rustls::Error) -> io::Error {
        failures::of_client(error)
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    #[inline]
    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(records)
    }

    fn has_unsent(&self) -> bool {
        CommonState::wants_write(self)
    }

    #[inline]
    fn take_asked_name() -> Option<Box<str>> {
        None
    }

    fn failure(error: rustls::Error) -> io::Error {
        failures::of_server(&error)
    }
}
