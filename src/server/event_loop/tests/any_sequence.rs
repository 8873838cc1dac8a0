//! Any sequence of what peers, application and time may do: each websocket's events are in order and end, what
//! arrives is what was sent, and nothing is left behind.

use std::ops::Range;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// One step; the numbers are clients'.
#[derive(Clone, Debug)]
enum Act {
    Connect,
    Peer(usize, PeerAct),
    /// On the loop's thread or on another.
    Ask(usize, bool, Ask),
    /// A thread that is stopped in `send` continues, or fails.
    GoOn(bool),
    /// Sets what the `message` handler does.
    Handle(Handling),
    Descriptors(bool),
    /// Sets for how many events a host that pulls has room.
    Room(usize),
    Turn,
    Pass(u64),
    CloseServer,
}

#[derive(Clone, Debug)]
enum PeerAct {
    // These append to what the peer has to send, which `Flow` sends.
    Text,
    Ping,
    Pong,
    Close,
    Nonsense,
    /// So many bytes of that are sent.
    Flow(usize),
    HalfClose,
    Reset,
    /// It receives, and at most so many bytes are accepted from now on.
    Accept(usize),
    /// The next write to it accepts so many bytes.
    ShortWrite(usize),
}

/// A call of the application.
#[derive(Clone, Debug)]
enum Ask {
    /// A message of about so many bytes.
    Send(usize),
    /// A message, by a thread that is stopped before it is queued.
    BeginSend,
    Ping,
    Close,
    Abort,
    Flush,
}

#[derive(Clone, Copy, Debug)]
enum Handling {
    Nothing,
    Echo,
    EchoElsewhere,
    Close,
    Abort,
    Fail,
}

/// A number from which choices are made: the smaller, the simpler.
struct Dice(u64);

impl Dice {
    /// One of `0..sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        let rolled = self.0 % sides;
        self.0 /= sides;
        rolled
    }

    fn within(&mut self, range: Range<usize>) -> usize {
        range.start + self.roll(range.len() as u64) as usize
    }

    fn act(&mut self) -> Act {
        match self.roll(66) {
            0..12 => Act::Turn,
            12 => Act::Connect,
            13..38 => Act::Peer(self.within(0..2), self.peer_act()),
            38..58 => Act::Ask(self.within(0..2), self.roll(2) == 0, self.ask()),
            58..61 => Act::Handle(self.handling()),
            61 => Act::GoOn(self.roll(4) > 0),
            62 => Act::Descriptors(self.roll(2) == 0),
            63 => Act::Room(self.within(1..10)),
            64 => Act::Pass(1 + self.roll(20_000)),
            _ => match self.roll(10) {
                0 => Act::CloseServer,
                _ => Act::Turn,
            },
        }
    }

    fn peer_act(&mut self) -> PeerAct {
        match self.roll(60) {
            0..15 => PeerAct::Flow(usize::MAX),
            15..25 => PeerAct::Flow(self.within(1..40)),
            25..40 => PeerAct::Text,
            40..42 => PeerAct::Ping,
            42 => PeerAct::Pong,
            43..45 => PeerAct::Close,
            45 => PeerAct::Nonsense,
            46 => PeerAct::HalfClose,
            47 => PeerAct::Reset,
            48..52 => PeerAct::Accept(self.within(0..400)),
            52..56 => PeerAct::Accept(self.within(30_000..90_000)),
            _ => PeerAct::ShortWrite(self.within(1..100)),
        }
    }

    fn ask(&mut self) -> Ask {
        match self.roll(42) {
            0..28 => Ask::Send(self.within(0..300)),
            28..30 => Ask::Send(self.within(10_000..20_000)),
            30..32 => Ask::Send(self.within(60_000..80_000)),
            32..37 => Ask::Ping,
            37 => Ask::Close,
            38 => Ask::Abort,
            39 => Ask::BeginSend,
            _ => Ask::Flush,
        }
    }

    fn handling(&mut self) -> Handling {
        match self.roll(11) {
            0..2 => Handling::Nothing,
            2..6 => Handling::Echo,
            6..8 => Handling::EchoElsewhere,
            8 => Handling::Fail,
            9 => Handling::Close,
            _ => Handling::Abort,
        }
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = |number| Dice(number).act();
    let numbers = prop::collection::vec(any::<u64>(), 0..200);
    numbers.prop_map(move |numbers| numbers.into_iter().map(act).collect())
}

