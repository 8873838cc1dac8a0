//! Connections of ours: the request, the server's answer, and what follows an attempt.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::net::{Peer, Token};
use crate::proto::{
    self, AnswerError, ClientRequest, DeflateOffer, ResponseHead, Role, Session, Url,
};
use crate::server::dispatch::sink::Sink;
use crate::server::error::ServerResult;
use crate::server::event::{Event, Target};
use crate::server::event_loop::core::connecting::connect_failure;
use crate::server::event_loop::{Loop, Turn};
use crate::server::handler_calls::{self, Verdict};
use crate::server::handshake::incoming_request::HeadError;
use crate::server::handshake::paths;
use crate::server::handshake::request::{Head, RequestParts};
use crate::server::options::Deflate;
use crate::server::slot::State;
use crate::server::websocket::client_queue::ClientEvent;
use crate::server::websocket::connections::{Conn, Phase};
use crate::server::websocket::outgoing::Destination;
use crate::server::{Failure, FailureKind, Request};

/// So much of the body of a rejection is reported.
const MAX_REPORTED_BODY_BYTES: usize = 512;

impl Loop {
    /// There is a socket to the server: lets `upgrade` see the request, and sends it.
    pub(super) fn prepare_request(&self, turn: &mut Turn<'_, '_>, target: Target, peer: Peer) {
        let Target { token, .. } = target;
        let Some(destination) = self.destination(token, Phase::Answering) else {
            return;
        };
        let Ok(request) = request_of(&destination, peer, None, None) else {
            let failure = connect_failure(FailureKind::Memory, 0, "out of memory".to_owned());
            return self.core.borrow_mut().fail_attempt(token, failure);
        };
        if matches!(turn.sink, Sink::ClientThread) {
            if self.start_own_thread(target, peer) {
                let mut core = self.core.borrow_mut();
                let conn = core.conns.entry_mut(token);
                conn.phase = Phase::Deciding;
                if let Some(queue) = conn.client_queue() {
                    queue.push(ClientEvent::Upgrade(request));
                }
            }
            return;
        }
        turn.paths.renew();
        let Some(application) = turn.paths.application(target.path).map(Arc::clone) else {
            return;
        };
        let verdict = handler_calls::upgrade_only(&*application, target.websocket, &request);
        self.send_request(token, verdict, &request);
    }

    /// Sends the request as `upgrade` has decided.
    pub(super) fn send_request(&self, token: Token, verdict: Verdict, request: &Request) {
        let mut core = self.core.borrow_mut();
        if core.is_late_verdict(token) {
            // Its attempt has ended; a refusal is for good all the same.
            if verdict != Verdict::Accept {
                core.give_up(token);
            }
            return;
        }
        let Some(conn) = core.conns.get_mut(token) else {
            return;
        };
        if !matches!(conn.phase, Phase::Deciding | Phase::Answering) {
            return;
        }
        conn.phase = Phase::Answering;
        if verdict != Verdict::Accept {
            return core.give_up(token);
        }
        let Some(outgoing) = core.outgoing(token) else {
            return;
        };
        let (destination, nonce) = (Arc::clone(&outgoing.destination), outgoing.nonce);
        let mut headers = request.take_extra_headers();
        let names_it = |(name, _): &(String, String)| name.eq_ignore_ascii_case("Authorization");
        if let Some(authorization) = &destination.url.authorization
            && !headers.iter().any(names_it)
        {
            headers.push(("Authorization".to_owned(), authorization.clone()));
        }
        let Url {
            target, authority, ..
        } = &destination.url;
        let request = ClientRequest {
            target,
            authority,
            subprotocols: &destination.subprotocols,
            deflate: offer(&destination),
            headers: &headers,
        };
        core.queue_response(proto::max_request_len(&request), token, |out| {
            proto::write_request(out, &request, nonce);
        });
        core.reconsider_backlog(token);
    }

    /// Reads the server's answer, and acts on it when it is complete. Returns how much of the input was consumed.
    pub(super) fn read_answer(
        &self,
        turn: &mut Turn<'_, '_>,
        token: Token,
        input: &mut [u8],
    ) -> usize {
        let Some(destination) = self.destination(token, Phase::Answering) else {
            return input.len();
        };
        let (head, end, consumed, peer) = {
            let mut core = self.core.borrow_mut();
            let extra = core.conns.entry_mut(token).extra();
            let Some(incoming) = extra.incoming_request.as_mut() else {
                return input.len();
            };
            let earlier = incoming.head.len();
            let end = match incoming.read(input, destination.max_header_size) {
                Ok(None) => return input.len(),
                Ok(Some(end)) => end,
                Err(error) => {
                    let error = answer_error(&error, &incoming.head, destination.max_header_size);
                    core.fail_attempt(token, protocol_failure(error));
                    return input.len();
                }
            };
            let head = match earlier {
                0 => input[..end].to_vec(),
                _ => std::mem::take(&mut incoming.head),
            };
            let consumed = end - earlier;
            (head, end, consumed, incoming.peer)
        };
        let response = match proto::parse_response(trim_head(&head[..end])) {
            Ok(response) => response,
            Err(error) => {
                self.core
                    .borrow_mut()
                    .fail_attempt(token, protocol_failure(error));
                return input.len();
            }
        };
        match response.status {
            101 => {
                self.open(turn, token, peer, &destination, &response);
                consumed
            }
            100..200 => {
                self.core.borrow_mut().await_next_answer(token);
                consumed
            }
            _ => {
                self.rejected(token, peer, &destination, &response, &input[consumed..]);
                input.len()
            }
        }
    }

