//! permessage-deflate, against an independent implementation.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::*;

/// The end of each message, which a sender omits (RFC 7692 section 7.2.1).
const OMITTED: [u8; 4] = [0, 0, 0xff, 0xff];

/// Opens a websocket with compression, without context takeover.
fn open(server: &Server) -> Peer {
    let mut peer = server.connect();
    let extension = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    let request = server.handshake().replace("\r\n\r\n", extension);
    peer.remote.send(request.as_bytes());
    server.run();
    assert_eq!(peer.status(), 101);
    peer.websocket = server.last_websocket();
    server.events();
    peer
}

/// One compressed binary message.
fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::fast(), false);
    let mut out = Vec::with_capacity(payload.len() + 100);
    compress
        .compress_vec(payload, &mut out, FlushCompress::Sync)
        .unwrap();
    let payload = out.strip_suffix(&OMITTED).unwrap();
    // With RSV1: it is compressed.
    frame(0x42, payload)
}

/// The payloads of compressed messages.
fn decompressed(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[0], 0xc2);
        let (len, start) = match bytes[1] {
            126 => (u16::from_be_bytes([bytes[2], bytes[3]]), 4),
            len => (len.into(), 2),
        };
        let (payload, rest) = bytes[start..].split_at(len.into());
        let payload = [payload, &OMITTED].concat();
        let mut out = Vec::with_capacity(100_000);
        Decompress::new(false)
            .decompress_vec(&payload, &mut out, FlushDecompress::Sync)
            .unwrap();
        messages.push(brief(&out));
        bytes = rest;
    }
    messages
}

#[test]
fn messages_of_the_loop_and_of_other_threads_are_compressed_in_order() {
    let server = Server::new();
    let peer = open(&server);
    peer.accept_at_most(0);
    server
        .inside(|| send_many(peer.websocket, 'a', 1000))
        .unwrap();
    send_many(peer.websocket, 'b', 20_000).unwrap();
    server.turn();
    server
        .inside(|| send_many(peer.websocket, 'c', 30_000))
        .unwrap();
    let queued = queued(peer.websocket);
    assert!(queued < 1000, "{queued}");
    peer.accept_at_most(usize::MAX);
    server.run();
    let bytes = peer.bytes();
    assert_eq!(bytes.len(), queued);
    assert_eq!(decompressed(&bytes), ["1000*a", "20000*b", "30000*c"]);
}

#[test]
fn a_budget_counts_inflated_sizes() {
    let server = Server::new();
    let peer = open(&server);
    let message = compressed(&[b'x'; 63 * 1024]);
    peer.remote.send(&message.repeat(70));
    // Each counts four times.
    for expected in [64, 6] {
        server.turn();
        assert_eq!(server.events(), vec!["binary 64512*x"; expected]);
    }
}

#[test]
fn a_message_that_inflates_over_the_limit_fails_its_connection() {
    let server = Server::with(|options| options.max_message_size = 100_000);
    let peer = open(&server);
    peer.remote.send(&compressed(&[b'x'; 100_000]));
    peer.remote.send(&compressed(&[b'x'; 100_001]));
    server.run();
    assert_eq!(server.events(), ["binary 100000*x", "error TooBig 1009"]);
    assert_eq!(peer.all_frames(), ["close 1009"]);
}

#[test]
fn a_message_that_may_not_be_compressed_is_sent_as_it_is() {
    let server = Server::new();
    let peer = open(&server);
    let message = [b'a'; 1000];
    let send = || sending::send(peer.websocket, Kind::Binary, &message, false);
    server.inside(send).unwrap();
    send().unwrap();
    server.run();
    let frames = peer.all_frames();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0], frames[1]);
    assert!(frames[0].starts_with("binary "), "{frames:?}");
}
