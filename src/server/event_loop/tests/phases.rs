//! Each phase of a connection is entered and left.

use std::sync::mpsc::{Sender, channel};

use super::*;

const PHASES: [Phase; 8] = [
    Phase::Free,
    Phase::Opening,
    Phase::Deciding,
    Phase::Open,
    Phase::Closing,
    Phase::Finishing,
    Phase::Lingering,
    Phase::Ended,
];

/// A server with one connection at most.
struct Example {
    server: Server,
    peer: Option<Peer>,
    /// With PER_CLIENT, makes `upgrade` return.
    decide: Sender<i32>,
}

impl Example {
    fn new(dispatch: Dispatch) -> Self {
        let server = Server::with(|options| options.dispatch = dispatch);
        let (decide, decision) = channel();
        let decision = Mutex::new(decision);
        server.on(EventKind::Upgrade, move |_| match dispatch {
            Dispatch::PerClient => locks::lock(&decision)
                .recv_timeout(DEADLINE)
                .expect("a decision in time"),
            _ => 0,
        });
        Self {
            server,
            peer: None,
            decide,
        }
    }

    fn peer(&self) -> &Peer {
        self.peer.as_ref().expect("a connection")
    }

    fn websocket(&self) -> u64 {
        self.server.last_websocket()
    }

    /// Ends the client's thread, so that it posts no mail later.
    fn end_thread(&self) {
        let _ = self.decide.send(0);
        self.peer().remote.reset();
        self.server
            .turn_until(|| self.server.phase() == Phase::Free);
    }

    /// Enters a phase from the one before it.
    fn enter(&mut self, phase: Phase) {
        match phase {
            Phase::Free => (),
            Phase::Waiting | Phase::Connecting | Phase::Answering => {
                panic!("of a connection of ours, which tests/c/connecting.c drives")
            }
            Phase::Opening => {
                self.peer = Some(self.server.connect());
                self.server.run();
            }
            Phase::Deciding | Phase::Open => {
                self.enter(Phase::Opening);
                let request = self.server.handshake();
                self.peer().remote.send(request.as_bytes());
                self.server.turn();
            }
            Phase::Closing => {
                self.enter(Phase::Open);
                self.peer().accept_at_most(0);
                close(self.websocket(), 1000, "").expect("it is open");
                self.server.run();
            }
            Phase::Finishing => {
                self.enter(Phase::Closing);
                self.peer().close(1000, "");
                self.server.run();
            }
            Phase::Lingering => {
                self.enter(Phase::Finishing);
                self.peer().accept_at_most(usize::MAX);
                self.server.run();
            }
            Phase::Ended => {
                self.enter(Phase::Open);
                let websocket = self.websocket();
                self.server.inside(|| abort(websocket)).expect("it is open");
            }
        }
    }
}

