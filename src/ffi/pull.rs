//! Pulling is for programs in which callbacks from C are slow, dangerous or impossible: the library
//! fills records instead of calling handlers, and calls only `upgrade` and `release`. The library
//! does not learn whether the program's handling of a record fails.

use std::any::Any;
use std::ffi::c_void;
use std::ptr;

use super::callback::{Report, event_number, lend, message_number};
use super::handlers::portal_error;
use super::pointer::place;
use super::server::serve;
use super::status::Outcome;
use super::status::portal_status_value::PORTAL_STATUS_ARGUMENT;
use super::types::{portal_request, portal_server, portal_websocket};
use crate::server::{self, EventKind, Record, RecordBytes, RecordEvent, Records};

/// One event of a websocket, as portal_server_pull fills it in.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct portal_pulled {
    /// Enum portal_event; never UPGRADE. Ignore unknown ones.
    pub event: u32,
    /// MESSAGE: enum portal_message. DISCONNECT: the close code. Else 0.
    pub r#type: u32,
    /// The websocket. After DISCONNECT the id is valid as long as the records.
    pub websocket: portal_websocket,
    /// The `user_data` of the path's current definition.
    pub user_data: *mut c_void,
    /// MESSAGE, PONG: the payload. DISCONNECT: the reason. ERROR: a portal_error. Never NULL.
    pub data: *const c_void,
    /// Bytes in `data`.
    pub len: usize,
    /// CONNECT: the request. Else NULL.
    pub request: *const portal_request,
}

/// sizeof(portal_pulled) in version 0.1.
const MIN_SIZE_BYTES: usize = 16 + 4 * size_of::<usize>();
/// Maximum number of records that one call fills.
const MAX_RECORDS: usize = i32::MAX as usize;

/// HOST dispatch: runs one turn without callbacks. Waits for work and fills records with events.
///
/// What the records point to is valid until the same thread's next pull, poll or run of that
/// server, or until the thread ends, also after the server is closed. Loops whose records were
/// returned stay with the thread until its next such call. What is sent between two pulls is
/// written at the next pull, or at portal_flush. The messages of one call are bounded in bytes, too:
/// what does not fit into 1 MiB for each loop, and one message more, follows in the next. Records
/// count towards MAX_MEMORY until they are returned. A signal interrupts the wait; the call then
/// returns the records filled so far.
///
/// @param server       Any id.
/// @param timeout_ms   Maximum time to wait for work; negative = no limit, 0 = do not wait.
/// @param events       Space for `max` records, aligned as portal_pulled. Written to until the call
///                     returns.
/// @param max          1 to 2^31-1.
/// @param record_size  sizeof(portal_pulled), as your program was compiled, or more when your own
///                     records begin with one; a multiple of its alignment. Bytes that this library
///                     does not know are set to 0.
///
/// @return The number of records filled, or a negative status:
/// @return PORTAL_STATUS_ARGUMENT  NULL, `max` or `record_size` out of range, or the dispatch is
///                                 not HOST.
/// @return PORTAL_STATUS_GONE      The server has ended, or never existed.
/// @return PORTAL_STATUS_BUSY      Inside a callback, or THREADS threads are inside already.
/// @return PORTAL_STATUS_IO        A system call failed.
///
/// @threads  Any thread, not inside a callback.
/// @since    0.1
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn portal_server_pull(
    server: portal_server,
    timeout_ms: i32,
    events: *mut portal_pulled,
    max: usize,
    record_size: usize,
) -> i32 {
    // SAFETY: room for `max` records of `record_size` bytes, or NULL, as the comment requires.
    let mut records = unsafe { Filling::new(events, max, record_size) };
    serve(server, timeout_ms, |call| {
        let records = records.as_mut().map_err(|status| *status)?;
        Ok(server::pull(call, records)?)
    })
}

/// The caller's records, filled from the front.
struct Filling {
    /// The next record to fill.
    next: *mut u8,
    room: usize,
    record_size: usize,
}

