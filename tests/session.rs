//! A session and a client in memory: whatever frames the client sends, and wherever their bytes are
//! cut, the events are the same.

mod pair;

use portal::proto::{Event, Kind, Limits, Opcode, Payload, ProtoError, Role, Scratch, Session};
use portal::proto::{MAX_CONTROL_PAYLOAD, may_receive};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use pair::{
    FIN, Frame, Seen, Server, announce, any_cuts, close, events, events_as, frame, ping, text,
    wire, wire_to,
};

const LIMITS: Limits = Limits {
    max_message_size: 16 << 20,
    max_fragments: 8,
};

fn assert_any_cutting_gives(limits: &Limits, wire: &[u8], expected: &[Seen]) {
    let check =
        |cuts: &[usize]| assert_eq!(events(limits, wire, cuts), expected, "cut at {cuts:?}");
    check(&[]);
    check(&(1..wire.len()).collect::<Vec<_>>());
    for one in 0..=wire.len() {
        for two in one..=wire.len() {
            check(&[one, two]);
        }
    }
    if wire.len() <= 14 {
        for places in 0..1_u32 << (wire.len() - 1) {
            let cuts: Vec<_> = (1..wire.len())
                .filter(|cut| places >> (cut - 1) & 1 == 1)
                .collect();
            check(&cuts);
        }
    }
}

// ---- what the RFC says of frames, in the plainest words ----

/// What should be reported of `frames`.
fn expected(limits: &Limits, frames: &[Frame]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut message = None;
    for frame in frames {
        match expected_of(limits, frame, &mut message) {
            Ok(None) => {}
            Ok(Some(event)) => {
                let is_last = matches!(event, Seen::Close(..));
                seen.push(event);
                if is_last {
                    break;
                }
            }
            Err(error) => {
                seen.push(Seen::Failed(error));
                break;
            }
        }
    }
    seen
}

struct Fragments {
    kind: Kind,
    bytes: Vec<u8>,
    count: u32,
}

fn expected_of(
    limits: &Limits,
    frame: &Frame,
    message: &mut Option<Fragments>,
) -> Result<Option<Seen>, ProtoError> {
    let fin = frame.first & FIN != 0;
    let opcode = frame.first & 0x0f;
    if frame.first & 0x70 != 0 {
        return Err(ProtoError::ReservedBits);
    }
    if !matches!(opcode, 0..=2 | 8..=10) {
        return Err(ProtoError::ReservedOpcode(opcode));
    }
    if opcode >= 8 {
        if !fin {
            return Err(ProtoError::FragmentedControl);
        }
        if frame.payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(ProtoError::LongControl);
        }
        let payload = frame.payload.clone();
        return Ok(Some(match opcode {
            8 => expected_close(&payload)?,
            9 => Seen::Ping(payload),
            _ => Seen::Pong(payload),
        }));
    }
    match (opcode, &message) {
        (0, None) => return Err(ProtoError::LoneContinuation),
        (0, Some(_)) => {}
        (_, Some(_)) => return Err(ProtoError::InterruptedMessage),
        (_, None) => {
            let kind = if opcode == 1 {
                Kind::Text
            } else {
                Kind::Binary
            };
            *message = Some(Fragments {
                kind,
                bytes: Vec::new(),
                count: 0,
            });
        }
    }
    let fragments = message.as_mut().unwrap();
    fragments.count += 1;
    if fragments.count > limits.max_fragments.max(1) {
        return Err(ProtoError::TooManyFragments);
    }
    if fragments.bytes.len() + frame.payload.len() > limits.max_message_size {
        return Err(ProtoError::TooBig);
    }
    fragments.bytes.extend(&frame.payload);
    if fragments.kind == Kind::Text
        && let Err(error) = std::str::from_utf8(&fragments.bytes)
        && (fin || error.error_len().is_some())
    {
        return Err(ProtoError::NotUtf8);
    }
    if !fin {
        return Ok(None);
    }
    let Fragments { kind, bytes, .. } = message.take().unwrap();
    Ok(Some(Seen::Message(kind, bytes)))
}

fn expected_close(payload: &[u8]) -> Result<Seen, ProtoError> {
    match payload {
        [] => Ok(Seen::Close(None, Vec::new())),
        [_] => Err(ProtoError::HalfCloseCode),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !may_receive(code) {
                return Err(ProtoError::CloseCode(code));
            }
            if std::str::from_utf8(reason).is_err() {
                return Err(ProtoError::NotUtf8);
            }
            Ok(Seen::Close(Some(code), reason.to_vec()))
        }
    }
}