    /// The server has switched protocols: from now on the websocket is open, if its answer is to our request.
    fn open(
        &self,
        turn: &mut Turn<'_, '_>,
        token: Token,
        peer: Peer,
        destination: &Destination,
        response: &ResponseHead<'_>,
    ) {
        let mut core = self.core.borrow_mut();
        let Some(nonce) = core.outgoing(token).map(|outgoing| outgoing.nonce) else {
            return;
        };
        let offered = &destination.subprotocols;
        let answer = match proto::check_answer(response, nonce, offered, offer(destination)) {
            Ok(answer) => answer,
            Err(error) => return core.fail_attempt(token, protocol_failure(error)),
        };
        let request = request_of(destination, peer, Some(response), answer.subprotocol);
        let Ok(mut request) = request else {
            let failure = connect_failure(FailureKind::Memory, 0, "out of memory".to_owned());
            return core.fail_attempt(token, failure);
        };
        request.set_tls(core.poller.take_tls_facts(token));
        request.seal();
        let (now, instant) = (core.clock.now(), core.poller.now());
        let slot = core.conns.slot(token.index);
        // Fails if another thread has closed it; its mail is under way.
        if slot.advance(token.generation, State::Open).is_err() {
            return core.give_up(token);
        }
        if let Some(outgoing) = core.outgoing(token) {
            outgoing.opened = Some(instant);
        }
        let metrics = &self.server.metrics;
        metrics.connections_total.fetch_add(1, Ordering::Relaxed);
        metrics.open.fetch_add(1, Ordering::Relaxed);
        log::debug!("{}: connected to {:?}", core.name(token), request.path());
        let conn = core.conns.entry_mut(token);
        conn.connected = true;
        conn.phase = Phase::Open;
        conn.last_received_tick = now;
        conn.phase_started_tick = now;
        conn.extra().incoming_request = None;
        conn.session = Session::new(Role::Client, answer.agreement);
        conn.drop_idle_extra();
        if core.is_closing() {
            core.close_with_server(token);
        }
        drop(core);
        if let Some(target) = self.target(token) {
            self.deliver_event(turn, target, Event::Connect(request));
        }
    }

    /// The server has answered with another status.
    fn rejected(
        &self,
        token: Token,
        peer: Peer,
        destination: &Destination,
        response: &ResponseHead<'_>,
        body: &[u8],
    ) {
        let body = &body[..body.len().min(MAX_REPORTED_BODY_BYTES)];
        let body = String::from_utf8_lossy(body);
        let body = body.replace(|sign: char| sign.is_control(), " ");
        let ResponseHead { status, reason, .. } = response;
        let message = match body.trim() {
            "" => format!("the server answered {status} {reason}"),
            body => format!("the server answered {status} {reason}: {body}"),
        };
        let mut failure = connect_failure(FailureKind::Rejected, i32::from(*status), message);
        let request = request_of(destination, peer, Some(response), None);
        failure.request = request.inspect(|request| request.seal()).ok();
        self.core.borrow_mut().fail_attempt(token, failure);
    }

    /// A connection of ours has ended: tells the application, and lets the next attempt follow or forgets it.
    pub(super) fn outgoing_ended(&self, turn: &mut Turn<'_, '_>, target: Target) {
        let Target { token, slot, .. } = target;
        let (connected, failure, may_follow) = {
            let mut core = self.core.borrow_mut();
            let is_closing = core.is_closing();
            let Some(conn) = core.conns.get_mut(token) else {
                return;
            };
            let connected = std::mem::take(&mut conn.connected);
            let was_done = conn
                .extra
                .as_ref()
                .is_some_and(|extra| extra.close_status.received == Some(1000));
            let Some(outgoing) = core.outgoing(token) else {
                return;
            };
            outgoing.is_last |= is_closing || was_done || slot.is_closing_locally(token.generation);
            let failure = outgoing.failure.take();
            let may_follow = !outgoing.is_last && outgoing.destination.reconnect > 0;
            (connected, failure, may_follow)
        };
        let status = connected.then(|| self.close_status(token));
        let may_follow = match may_follow {
            true => slot.restart(token.generation).is_ok(),
            false => {
                let _ = slot.advance(token.generation, State::Closed);
                false
            }
        };
        if let Some((code, reason)) = status {
            self.deliver_event(turn, target, Event::Disconnect(code, reason));
        } else if let Some(failure) = failure {
            self.report_failed_attempt(turn, target, failure);
        }
        let mut core = self.core.borrow_mut();
        if may_follow && !slot.is_closing_locally(token.generation) && !core.is_closing() {
            core.reset_outgoing(token);
            if core.wait_for_attempt(token) {
                return;
            }
        }
        drop(core);
        let _ = slot.advance(token.generation, State::Closed);
        self.release_outgoing(turn, target);
    }