/// What was sent to one websocket by all threads.
#[derive(Default)]
struct Asked {
    /// Accepted messages, without the next ones.
    sent: usize,
    /// Messages of threads that were stopped and continued.
    late: usize,
    /// How often FULL was returned, and `drain` called.
    fulls: usize,
    drains: usize,
    /// FULL was returned, and `drain` has not been called since.
    waits_for_drain: bool,
}

type AllAsked = Arc<Mutex<HashMap<u64, Asked>>>;

/// Sends the next message, its number and padding, as a handler.
fn send_next(asked: &AllAsked, websocket: u64, len: usize) -> i32 {
    let number = locks::lock(asked).entry(websocket).or_default().sent;
    let text = format!("{number}{}", ".".repeat(len));
    match send(websocket, &text) {
        Ok(()) => locks::lock(asked).entry(websocket).or_default().sent += 1,
        Err(error) => note_refusal(asked, websocket, error),
    }
    0
}

fn note_refusal(asked: &AllAsked, websocket: u64, error: ServerError) {
    match error {
        ServerError::Full => {
            let mut asked = locks::lock(asked);
            let asked = asked.entry(websocket).or_default();
            asked.fulls += 1;
            asked.waits_for_drain = true;
        }
        error => assert_eq!(error, ServerError::Gone),
    }
}

/// A peer, and what it has to send.
struct Client {
    peer: Peer,
    stream: Vec<u8>,
    /// Text messages among that.
    texts: usize,
    query: CString,
}

impl Client {
    fn flow(&mut self, most: usize) {
        let count = self.stream.len().min(most);
        let piece: Vec<u8> = self.stream.drain(..count).collect();
        self.peer.remote.send(&piece);
    }

    fn say(&mut self, opcode: u8, payload: &[u8]) {
        self.stream.extend(frame(opcode, payload));
    }

    fn say_text(&mut self) {
        self.say(1, self.texts.to_string().as_bytes());
        self.texts += 1;
    }
}

/// A server and its clients.
struct World {
    server: Server,
    clients: Vec<Client>,
    handling: Arc<Mutex<Handling>>,
    asked: AllAsked,
    stopped: Vec<(u64, Stopped)>,
}

impl World {
    fn new(dispatch: Dispatch) -> Self {
        let server = Server::with(|options| {
            options.max_queued = 500;
            options.dispatch = dispatch;
        });
        let handling = Arc::new(Mutex::new(Handling::Nothing));
        let asked = AllAsked::default();
        let (how, all) = (Arc::clone(&handling), Arc::clone(&asked));
        let application = Arc::clone(&server.application);
        server.on(EventKind::Message, move |websocket| {
            let handling = *locks::lock(&how);
            let ended = match handling {
                Handling::Close => close(websocket, 1000, ""),
                Handling::Abort => abort(websocket),
                Handling::Fail => return 1,
                Handling::Echo => return send_next(&all, websocket, 50),
                Handling::EchoElsewhere => {
                    return on_another_thread(|| send_next(&all, websocket, 50));
                }
                Handling::Nothing => return 0,
            };
            // A host that pulls may already have further events.
            if dispatch == Dispatch::Io {
                application.silence(websocket, ended);
            }
            0
        });
        let all = Arc::clone(&asked);
        server.on_do(EventKind::Drain, move |websocket| {
            let mut all = locks::lock(&all);
            let asked = all.get_mut(&websocket).expect("a send was asked for");
            asked.waits_for_drain = false;
            asked.drains += 1;
            // A pending one may be called after the queue is full again.
            assert!(asked.drains <= asked.fulls, "a drain without FULL");
        });
        Self {
            server,
            clients: Vec::new(),
            handling,
            asked,
            stopped: Vec::new(),
        }
    }

    fn connect(&mut self) {
        let peer = self.server.connect();
        let query = self.clients.len().to_string();
        let path = format!("{}?{query}", self.server.application.path);
        self.clients.push(Client {
            peer,
            stream: handshake(&path).into_bytes(),
            texts: 0,
            query: CString::new(query).expect("no NUL"),
        });
    }

