//! A request whose head is being read.

use crate::net::{Peer, memory};
use crate::proto::{HeadScanner, Refusal, TLS_HANDSHAKE};

/// A request that is being read.
pub(crate) struct IncomingRequest {
    pub peer: Peer,
    /// What has arrived of it, unless it arrives all at once.
    pub head: Vec<u8>,
    pub scanner: HeadScanner,
    /// An earlier request on the connection was answered with a page.
    pub has_served_page: bool,
}

/// Why the head of a request cannot be read.
pub(crate) enum HeadError {
    Refused(Refusal),
    /// It begins as TLS does.
    Tls,
    Memory,
}

impl IncomingRequest {
    /// Reads what has arrived. Returns the length of the head once it is complete: it is in `head`, or, if
    /// nothing was buffered before, in `input`.
    pub(crate) fn read(
        &mut self,
        input: &[u8],
        max_header_size: usize,
    ) -> Result<Option<usize>, HeadError> {
        let Self { head, scanner, .. } = self;
        let is_first = head.is_empty();
        if !is_first {
            append(head, input)?;
        }
        let all = if is_first { input } else { &*head };
        let end = scanner.scan(all, max_header_size).map_err(|refusal| {
            if all.first() == Some(&TLS_HANDSHAKE) {
                HeadError::Tls
            } else {
                HeadError::Refused(refusal)
            }
        })?;
        if end.is_none() && is_first {
            append(head, input)?;
        }
        Ok(end)
    }
}

fn append(head: &mut Vec<u8>, input: &[u8]) -> Result<(), HeadError> {
    memory::try_reserve(head, input.len()).map_err(|_| HeadError::Memory)?;
    head.extend_from_slice(input);
    Ok(())
}