impl Filling {
    /// # Safety
    ///
    /// `events` is NULL, or writable for `max` times `record_size` bytes while the value is used.
    unsafe fn new(events: *mut portal_pulled, max: usize, record_size: usize) -> Outcome<Self> {
        let events = place(events)?;
        let fits = max
            .checked_mul(record_size)
            .is_some_and(|size| isize::try_from(size).is_ok());
        if !(1..=MAX_RECORDS).contains(&max)
            || record_size < MIN_SIZE_BYTES
            || !record_size.is_multiple_of(align_of::<portal_pulled>())
            || !fits
        {
            return Err(PORTAL_STATUS_ARGUMENT);
        }
        Ok(Self {
            next: events.cast(),
            room: max,
            record_size,
        })
    }

    /// Writes the next record, and zeros behind the fields that are known here.
    fn write(&mut self, record: portal_pulled) {
        const KNOWN: usize = size_of::<portal_pulled>();

        assert!(self.room > 0, "no record is left");
        // SAFETY: there is room for a record here, aligned as the first one is.
        unsafe { self.next.cast::<portal_pulled>().write(record) };
        // SAFETY: a record is `record_size` bytes, of which `KNOWN` are written.
        let newer = unsafe { self.next.add(KNOWN) };
        // SAFETY: these are the record's other bytes.
        unsafe { newer.write_bytes(0, self.record_size - KNOWN) };
        // SAFETY: at most one past the last record.
        self.next = unsafe { self.next.add(self.record_size) };
        self.room -= 1;
    }
}

impl Records for Filling {
    fn room(&self) -> usize {
        self.room
    }

