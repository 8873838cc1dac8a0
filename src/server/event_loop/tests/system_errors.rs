//! Failing system calls.

use super::*;
use crate::net::Failing;

#[test]
fn a_connection_that_cannot_be_polled_is_dropped_and_uncounted() {
    let server = Server::with(|options| options.max_connections = 1);
    server.network.fail(Failing {
        adds: 1,
        ..Failing::default()
    });
    let dropped = server.connect();
    server.run();
    assert!(dropped.remote.is_closed() && server.events().is_empty());
    server.open();
}

#[test]
fn a_loop_that_cannot_set_its_timer_does_not_wait() {
    let server = Server::new();
    let _peer = server.open();
    server.network.fail(Failing {
        timers: 2,
        ..Failing::default()
    });
    server.network.pass(Duration::from_secs(60));
    // The old timer has expired, so another one is set.
    server.turn();
    let before = server.network.idle_waits();
    server.turn();
    server.turn();
    assert_eq!(server.network.idle_waits(), before);
    server.turn();
    assert_eq!(server.network.idle_waits(), before + 1);
}

#[test]
fn ten_failed_waits_in_a_row_close_the_server() {
    let server = Server::new();
    let peer = server.open();
    let fail = |waits| {
        server.network.fail(Failing {
            waits,
            ..Failing::default()
        });
        (0..waits).for_each(|_| server.turn());
    };
    fail(3);
    server.turn();
    fail(9);
    assert!(!server.shared.is_closing());
    fail(1);
    assert!(server.shared.is_closing());
    server.run();
    assert_eq!(peer.all_frames(), ["close 1001"]);
}