    /// Returns a client, counted from the newest.
    fn client(&mut self, number: usize) -> Option<&mut Client> {
        self.clients.iter_mut().rev().nth(number)
    }

    /// The websocket of a client, if it has one yet.
    fn websocket(&mut self, number: usize) -> Option<u64> {
        let query = self.client(number)?.query.clone();
        locks::lock(&self.server.application.by_query)
            .get(&query)
            .copied()
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Connect => self.connect(),
            Act::Peer(number, act) => {
                let Some(client) = self.client(number) else {
                    return;
                };
                match act {
                    PeerAct::Text => client.say_text(),
                    PeerAct::Ping => client.say(9, b"ping"),
                    PeerAct::Pong => client.say(10, b"pong"),
                    PeerAct::Close => client.say(8, &4000_u16.to_be_bytes()),
                    PeerAct::Nonsense => client.say(3, b""),
                    PeerAct::Flow(most) => client.flow(most),
                    PeerAct::HalfClose => client.peer.remote.shutdown_write(),
                    PeerAct::Reset => client.peer.remote.reset(),
                    PeerAct::Accept(most) => {
                        client.peer.receive();
                        client.peer.accept_at_most(most);
                    }
                    PeerAct::ShortWrite(most) => client.peer.remote.script_writes([
                        Write::Accept(most),
                        Write::Fail(io::ErrorKind::WouldBlock),
                    ]),
                }
            }
            Act::Ask(number, here, ask) => {
                let Some(websocket) = self.websocket(number) else {
                    return;
                };
                if matches!(ask, Ask::BeginSend) {
                    match Stopped::in_send(websocket, LATE) {
                        Ok(stopped) => self.stopped.push((websocket, stopped)),
                        Err(error) => note_refusal(&self.asked, websocket, error),
                    }
                    return;
                }
                let application = &self.server.application;
                let work = || match ask {
                    Ask::Send(len) => _ = send_next(&self.asked, websocket, len),
                    Ask::BeginSend => (),
                    Ask::Ping => _ = ping(websocket, b"ping"),
                    Ask::Close => application.silence(websocket, close(websocket, 3000, "")),
                    Ask::Abort => application.silence(websocket, abort(websocket)),
                    Ask::Flush => _ = sending::flush(websocket),
                };
                match here {
                    true => self.server.inside(work),
                    false => work(),
                }
            }
            Act::GoOn(goes_on) => self.go_on(goes_on),
            Act::Handle(handling) => *locks::lock(&self.handling) = handling,
            Act::Descriptors(has) => self.server.network.set_has_descriptors(has),
            Act::Room(room) => self.server.room.set(room),
            Act::Turn => self.server.turn(),
            Act::Pass(milliseconds) => self.server.pass(milliseconds),
            Act::CloseServer => self.server.close(),
        }
    }

    /// Lets the thread continue that was stopped first.
    fn go_on(&mut self, goes_on: bool) {
        if self.stopped.is_empty() {
            return;
        }
        let (websocket, stopped) = self.stopped.remove(0);
        if goes_on {
            locks::lock(&self.asked).entry(websocket).or_default().late += 1;
            stopped.go_on();
        } else {
            stopped.give_up();
        }
    }

    /// All clients accept and send everything: then no work may be left.
    fn settle(&mut self) {
        self.server.network.set_has_descriptors(true);
        while !self.stopped.is_empty() {
            self.go_on(true);
        }
        for client in &mut self.clients {
            client.flow(usize::MAX);
            client.peer.receive();
            client.peer.accept_at_most(usize::MAX);
        }
        self.server.pass(2000);
        for number in 0..self.clients.len() {
            let Some(websocket) = self.websocket(number) else {
                continue;
            };
            if sending::state_of(websocket) != State::Open {
                continue;
            }
            assert_eq!(queued(websocket), 0);
            let asked = locks::lock(&self.asked);
            let waits = asked
                .get(&websocket)
                .is_some_and(|asked| asked.waits_for_drain);
            assert!(!waits, "a drain that never comes");
            let events = locks::lock(&self.server.application.events);
            let messages = events
                .iter()
                .filter(|(whose, event)| *whose == websocket && is_message(event));
            let delivered = messages.count();
            drop((asked, events));
            assert_eq!(
                Some(delivered),
                self.client(number).map(|client| client.texts)
            );
        }
    }

    fn end(&mut self) {
        self.server.close();
        self.server.run();
        for client in &mut self.clients {
            client.say(8, &1000_u16.to_be_bytes());
            client.flow(usize::MAX);
            client.peer.remote.shutdown_write();
        }
        self.server.pass(10_000);
        assert!(self.server.is_finished(), "{:?}", self.server.phases());
        assert_eq!(self.server.metrics().open.load(Ordering::Relaxed), 0);
        assert_eq!(
            self.server.shared.loops[0]
                .connections
                .load(Ordering::Relaxed),
            0
        );
    }

    /// Compares what a client and the application have received from each other.
    fn compare(&mut self, number: usize) {
        let Some(websocket) = self.websocket(number) else {
            return;
        };
        let events = self.server.application.take_events(websocket);
        let sent = locks::lock(&self.asked)
            .get(&websocket)
            .map_or((0, 0), |asked| (asked.sent, asked.late));
        let client = self.client(number).expect("it has a websocket");
        check_events(&events, client.texts);
        if !client.peer.has_head() {
            return;
        }
        assert_eq!(client.peer.status(), 101);
        check_frames(&client.peer.frames(), sent);
    }
}