// ---- every cutting of short sequences ----

#[test]
fn good_frames_give_the_same_events_however_they_are_cut() {
    use Opcode::{Binary, Continuation, Ping, Pong, Text};
    let sequences: &[(&str, &[Frame])] = &[
        ("5.6", &[text("")]),
        ("5.6", &[text("hi"), text("é")]),
        (
            "5.6",
            &[frame(true, Binary, [0xff; 5]), text("€"), text("abc")],
        ),
        (
            "5.4",
            &[
                frame(false, Text, "a"),
                frame(true, Continuation, "b"),
                text("c"),
            ],
        ),
        (
            "5.4",
            &[frame(false, Binary, ""), frame(true, Continuation, "")],
        ),
        (
            "5.4",
            &[
                frame(false, Text, "\u{20ac}"),
                frame(false, Continuation, ""),
                frame(true, Continuation, "!"),
            ],
        ),
        (
            "5.4, 8.1",
            &[
                frame(false, Text, b"\xe2"),
                frame(false, Continuation, b"\x82"),
                frame(true, Continuation, b"\xac"),
            ],
        ),
        (
            "5.5",
            &[
                frame(false, Text, "a"),
                ping("1"),
                frame(false, Continuation, ""),
                frame(true, Pong, "2"),
                frame(true, Continuation, "b"),
            ],
        ),
        ("5.5.2", &[ping(""), ping("abc"), frame(true, Pong, "")]),
        ("5.5.1", &[frame(true, Opcode::Close, ""), text("ignored")]),
        (
            "5.5.1",
            &[text("x"), close(1000, ""), frame(true, Ping, "")],
        ),
        (
            "5.5.1",
            &[frame(false, Text, "never"), close(4999, "böse"), text("")],
        ),
        ("7.1.5", &[close(1001, "")]),
    ];
    for (section, frames) in sequences {
        let expected = expected(&LIMITS, frames);
        assert!(
            !matches!(expected.last(), Some(Seen::Failed(_))),
            "{section}"
        );
        assert_any_cutting_gives(&LIMITS, &wire(frames), &expected);
    }
}

#[test]
fn bad_frames_give_the_same_failure_however_they_are_cut() {
    use Opcode::{Binary, Continuation, Text};
    let limits = Limits {
        max_message_size: 6,
        max_fragments: 3,
    };
    let raw = |first: u8| Frame {
        first,
        key: [1, 2, 3, 4],
        payload: b"x".to_vec(),
    };
    let sequences: &[(&str, &[Frame], ProtoError)] = &[
        ("5.2", &[text("a"), raw(0xc1)], ProtoError::ReservedBits),
        ("5.2", &[raw(0x90 | 9)], ProtoError::ReservedBits),
        ("5.2", &[raw(0x83)], ProtoError::ReservedOpcode(3)),
        ("5.2", &[raw(0x0f)], ProtoError::ReservedOpcode(15)),
        ("5.4", &[raw(0x80)], ProtoError::LoneContinuation),
        ("5.4", &[text("a"), raw(0)], ProtoError::LoneContinuation),
        (
            "5.4",
            &[frame(false, Text, "a"), text("b")],
            ProtoError::InterruptedMessage,
        ),
        (
            "5.4",
            &[frame(false, Binary, ""), ping(""), frame(false, Binary, "")],
            ProtoError::InterruptedMessage,
        ),
        ("5.5", &[raw(9)], ProtoError::FragmentedControl),
        (
            "5.5.1",
            &[frame(true, Opcode::Close, [3])],
            ProtoError::HalfCloseCode,
        ),
        ("7.4.1", &[close(1005, "")], ProtoError::CloseCode(1005)),
        ("7.4.1", &[close(1006, "x")], ProtoError::CloseCode(1006)),
        ("7.4.1", &[close(1015, "")], ProtoError::CloseCode(1015)),
        ("7.4.2", &[close(999, "")], ProtoError::CloseCode(999)),
        ("7.4.2", &[close(2999, "")], ProtoError::CloseCode(2999)),
        ("7.4.2", &[close(5000, "")], ProtoError::CloseCode(5000)),
        ("5.5.1", &[close(1000, b"\xff")], ProtoError::NotUtf8),
        ("5.5.1", &[close(1000, b"\xe2\x82")], ProtoError::NotUtf8),
        ("8.1", &[text(b"a\xffb")], ProtoError::NotUtf8),
        ("8.1", &[text(b"a\xc3")], ProtoError::NotUtf8),
        (
            "8.1",
            &[frame(false, Text, b"\xed\xa0"), ping("")],
            ProtoError::NotUtf8,
        ),
        (
            "8.1",
            &[
                frame(false, Text, b"\xf0\x9f"),
                ping(""),
                frame(true, Continuation, b"\x98"),
            ],
            ProtoError::NotUtf8,
        ),
        ("10.4", &[text("1234567")], ProtoError::TooBig),
        (
            "10.4",
            &[
                frame(false, Text, "1234"),
                frame(false, Continuation, "567"),
            ],
            ProtoError::TooBig,
        ),
        (
            "10.4",
            &[
                frame(false, Text, ""),
                frame(false, Continuation, ""),
                frame(false, Continuation, ""),
                frame(true, Continuation, ""),
            ],
            ProtoError::TooManyFragments,
        ),
    ];
    for (section, frames, error) in sequences {
        let expected = expected(&limits, frames);
        assert_eq!(expected.last(), Some(&Seen::Failed(*error)), "{section}");
        assert_any_cutting_gives(&limits, &wire(frames), &expected);
    }

    let wires: &[(&str, &[u8], ProtoError)] = &[
        ("5.1", b"\x81\x01x", ProtoError::Unmasked),
        ("5.1", b"\x88\x00", ProtoError::Unmasked),
        (
            "5.2",
            b"\x82\xfe\0\x7d\0\0\0\0",
            ProtoError::LengthNotMinimal,
        ),
        (
            "5.2",
            b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0",
            ProtoError::LengthNotMinimal,
        ),
        (
            "5.2",
            b"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0",
            ProtoError::LengthTopBit,
        ),
        ("5.5", b"\x89\xfe\0\x7e\0\0\0\0", ProtoError::LongControl),
        (
            "5.5",
            b"\x88\xff\0\0\0\0\0\x01\0\0\0\0\0\0",
            ProtoError::LongControl,
        ),
        ("5.2", b"\x16\x03\x01", ProtoError::ReservedBits),
    ];
    for (section, wire, error) in wires {
        assert_eq!(
            events(&limits, wire, &[]),
            [Seen::Failed(*error)],
            "{section}"
        );
        assert_any_cutting_gives(&limits, wire, &[Seen::Failed(*error)]);
    }
}