/// What may happen in a phase, and the next phase.
type Way = (&'static str, fn(&mut Example), Phase);

fn ways(phase: Phase) -> Vec<Way> {
    const LEAVES: Way = (
        "the peer leaves",
        |it| it.peer().remote.shutdown_write(),
        Phase::Free,
    );
    const RESETS: Way = (
        "the peer resets",
        |it| it.peer().remote.reset(),
        Phase::Free,
    );
    const TIMES_OUT: Way = ("time passes", |it| it.server.pass(10_000), Phase::Free);
    match phase {
        Phase::Free => vec![(
            "a client connects",
            |it| it.peer = Some(it.server.connect()),
            Phase::Opening,
        )],
        Phase::Waiting | Phase::Connecting | Phase::Answering => Vec::new(),
        Phase::Opening => vec![
            (
                "the request is accepted",
                |it| it.peer().remote.send(it.server.handshake().as_bytes()),
                Phase::Open,
            ),
            (
                "the request is refused",
                |it| it.peer().remote.send(b"nonsense\r\n\r\n"),
                Phase::Lingering,
            ),
            (
                "the request is refused, and the response is not accepted",
                |it| {
                    it.peer().accept_at_most(0);
                    it.peer().remote.send(b"nonsense\r\n\r\n");
                },
                Phase::Finishing,
            ),
            ("the server closes", |it| it.server.close(), Phase::Free),
            LEAVES,
            RESETS,
            TIMES_OUT,
        ],
        Phase::Deciding => vec![
            (
                "upgrade accepts",
                |it| it.decide.send(0).unwrap(),
                Phase::Open,
            ),
            (
                "upgrade rejects",
                |it| it.decide.send(403).unwrap(),
                Phase::Lingering,
            ),
            (
                "the peer resets",
                |it| it.peer().remote.reset(),
                // The decision is awaited.
                Phase::Ended,
            ),
        ],
        Phase::Open => vec![
            (
                "the application closes",
                |it| close(it.websocket(), 1000, "").unwrap(),
                Phase::Closing,
            ),
            ("the server closes", |it| it.server.close(), Phase::Closing),
            (
                "the peer closes",
                |it| it.peer().close(1000, ""),
                Phase::Lingering,
            ),
            (
                "the peer closes and accepts nothing",
                |it| {
                    it.peer().accept_at_most(0);
                    it.peer().close(1000, "");
                },
                Phase::Finishing,
            ),
            (
                "the peer violates the protocol and accepts nothing",
                |it| {
                    it.peer().accept_at_most(0);
                    it.peer().frame(3, b"");
                },
                Phase::Finishing,
            ),
            LEAVES,
            RESETS,
        ],
        Phase::Closing => vec![
            (
                "the peer closes",
                |it| it.peer().close(1000, ""),
                Phase::Finishing,
            ),
            (
                "the peer accepts our close frame and replies",
                |it| {
                    it.peer().accept_at_most(usize::MAX);
                    it.peer().close(1000, "");
                },
                Phase::Lingering,
            ),
            (
                "the peer violates the protocol",
                |it| it.peer().frame(3, b""),
                Phase::Finishing,
            ),
            (
                "the peer leaves and accepts nothing",
                |it| it.peer().remote.shutdown_write(),
                Phase::Finishing,
            ),
            RESETS,
            TIMES_OUT,
        ],
        Phase::Finishing => vec![
            (
                "the peer accepts everything",
                |it| it.peer().accept_at_most(usize::MAX),
                Phase::Lingering,
            ),
            (
                "the peer leaves and accepts everything",
                |it| {
                    it.peer().remote.shutdown_write();
                    it.server.run();
                    it.peer().accept_at_most(usize::MAX);
                },
                Phase::Free,
            ),
            RESETS,
            TIMES_OUT,
        ],
        Phase::Lingering => vec![LEAVES, RESETS, TIMES_OUT],
        Phase::Ended => vec![("disconnect runs", |_| (), Phase::Free)],
    }
}

#[test]
fn each_phase_is_entered_and_left() {
    let mut entered = Vec::new();
    for phase in PHASES {
        let dispatch = match phase {
            Phase::Deciding => Dispatch::PerClient,
            _ => Dispatch::Io,
        };
        let ways = ways(phase);
        assert!(!ways.is_empty(), "{phase:?} is not left");
        for (what, act, next) in ways {
            let mut example = Example::new(dispatch);
            example.enter(phase);
            assert_eq!(example.server.phase(), phase, "before: {what}");
            act(&mut example);
            let server = &example.server;
            match dispatch {
                Dispatch::PerClient => server.turn_until(|| server.phase() == next),
                _ => server.run(),
            }
            assert_eq!(server.phase(), next, "{phase:?}: {what}");
            entered.push(next);
            if dispatch == Dispatch::PerClient {
                example.end_thread();
            }
        }
    }
    // It is entered in each test of how it is left.
    entered.push(Phase::Deciding);
    for phase in PHASES {
        assert!(entered.contains(&phase), "{phase:?} is not entered");
    }
}