    fn report_failed_attempt(
        &self,
        turn: &mut Turn<'_, '_>,
        target: Target,
        failure: Box<Failure>,
    ) {
        if matches!(turn.sink, Sink::ClientThread) && !self.start_own_thread(target, Peer::Unix) {
            return;
        }
        self.deliver_event(turn, target, Event::Failure(failure));
    }

    /// Releases a connection of ours after its last event.
    fn release_outgoing(&self, turn: &mut Turn<'_, '_>, target: Target) {
        let Target { token, path, .. } = target;
        let mut core = self.core.borrow_mut();
        core.forget_outgoing(token);
        if let Some(queue) = core.conns.get(token).and_then(|conn| conn.client_queue()) {
            // The thread leaves the path after its last event, and its end frees the rest.
            return queue.push(ClientEvent::End);
        }
        match turn.sink.batch() {
            Some(batch) => batch.ended.push(token),
            None => core.free(token),
        }
        drop(core);
        paths::leave(path);
    }

    /// Starts the thread of a connection, unless it has one. Returns false when there can be none.
    fn start_own_thread(&self, target: Target, peer: Peer) -> bool {
        let has_one = |conn: &Conn| conn.client_queue().is_some();
        if self
            .core
            .borrow()
            .conns
            .get(target.token)
            .is_some_and(has_one)
        {
            return true;
        }
        match self.start_client(target, peer) {
            Ok(queue) => {
                let mut core = self.core.borrow_mut();
                core.conns.entry_mut(target.token).extra().client_queue = Some(queue);
                true
            }
            Err(error) => {
                let mut core = self.core.borrow_mut();
                log::error!(
                    "{}: cannot start its thread: {error}",
                    core.name(target.token)
                );
                core.give_up(target.token);
                false
            }
        }
    }

    /// Returns where a connection of ours leads, if it is in this phase.
    fn destination(&self, token: Token, phase: Phase) -> Option<Arc<Destination>> {
        let mut core = self.core.borrow_mut();
        core.conns.get(token).filter(|conn| conn.phase == phase)?;
        let outgoing = core.outgoing(token)?;
        Some(Arc::clone(&outgoing.destination))
    }
}

fn offer(destination: &Destination) -> Option<DeflateOffer> {
    match destination.deflate {
        Deflate::Off => None,
        Deflate::WithoutTakeover => Some(DeflateOffer::WithoutTakeover),
        Deflate::WithTakeover => Some(DeflateOffer::WithTakeover),
    }
}

/// Returns our request as the application sees it, with the headers of the server's answer once there is one.
fn request_of(
    destination: &Destination,
    peer: Peer,
    answer: Option<&ResponseHead<'_>>,
    chosen: Option<usize>,
) -> ServerResult<Box<Request>> {
    Request::new(&RequestParts {
        head: Head::of_ours(&destination.url, answer),
        role: Role::Client,
        peer,
        params: &[],
        offered: &destination.subprotocols,
        chosen,
        deflate: destination.deflate,
    })
}

fn protocol_failure(error: AnswerError) -> Failure {
    let kind = match error {
        AnswerError::OutOfMemory => FailureKind::Memory,
        _ => FailureKind::Protocol,
    };
    connect_failure(kind, 0, error.to_string())
}

/// Returns what is wrong with the head of an answer.
fn answer_error(error: &HeadError, head: &[u8], max_header_size: usize) -> AnswerError {
    match error {
        HeadError::Memory => AnswerError::OutOfMemory,
        HeadError::Tls => AnswerError::NotHttp,
        HeadError::Refused(_) if head.len() >= max_header_size => AnswerError::TooLarge,
        HeadError::Refused(refusal) if refusal.status == 431 => AnswerError::TooLarge,
        HeadError::Refused(_) if !head.is_empty() => AnswerError::Malformed,
        HeadError::Refused(_) => AnswerError::NotHttp,
    }
}

/// Returns a head without the empty lines before it.
fn trim_head(head: &[u8]) -> &[u8] {
    let mut head = head;
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    head
}