// ---- any frames, any cutting ----

fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "\\PC{0,12}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..12),
        1 => "\\PC{60,200}".prop_map(String::into_bytes),
        1 => (select(vec![124_usize, 125, 126, 127, 300]), 0..0x80_u8)
            .prop_map(|(len, byte)| vec![byte; len]),
        1 => ("\\PC{0,40}", any::<Index>()).prop_map(|(text, cut)| {
            let cut = cut.index(text.len() + 1);
            text.as_bytes()[..cut].to_vec()
        }),
    ]
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let good = select(vec![
        0x81, 0x81, 0x82, 0x01, 0x02, 0x00, 0x00, 0x80, 0x80, 0x89, 0x89, 0x8a,
    ]);
    let codes = select(vec![
        999_u16, 1000, 1001, 1003, 1005, 1011, 1016, 3000, 4999,
    ]);
    prop_oneof![
        12 => (good, any::<[u8; 4]>(), any_payload())
            .prop_map(|(first, key, payload)| Frame { first, key, payload }),
        1 => (any::<u8>(), any::<[u8; 4]>(), any_payload())
            .prop_map(|(first, key, payload)| Frame { first, key, payload }),
        1 => (codes, "\\PC{0,10}").prop_map(|(code, reason)| close(code, reason)),
    ]
}