/// Events must be in order; messages must be those that were sent, without a gap.
fn check_events(events: &[String], texts: usize) {
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event.split(' ').next().unwrap())
        .collect();
    assert_eq!(kinds[..2], ["upgrade", "connect"]);
    let end = kinds.iter().position(|kind| *kind == "disconnect");
    assert_eq!(end, Some(kinds.len() - 1), "{events:?}");
    let silence = kinds
        .iter()
        .position(|kind| *kind == SILENCE)
        .unwrap_or(kinds.len());
    let silent = kinds[silence..]
        .iter()
        .all(|kind| ["error", "disconnect", SILENCE].contains(kind));
    assert!(silent, "{events:?}");
    let messages: Vec<&String> = events.iter().filter(|event| is_message(event)).collect();
    assert!(messages.len() <= texts);
    for (number, message) in messages.into_iter().enumerate() {
        let number = number.to_string();
        let expected = match message.starts_with("text") {
            true => format!("text {number}"),
            false => format!("message of {}", number.len()),
        };
        assert_eq!(*message, expected);
    }
}

fn is_message(event: &str) -> bool {
    event.starts_with("text") || event.starts_with("message")
}

/// Messages must be those that were sent, without a gap; all of them, if a close frame follows.
fn check_frames(frames: &[String], sent: (usize, usize)) {
    let (mut texts, mut late) = (0, 0);
    for (number, frame) in frames.iter().enumerate() {
        match frame.split(' ').next().unwrap() {
            "text" if frame.ends_with(LATE) => late += 1,
            "text" => {
                let text = frame.trim_end_matches('.');
                assert_eq!(text, format!("text {texts}"));
                texts += 1;
            }
            "close" => {
                assert_eq!(number, frames.len() - 1, "{frames:?}");
                assert!(
                    (texts, late) == sent || frame == "close 1002",
                    "{frames:?} of {sent:?}"
                );
            }
            kind => assert!(["ping", "pong"].contains(&kind)),
        }
    }
    assert!(texts <= sent.0 && late <= sent.1);
}

/// The message of a thread that was stopped.
const LATE: &str = "late";

/// An entry among the events: the application has closed or aborted the websocket.
const SILENCE: &str = "silence";

impl Script {
    fn silence(&self, websocket: u64, answer: ServerResult) {
        if answer.is_ok() {
            locks::lock(&self.events).push((websocket, SILENCE.to_owned()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sequence_of_events_keeps_the_order_and_ends(
        acts in acts(),
        dispatch in select(vec![Dispatch::Io, Dispatch::Host]),
    ) {
        let mut world = World::new(dispatch);
        world.connect();
        acts.into_iter().for_each(|act| world.act(act));
        world.settle();
        world.end();
        for number in 0..world.clients.len() {
            world.compare(number);
        }
    }
}