    fn push(&mut self, record: Record<'_>) -> Option<Box<dyn Any + Send>> {
        let nothing = lend(&[]);
        let lent = |kept: RecordBytes| (kept.start.cast(), kept.len);
        let mut request = ptr::null();
        let mut kept: Option<Box<dyn Any + Send>> = None;
        let (event, r#type, (data, len)) = match record.event {
            RecordEvent::Connect(of) => {
                request = of.cast();
                (EventKind::Connect, 0, nothing)
            }
            RecordEvent::Message(kind, payload) => {
                (EventKind::Message, message_number(kind), lent(payload))
            }
            RecordEvent::Pong(payload) => (EventKind::Pong, 0, lent(payload)),
            RecordEvent::Drain => (EventKind::Drain, 0, nothing),
            RecordEvent::Error(failure, request) => {
                let report = Report::new(failure, request);
                let error = report.error();
                kept = Some(Box::new(report));
                (
                    EventKind::Error,
                    0,
                    (error.cast(), size_of::<portal_error>()),
                )
            }
            RecordEvent::Disconnect(code, reason) => {
                (EventKind::Disconnect, u32::from(code), lent(reason))
            }
        };
        self.write(portal_pulled {
            event: event_number(event),
            r#type,
            websocket: record.websocket,
            user_data: record.user_data,
            data,
            len,
            request,
        });
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;
    use std::slice;
    use std::sync::Arc;

    use super::super::callback::Handlers;
    use super::super::handlers::portal_handlers;
    use super::super::request::portal_request_target;
    use crate::proto::{Kind, Payload};
    use crate::server::{Batch, Event, Failure, FailureKind, Paths, Puller, Request, Target};

    const RECORD: portal_pulled = portal_pulled {
        event: u32::MAX,
        r#type: u32::MAX,
        websocket: u64::MAX,
        user_data: ptr::null_mut(),
        data: ptr::null(),
        len: usize::MAX,
        request: ptr::null(),
    };

    fn fill(records: &mut [portal_pulled], max: usize, record_size: usize) -> Outcome<Filling> {
        // SAFETY: the tests pass at most the size of their array, or a size that is refused.
        unsafe { Filling::new(records.as_mut_ptr(), max, record_size) }
    }

    fn record(websocket: u64, event: RecordEvent<'_>) -> Record<'_> {
        Record {
            websocket,
            user_data: ptr::without_provenance_mut(9),
            event,
        }
    }

    fn data(record: &portal_pulled) -> &[u8] {
        assert!(!record.data.is_null());
        // SAFETY: the data that these tests pushed is still valid.
        unsafe { slice::from_raw_parts(record.data.cast(), record.len) }
    }

    fn kept(terminated: &[u8]) -> RecordBytes {
        RecordBytes {
            start: terminated.as_ptr(),
            len: terminated.len() - 1,
        }
    }

    fn failure() -> Failure {
        Failure {
            request: None,
            kind: FailureKind::Protocol,
            event: EventKind::Message,
            code: 0,
            close_code: 1002,
            message: c"masked".into(),
        }
    }

    #[test]
    fn room_that_cannot_be_is_an_argument() {
        let mut records = [RECORD; 2];
        let refused = Some(PORTAL_STATUS_ARGUMENT);
        for max in [0, MAX_RECORDS + 1, usize::MAX] {
            assert_eq!(
                fill(&mut records, max, MIN_SIZE_BYTES).err(),
                refused,
                "{max}"
            );
        }
        for size in [
            0,
            MIN_SIZE_BYTES - 8,
            MIN_SIZE_BYTES + 4,
            MIN_SIZE_BYTES + 1,
            usize::MAX,
            usize::MAX - 7,
        ] {
            assert_eq!(fill(&mut records, 2, size).err(), refused, "{size}");
        }
        let misaligned = records.as_mut_ptr().wrapping_byte_add(4);
        for place in [ptr::null_mut(), misaligned] {
            // SAFETY: the pointer is refused.
            let filling = unsafe { Filling::new(place, 1, MIN_SIZE_BYTES) };
            assert_eq!(filling.err(), refused);
        }
        assert!(fill(&mut records, 2, MIN_SIZE_BYTES).is_ok_and(|filling| filling.room() == 2));
    }

    #[test]
    fn each_event_becomes_a_record() {
        let request = Request::example();
        let failure = failure();
        let mut records = [RECORD; 7];
        let mut filling = fill(&mut records, 6, MIN_SIZE_BYTES).expect("room for six");
        let mut push = |id, what| filling.push(record(id, what));
        assert!(push(1, RecordEvent::Connect(&raw const *request)).is_none());
        assert!(push(2, RecordEvent::Message(Kind::Text, kept(b"hi\0"))).is_none());
        assert!(push(3, RecordEvent::Pong(kept(b"\0"))).is_none());
        assert!(push(4, RecordEvent::Drain).is_none());
        let report = push(5, RecordEvent::Error(&failure, ptr::null())).expect("an error to keep");
        assert!(push(6, RecordEvent::Disconnect(1001, kept(b"bye\0"))).is_none());
        assert_eq!(filling.room(), 0);
        drop(failure);

        let heads = records[..6]
            .iter()
            .map(|record| (record.event, record.r#type, record.websocket));
        let expected = [
            (2, 0, 1),
            (3, 1, 2),
            (6, 0, 3),
            (5, 0, 4),
            (7, 0, 5),
            (4, 1001, 6),
        ];
        assert!(heads.eq(expected), "{records:?}");
        assert_eq!(records[0].request, (&raw const *request).cast());
        assert!(records[1..6].iter().all(|record| record.request.is_null()));
        assert!(
            records[..6]
                .iter()
                .all(|record| record.user_data.addr() == 9)
        );
        for (index, expected) in [(0, &b""[..]), (1, b"hi"), (2, b""), (3, b""), (5, b"bye")] {
            assert_eq!(data(&records[index]), expected, "{index}");
        }

        assert_eq!(records[4].len, size_of::<portal_error>());
        // SAFETY: the record's error is kept.
        let error = unsafe { records[4].data.cast::<portal_error>().read() };
        assert_eq!(
            (error.size, error.status, error.close_code),
            (size_of::<portal_error>(), -13, 1002)
        );
        // SAFETY: so is its message.
        assert_eq!(unsafe { CStr::from_ptr(error.message) }, c"masked");
        drop(report);
        assert_eq!(
            records[6].len, RECORD.len,
            "memory behind the records is not written to"
        );
    }

    #[test]
    fn larger_records_keep_their_stride_and_end_in_zeros() {
        const STRIDE: usize = MIN_SIZE_BYTES + 16;
        let mut memory = [u64::MAX; 3 * STRIDE / 8];
        let records = memory.as_mut_ptr().cast();
        // SAFETY: memory for three records, of which two may be filled.
        let mut filling = unsafe { Filling::new(records, 2, STRIDE) }.expect("room for two");
        filling.push(record(1, RecordEvent::Drain));
        filling.push(record(2, RecordEvent::Drain));

        let (known, all) = (MIN_SIZE_BYTES / 8, STRIDE / 8);
        for record in memory.chunks(all).take(2) {
            assert_eq!(record[0], u64::from(event_number(EventKind::Drain)));
            assert!(record[known..].iter().all(|&word| word == 0), "{record:?}");
        }
        assert_eq!((memory[1], memory[all + 1]), (1, 2));
        assert!(memory[2 * all..].iter().all(|&word| word == u64::MAX));
    }

    /// The paths of the process, and the number of one of them.
    fn some_path() -> (Arc<Paths>, u32) {
        // SAFETY: all of its functions may be absent.
        let nothing: portal_handlers = unsafe { std::mem::zeroed() };
        let handlers =
            Handlers::new("/pulled", nothing, ptr::null_mut()).expect("memory for a path");
        server::define_path("/pulled", Arc::new(handlers)).expect("a good path");
        let paths = Paths::current();
        let number = (0..).find(|&number| paths.application(number).is_some());
        (paths, number.expect("a path"))
    }

    /// Miri checks the pointers: `make miri`.
    #[test]
    fn what_records_point_to_stays_whatever_is_moved_and_borrowed() {
        let (paths, number) = some_path();
        let mut records = [RECORD; 6];
        let mut filling = fill(&mut records, 6, MIN_SIZE_BYTES).expect("room for six");
        let mut arena = b"one\0two\0".to_vec();
        let mut puller = Puller::new(&mut filling);
        puller.lend_from(&mut arena);
        let target = Target::example(number);
        let record = |puller: &mut Puller<'_>, event: Event<'_>| {
            let recorded = puller.record(&paths, &target, event);
            recorded.expect("memory");
        };
        record(&mut puller, Event::Connect(Request::example()));
        // As in a loop: the rest of the input is borrowed again for each message.
        for at in [0, 4] {
            let input = &mut arena[at..];
            input[0].make_ascii_uppercase();
            let payload = Payload::Lent(&input[..4]);
            record(&mut puller, Event::Message(Kind::Text, payload));
        }
        let whole = Payload::Whole(b"three\0".to_vec());
        record(&mut puller, Event::Pong(whole));
        record(&mut puller, Event::Failure(Box::new(failure())));
        record(&mut puller, Event::Disconnect(1002, c"bye".into()));
        puller.batch.arena = Some(arena);
        let Puller { batch, count, .. } = puller;
        let batch: Box<Batch> = Box::new(batch);
        let held = vec![batch];

        assert_eq!((count, filling.room()), (6, 0));
        for (index, expected) in [(1, &b"One"[..]), (2, b"Two"), (3, b"three"), (5, b"bye")] {
            assert_eq!(data(&records[index]), expected, "{index}");
        }
        // SAFETY: the batch keeps the request.
        let target = unsafe { CStr::from_ptr(portal_request_target(records[0].request)) };
        assert_eq!(target, c"/a%20b?q");
        // SAFETY: and the error.
        let error = unsafe { records[4].data.cast::<portal_error>().read() };
        // SAFETY: and its message.
        assert_eq!(unsafe { CStr::from_ptr(error.message) }, c"masked");
        drop(held);
    }
}