/// Frames that end no session: messages in fragments with control frames between them.
fn any_messages() -> impl Strategy<Value = Vec<Frame>> {
    let control = (any::<bool>(), vec(any::<u8>(), 0..20)).prop_map(|(asks, payload)| {
        frame(
            true,
            if asks { Opcode::Ping } else { Opcode::Pong },
            payload,
        )
    });
    let pieces = vec((any::<Index>(), proptest::option::of(control)), 0..6);
    let message = ("\\PC{0,80}", any::<bool>(), any::<[u8; 4]>(), pieces).prop_map(
        |(text, is_text, key, pieces)| {
            let mut rest = text.as_bytes();
            let mut opcode = if is_text {
                Opcode::Text
            } else {
                Opcode::Binary
            };
            let mut frames = Vec::new();
            for (cut, control) in pieces {
                let (piece, later) = rest.split_at(cut.index(rest.len() + 1));
                frames.push(Frame {
                    key,
                    ..frame(false, opcode, piece)
                });
                frames.extend(control);
                opcode = Opcode::Continuation;
                rest = later;
            }
            frames.push(Frame {
                key,
                ..frame(true, opcode, rest)
            });
            frames
        },
    );
    vec(message, 0..6).prop_map(|messages| messages.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_frames_good_or_bad_give_what_the_rfc_says_in_any_cutting(
        frames in vec(any_frame(), 0..10),
        cuts in vec(any::<Index>(), 0..12),
        max_message_size in select(vec![0, 20, 250, 100_000]),
        max_fragments in 0..6_u32,
    ) {
        let limits = Limits { max_message_size, max_fragments };
        let expected = expected(&limits, &frames);
        for role in [Role::Server, Role::Client] {
            let wire = wire_to(role, &frames);
            let events = |cuts: &[usize]| events_as(role, &limits, &wire, cuts);
            prop_assert_eq!(&events(&[]), &expected);
            prop_assert_eq!(&events(&any_cuts(wire.len(), &cuts)), &expected);
            let each_byte: Vec<_> = (0..wire.len()).collect();
            prop_assert_eq!(&events(&each_byte), &expected);
        }
    }

    #[test]
    fn messages_in_any_fragments_arrive_whole_in_any_cutting(
        frames in any_messages(),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let expected = expected(&LIMITS, &frames);
        prop_assert!(!expected.iter().any(|seen| matches!(seen, Seen::Failed(_))));
        for role in [Role::Server, Role::Client] {
            let wire = wire_to(role, &frames);
            let cuts = any_cuts(wire.len(), &cuts);
            prop_assert_eq!(&events_as(role, &LIMITS, &wire, &cuts), &expected);
        }
    }

    #[test]
    fn any_bytes_give_the_same_events_in_any_cutting(
        frames in vec(any_frame(), 0..6),
        spoiled in vec((any::<Index>(), any::<u8>()), 0..3),
        noise in vec(any::<u8>(), 0..30),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let mut wire = wire(&frames);
        for (at, byte) in spoiled {
            if !wire.is_empty() {
                let at = at.index(wire.len());
                wire[at] = byte;
            }
        }
        wire.extend(noise);
        let whole = events(&LIMITS, &wire, &[]);
        prop_assert_eq!(&events(&LIMITS, &wire, &any_cuts(wire.len(), &cuts)), &whole);
        let each_byte: Vec<_> = (0..wire.len()).collect();
        prop_assert_eq!(&events(&LIMITS, &wire, &each_byte), &whole);
    }

    #[test]
    fn after_our_close_only_the_clients_close_or_failure_is_reported(
        frames in vec(any_frame(), 0..10),
        closed_at in any::<Index>(),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let wire = wire(&frames);
        let closed_at = closed_at.index(wire.len() + 1);
        let after_our_close = |cuts: &[usize]| {
            let mut server = Server::new(&LIMITS);
            server.receive(&wire[..closed_at]);
            server.session.drop_messages();
            let before = server.seen.len();
            let mut from = closed_at;
            for &cut in cuts.iter().filter(|&&cut| cut >= closed_at).chain([&wire.len()]) {
                server.receive(&wire[from..cut]);
                from = cut;
            }
            server.seen.split_off(before)
        };
        let whole = after_our_close(&[]);
        prop_assert!(whole.len() <= 1);
        prop_assert!(whole.iter().all(|seen| matches!(seen, Seen::Close(..) | Seen::Failed(_))));
        prop_assert_eq!(after_our_close(&any_cuts(wire.len(), &cuts)), whole);
    }
}

// ---- sizes ----

#[test]
fn messages_of_every_length_of_header_arrive_in_any_pieces_5_2() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
        let payload: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
        let ascii: Vec<u8> = payload.iter().map(|byte| byte & 0x7f).collect();
        let frames = [frame(true, Opcode::Binary, &payload), text(&ascii)];
        let wire = wire(&frames);
        let expected = [
            Seen::Message(Kind::Binary, payload),
            Seen::Message(Kind::Text, ascii),
        ];

        for cut in (0..16)
            .chain(wire.len().saturating_sub(4)..=wire.len())
            .filter(|&cut| cut <= wire.len())
        {
            assert_eq!(
                events(&LIMITS, &wire, &[cut]),
                expected,
                "{len} bytes, cut at {cut}"
            );
        }
        for piece in [1_000, 4_096, 65_536, 524_288] {
            let cuts: Vec<_> = (piece..wire.len()).step_by(piece).collect();
            assert_eq!(
                events(&LIMITS, &wire, &cuts),
                expected,
                "{len} bytes, {piece} at a time"
            );
        }
    }
}

#[test]
fn a_message_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let limits = Limits {
        max_message_size: 1_000,
        max_fragments: 2,
    };
    let whole = wire(&[frame(true, Opcode::Binary, [7; 1_000])]);
    assert_eq!(
        events(&limits, &whole, &[]),
        [Seen::Message(Kind::Binary, vec![7; 1_000])]
    );

    let over = wire(&[frame(true, Opcode::Binary, [7; 1_001])]);
    assert_eq!(
        events(&limits, &over[..8], &[]),
        [Seen::Failed(ProtoError::TooBig)],
        "by its header alone"
    );

    let fragments = wire(&[
        frame(false, Opcode::Binary, [7; 999]),
        frame(true, Opcode::Continuation, [7; 2]),
    ]);
    let headers_end = fragments.len() - 2;
    assert_eq!(
        events(&limits, &fragments[..headers_end], &[]),
        [Seen::Failed(ProtoError::TooBig)],
        "by the second header alone"
    );
}

#[test]
fn what_lies_whole_in_the_input_is_lent_from_there() {
    let limits = Limits {
        max_message_size: 200,
        max_fragments: 1,
    };
    let frames = [
        text("a"),
        frame(true, Opcode::Binary, [1; 200]),
        ping("b"),
        close(1000, "c"),
    ];
    let mut input = wire(&frames);
    let mut session = Session::new(Role::Server, None);
    let mut at = 0;
    for _ in frames {
        let step = session.next(&limits, &mut Scratch::default(), &mut input[at..]);
        at += step.taken;
        assert!(
            matches!(
                step.event,
                Event::Message(_, Payload::Lent(_))
                    | Event::Ping(Payload::Lent(_))
                    | Event::Close(_, Payload::Lent(_))
            ),
            "{:?}",
            step.event
        );
    }
}

#[test]
fn a_frame_masked_or_not_as_its_sender_must_not_fails_the_connection_5_1() {
    let frames = [text("a"), ping("b"), close(1000, "c")];
    for frame in frames {
        for (role, error) in [
            (Role::Server, ProtoError::Unmasked),
            (Role::Client, ProtoError::Masked),
        ] {
            let other = match role {
                Role::Server => Role::Client,
                Role::Client => Role::Server,
            };
            let wire = wire_to(other, std::slice::from_ref(&frame));
            for cuts in [&[][..], &[1], &[2]] {
                let seen = events_as(role, &LIMITS, &wire, cuts);
                assert_eq!(seen.first(), Some(&Seen::Failed(error)));
            }
        }
    }
}

#[test]
fn any_length_over_the_limit_is_refused_before_a_byte_of_it_came() {
    for len in [LIMITS.max_message_size as u64 + 1, 1 << 32, u64::MAX >> 1] {
        let wire = announce(0x82, len);
        assert_eq!(
            events(&LIMITS, &wire, &[]),
            [Seen::Failed(ProtoError::TooBig)]
        );
    }
}

// ---- UTF-8, at once ----

#[test]
fn text_fails_with_its_first_bad_byte_in_the_middle_of_16_mib_8_1() {
    const LEN: usize = 16 << 20;
    let mut payload = "κόσμε – ".repeat(LEN / 14 + 1).into_bytes();
    payload.truncate(LEN);
    let bad_at = LEN / 2 + 1;
    payload[bad_at] = 0xff;
    let wire = wire(&[text(&payload)]);
    let header_len = wire.len() - LEN;

    let mut server = Server::new(&LIMITS);
    let (before, rest) = wire.split_at(header_len + bad_at);
    for piece in before.chunks(100_003) {
        server.receive(piece);
    }
    assert_eq!(server.seen, []);
    server.receive(&rest[..1]);
    assert_eq!(server.seen, [Seen::Failed(ProtoError::NotUtf8)]);
}

#[test]
fn text_fails_with_its_first_bad_byte_in_any_fragment_and_piece_8_1() {
    // Good text, then a code point over U+10FFFF, which its second byte shows.
    let good = "κόσμε".as_bytes();
    let bad = b"\xf4\x90\x80\x80edited";
    for border in 0..=good.len() + 2 {
        let payload = [good, bad].concat();
        let (one, two) = payload.split_at(border);
        let frames = [
            frame(false, Opcode::Text, one),
            frame(true, Opcode::Continuation, two),
        ];
        let wire = wire(&frames);
        let bytes_that_show_it = if border > good.len() + 1 {
            6 + good.len() + 2
        } else {
            12 + good.len() + 2
        };
        let mut server = Server::new(&LIMITS);
        for (index, byte) in wire.iter().enumerate() {
            server.receive(&[*byte]);
            let failed = server.seen == [Seen::Failed(ProtoError::NotUtf8)];
            assert_eq!(
                failed,
                index + 1 >= bytes_that_show_it,
                "border {border}, byte {index}"
            );
        }
    }
}

// ---- what a session holds ----

#[test]
fn between_messages_a_session_holds_nothing() {
    assert!(size_of::<Session>() <= 16);

    let frames = [
        frame(false, Opcode::Text, "ab"),
        ping("p"),
        frame(true, Opcode::Continuation, "c"),
        text("whole"),
    ];
    let wire = wire(&frames);
    let idle_at = [0, wire.len() - 11, wire.len()];
    let mut server = Server::new(&LIMITS);
    for (index, byte) in wire.iter().enumerate() {
        assert_eq!(
            server.session.is_idle(),
            idle_at.contains(&index),
            "before byte {index}"
        );
        server.receive(&[*byte]);
    }
    assert!(server.session.is_idle());
    assert_eq!(server.seen.len(), 3);
}

#[test]
fn an_abandoned_session_gives_back_what_it_holds_and_reads_nothing_more() {
    let mut server = Server::new(&LIMITS);
    server.receive(&wire(&[frame(false, Opcode::Text, "begun")]));
    server.session.abandon(&mut server.scratch);
    assert!(server.session.is_idle());
    server.receive(&wire(&[text("late")]));
    assert_eq!(server.seen, []);
}

#[test]
fn nothing_is_read_after_a_close_or_a_failure_1_4() {
    for (last, seen) in [
        (close(1000, "bye"), Seen::Close(Some(1000), b"bye".to_vec())),
        (
            frame(true, Opcode::Continuation, ""),
            Seen::Failed(ProtoError::LoneContinuation),
        ),
    ] {
        let mut server = Server::new(&LIMITS);
        server.receive(&wire(&[last, text("late")]));
        server.session.drop_messages();
        server.receive(&wire(&[text("later"), close(1001, "")]));
        server.receive(b"\xff\xff\xff");
        assert_eq!(server.seen, [seen]);
        assert!(server.session.is_idle());
    }
}

// ---- after our own close frame ----

#[test]
fn after_our_close_messages_are_read_past_and_the_clients_close_is_found_5_5_1() {
    let late = wire(&[
        frame(
            true,
            Opcode::Continuation,
            b" \xff not UTF-8, but who reads it",
        ),
        ping("p"),
        text("late"),
        frame(false, Opcode::Binary, ""),
        frame(true, Opcode::Pong, ""),
        frame(true, Opcode::Continuation, [0; 300]),
        close(1000, "bye"),
    ]);
    for cut in 0..=late.len() {
        let mut server = Server::new(&LIMITS);
        server.receive(&wire(&[frame(false, Opcode::Text, "begun")]));
        server.session.drop_messages();
        server.receive(&late[..cut]);
        server.receive(&late[cut..]);
        assert_eq!(
            server.seen,
            [Seen::Close(Some(1000), b"bye".to_vec())],
            "cut at {cut}"
        );
    }
}

#[test]
fn after_our_close_a_frame_may_be_of_any_length_but_must_be_one() {
    let mut server = Server::new(&LIMITS);
    server.session.drop_messages();
    server.receive(&announce(0x82, 1 << 40));
    server.receive(&[0; 10_000]);
    assert_eq!(server.seen, []);
    assert!(!server.session.is_idle());

    let cases: [(&str, Vec<u8>, ProtoError); 4] = [
        ("5.1", b"\x81\x00".to_vec(), ProtoError::Unmasked),
        ("5.2", vec![0xf1], ProtoError::ReservedBits),
        (
            "5.4",
            wire(&[frame(false, Opcode::Text, ""), text("")]),
            ProtoError::InterruptedMessage,
        ),
        ("7.4", wire(&[close(1005, "")]), ProtoError::CloseCode(1005)),
    ];
    for (section, wire, error) in cases {
        let mut server = Server::new(&LIMITS);
        server.session.drop_messages();
        server.receive(&wire);
        assert_eq!(server.seen, [Seen::Failed(error)], "{section}");
    }
}
