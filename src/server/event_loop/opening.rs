//! The opening handshake: from the request to `connect`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::net::{Peer, Token, memory};
use crate::proto::{self, Agreement, Offer, Refusal, RequestHead, Role, Session};
use crate::server::dispatch::sink::Sink;
use crate::server::event::{Event, Target};
use crate::server::event_loop::core::Pending;
use crate::server::event_loop::{Loop, Turn};
use crate::server::handler_calls::{self, Verdict};
use crate::server::handshake::page::{Page, PageRequest};
use crate::server::handshake::paths::{Entered, Found, PathGuard};
use crate::server::handshake::request::{Head, RequestParts};
use crate::server::log::ConnectionName;
use crate::server::options::Deflate;
use crate::server::shared::Stage;
use crate::server::slot::State;
use crate::server::websocket::client_queue::{ClientEvent, ClientQueue};
use crate::server::websocket::client_thread::Client;
use crate::server::websocket::connections::{Conn, Phase};
use crate::server::{EventKind, Failure, Request, ServerError, scrape};

/// Memory for copies of a longer request is promised.
const MIN_PROMISED_HEAD_BYTES: usize = 64 << 10;

/// Maximum number of copies of its target.
const MAX_HEAD_COPIES: usize = 4;

/// What the response to a request depends on.
enum Route {
    Page(Arc<Page>, PageRequest),
    /// `upgrade` decides.
    Upgrade(PathGuard, Box<Request>, Offer),
}

impl Loop {
    /// Reads a request, and acts on it when it is complete. Returns how much of the input was consumed.
    pub(crate) fn read_request(
        &self,
        turn: &mut Turn<'_, '_>,
        token: Token,
        input: &mut [u8],
    ) -> Option<usize> {
        let mut core = self.core.borrow_mut();
        let Some(request) = core.conns.get_mut(token)?.extra().incoming_request.as_mut() else {
            return Some(input.len());
        };
        let earlier = request.head.len();
        let mut buffered;
        let (head, peer) = match request.read(input, self.server.options.max_header_size) {
            Ok(None) => {
                // The time for the next request after a page counts from its first bytes.
                if earlier == 0 && request.has_served_page {
                    let now = core.clock.now();
                    core.conns.entry_mut(token).phase_started_tick = now;
                }
                return Some(input.len());
            }
            Ok(Some(end)) => {
                buffered = std::mem::take(&mut request.head);
                let all = if earlier > 0 {
                    &mut buffered
                } else {
                    &mut *input
                };
                (&mut all[..end], request.peer)
            }
            Err(error) => {
                core.fail_request(token, error);
                return Some(input.len());
            }
        };
        drop(core);
        let consumed = head.len() - earlier;
        let blocks = if head.len() > MIN_PROMISED_HEAD_BYTES {
            MAX_HEAD_COPIES
        } else {
            0
        };
        let blocks = std::iter::repeat_n(head.len() + 64, blocks);
        let routed = memory::promise(blocks, || match proto::parse_head(head) {
            Ok(request) => {
                let admitted = self.admit_client(token, peer, &request);
                let routed = admitted.and_then(|client| self.route(&request, &client));
                (routed, request.method == "HEAD")
            }
            Err(refusal) => (Err(refusal), false),
        });
        let (route, head_only) = routed.unwrap_or((Err(Refusal::unavailable()), false));
        match route {
            Err(refusal) => self.core.borrow_mut().refuse(token, &refusal, head_only),
            Ok(Route::Page(page, request)) => {
                // A client that pipelines requests gets only this response.
                let is_last = consumed == input.len() && !self.core.borrow_mut().has_unsent(token);
                let is_accepting = self.server.stage() == Stage::Accepting;
                let may_follow = is_last && is_accepting && self.server.options.page_keep_alive > 0;
                let request = PageRequest {
                    keep_alive: request.keep_alive && may_follow,
                    ..request
                };
                self.send_page(token, &page, request);
            }
            Ok(Route::Upgrade(path, request, offer)) => {
                self.call_upgrade(turn, token, path, request, &offer)
            }
        }
        Some(consumed)
    }

    fn send_page(&self, token: Token, page: &Page, request: PageRequest) {
        let server_header = &self.server.options.server_header;
        let mut core = self.core.borrow_mut();
        let mut written = Ok(());
        let write = |out: &mut Vec<u8>| written = page.write(out, request, server_header);
        if request.keep_alive {
            core.respond_and_continue(token, write);
        } else {
            // A page reserves its own memory.
            core.respond(0, token, write);
        }
        if written.is_err() {
            core.end(token, Some(io::ErrorKind::OutOfMemory.into()));
        }
    }

    /// Returns the client of a request, which a trusted proxy may have named, and counts the connection for it.
    #[inline]
    fn admit_client(
        &self,
        token: Token,
        peer: Peer,
        request: &RequestHead<'_>,
    ) -> Result<Peer, Refusal> {
        let proxies = &self.server.admission.trusted_proxies;
        if proxies.is_empty() || !proxies.trusts(&peer) {
            return Ok(peer);
        }
        let client = proxies.client(peer, request);
        let client = client.map_err(|_| Refusal::unavailable())?;
        self.core.borrow_mut().change_client(token, client)?;
        Ok(client)
    }

    /// Decides on the response to a request, before the application does.
    fn route(&self, request: &RequestHead<'_>, peer: &Peer) -> Result<Route, Refusal> {
        if let Some(metrics) = self.metrics(request)? {
            let request = metrics.request_of(request);
            return Ok(Route::Page(Arc::new(metrics), request));
        }
        let found = self.server.paths.enter(request.route());
        let Found { entered, page } = found.map_err(|_| Refusal::unavailable())?;
        if entered.is_none() && page.is_none() {
            return Err(Refusal::not_found());
        }
        check_method(request.method, page.is_some())?;
        refuse_body(request)?;
        if let Some(page) = page
            && (request.method == "HEAD" || !request.wants_websocket())
        {
            let request = page.request_of(request);
            return Ok(Route::Page(page, request));
        }
        let entered = entered.ok_or_else(Refusal::not_found)?;
        let offer = proto::check(request)?;
        if !self.is_allowed_origin(request) {
            return Err(Refusal::forbidden_origin());
        }
        let request = self.prepare(request, peer, &entered, &offer);
        let request = request.map_err(|_| Refusal::unavailable())?;
        Ok(Route::Upgrade(entered.path, request, offer))
    }

    /// The metrics of all servers, if they are requested.
    fn metrics(&self, request: &RequestHead<'_>) -> Result<Option<Page>, Refusal> {
        let path = &self.server.options.metrics_path;
        if path.is_empty() || request.wants_websocket() || request.path() != path.as_str() {
            return Ok(None);
        }
        check_method(request.method, true)?;
        refuse_body(request)?;
        let is_open_metrics = request.accepts("application/openmetrics-text");
        let content_type = match is_open_metrics {
            true => scrape::OPEN_METRICS,
            false => scrape::TEXT,
        };
        let metrics = scrape::metrics(is_open_metrics).map_err(|_| Refusal::unavailable())?;
        let page = Page::new(content_type, &metrics).map_err(|_| Refusal::unavailable())?;
        Ok(Some(page))
    }

    fn is_allowed_origin(&self, request: &RequestHead<'_>) -> bool {
        let allowed = &self.server.options.origins;
        let is_one = |origin: &[u8]| {
            allowed
                .iter()
                .any(|one| proto::allows_origin(one.as_bytes(), origin))
        };
        allowed.is_empty() || request.origin().is_none_or(is_one)
    }

    fn prepare(
        &self,
        request: &RequestHead<'_>,
        peer: &Peer,
        entered: &Entered,
        offer: &Offer,
    ) -> Result<Box<Request>, ServerError> {
        let wanted = &self.server.options.subprotocols;
        let chosen = wanted.iter().find_map(|name| {
            offer
                .subprotocols
                .iter()
                .position(|offered| offered == name)
        });
        let parts = RequestParts {
            head: Head::from(request),
            role: Role::Server,
            peer: *peer,
            params: &entered.params,
            offered: &offer.subprotocols,
            chosen,
            deflate: self.server.options.deflate,
        };
        Request::new(&parts)
    }

    /// Calls `upgrade`, and applies its decision.
    fn call_upgrade(
        &self,
        turn: &mut Turn<'_, '_>,
        token: Token,
        path: PathGuard,
        mut request: Box<Request>,
        offer: &Offer,
    ) {
        {
            let mut core = self.core.borrow_mut();
            request.set_tls(core.poller.take_tls_facts(token));
            let Some(conn) = core.conns.get_mut(token) else {
                return;
            };
            conn.path = path.stay();
            conn.counted.for_path = true;
            let extra = conn.extra();
            extra.incoming_request = None;
            extra.accept = Some(offer.accept);
            extra.agreement = self.agree(offer);
        }
        let Some(target) = self.target(token) else {
            return;
        };
        if matches!(turn.sink, Sink::ClientThread) {
            return self.call_upgrade_on_own_thread(target, request);
        }
        turn.paths.renew();
        let Some(application) = turn.paths.application(target.path).map(Arc::clone) else {
            return;
        };
        let verdict = match turn.sink {
            Sink::Pull(_) => {
                let verdict =
                    handler_calls::upgrade_only(&*application, target.websocket, &request);
                if let Verdict::Failed(code) = verdict {
                    let failure = Box::new(Failure::of_handler(EventKind::Upgrade, code));
                    self.deliver_event(turn, target, Event::Failure(failure));
                }
                verdict
            }
            _ => handler_calls::upgrade(&*application, target.websocket, &request),
        };
        self.apply_decision(turn, token, verdict, request);
    }

    /// Negotiates compression.
    fn agree(&self, offer: &Offer) -> Option<Agreement> {
        match self.server.options.deflate {
            Deflate::Off => None,
            Deflate::WithoutTakeover => proto::agree(&offer.extensions, false),
            Deflate::WithTakeover => proto::agree(&offer.extensions, true),
        }
    }

    /// Starts a client's own thread.
    pub(super) fn start_client(&self, target: Target, peer: Peer) -> io::Result<ClientQueue> {
        let client = Client {
            target,
            mailbox: self.mailbox,
            metrics: Arc::clone(&self.server.metrics),
            name: ConnectionName {
                websocket: target.websocket,
                peer: Some(peer),
            },
        };
        client.start()
    }

    fn call_upgrade_on_own_thread(&self, target: Target, request: Box<Request>) {
        let token = target.token;
        let started = self.start_client(target, request.peer_address());
        let mut core = self.core.borrow_mut();
        match started {
            Ok(queue) => {
                queue.push(ClientEvent::Upgrade(request));
                let Some(conn) = core.conns.get_mut(token) else {
                    return;
                };
                conn.extra().client_queue = Some(queue);
                conn.phase = Phase::Deciding;
            }
            Err(error) => {
                log::error!("{}: cannot start its thread: {error}", core.name(token));
                core.refuse(token, &Refusal::unavailable(), false);
            }
        }
    }

    /// Applies the decision of `upgrade`.
    pub(crate) fn apply_decision(
        &self,
        turn: &mut Turn<'_, '_>,
        token: Token,
        verdict: Verdict,
        request: Box<Request>,
    ) {
        let Some(target) = self.target(token) else {
            return;
        };
        let is_deciding = |conn: &Conn| conn.client_queue().is_some();
        let was_deciding = self.core.borrow().conns.get(token).is_some_and(is_deciding);
        let refusal = match verdict {
            Verdict::Accept => None,
            Verdict::Reject(status) => Some(Refusal::new(status)),
            Verdict::Failed(_) => {
                let errors = &self.server.metrics.handler_errors;
                errors.fetch_add(1, Ordering::Relaxed);
                Some(Refusal::internal())
            }
        };
        if let Some(refusal) = refusal {
            return self.reject(token, refusal, &request);
        }
        self.admit(token, &request);
        self.deliver_event(turn, target, Event::Connect(request));
        let mut core = self.core.borrow_mut();
        let ended = core
            .conns
            .get_mut(token)
            .is_some_and(|conn| conn.phase == Phase::Ended);
        if was_deciding && ended {
            core.pending.push_back((token, Pending::Disconnect));
        } else if was_deciding {
            core.reconsider_backlog(token);
        }
    }

    /// Responds with 101: from now on the websocket is open, unless it has ended meanwhile.
    fn admit(&self, token: Token, request: &Request) {
        let mut core = self.core.borrow_mut();
        let now = core.clock.now();
        let slot = core.conns.slot(token.index);
        self.server
            .metrics
            .connections_total
            .fetch_add(1, Ordering::Relaxed);
        if core.conns.get(token).is_some() {
            log::debug!("{}: connected to {:?}", core.name(token), request.path());
        }
        let Some(conn) = core.conns.get_mut(token) else {
            return;
        };
        conn.connected = true;
        if conn.phase == Phase::Ended {
            return;
        }
        self.server.metrics.open.fetch_add(1, Ordering::Relaxed);
        conn.phase = Phase::Open;
        conn.last_received_tick = now;
        conn.phase_started_tick = now;
        let extra = conn.extra();
        let accept = extra.accept.take().unwrap_or([b'='; 28]);
        let agreement = extra
            .agreement
            .take()
            .and_then(|agreement| request.restrict(agreement));
        conn.session = Session::new(Role::Server, agreement);
        conn.drop_idle_extra();
        // Fails if another thread has aborted it; its mail is under way.
        let _ = slot.advance(token.generation, State::Open);
        let (chosen, headers) = (request.chosen(), request.take_extra_headers());
        let server_header = &self.server.options.server_header;
        let len = proto::max_accept_len(chosen, server_header, &headers);
        core.queue_response(len, token, |out| {
            proto::write_accept(out, &accept, chosen, agreement, server_header, &headers);
        });
        if core.is_closing() {
            core.close_with_server(token);
        }
    }

    fn reject(&self, token: Token, mut refusal: Refusal, request: &Request) {
        refusal.headers = request.take_extra_headers();
        refusal.body = request.take_body();
        let mut core = self.core.borrow_mut();
        let Some(conn) = core.conns.get_mut(token) else {
            return;
        };
        if conn.phase == Phase::Ended {
            let is_deciding = conn.client_queue().is_some();
            if is_deciding {
                core.pending.push_back((token, Pending::Disconnect));
            }
            return;
        }
        core.refuse(token, &refusal, false);
    }
}

/// Refuses a request with a body, which would be taken for the next request.
fn refuse_body(request: &RequestHead<'_>) -> Result<(), Refusal> {
    match request.body_announced() {
        true => Err(Refusal::bad_request("Unexpected request body.")),
        false => Ok(()),
    }
}

/// Refuses a method that the path does not support.
fn check_method(method: &str, has_page: bool) -> Result<(), Refusal> {
    match method {
        "GET" => Ok(()),
        "HEAD" if has_page => Ok(()),
        _ if has_page => Err(Refusal::method_not_allowed("GET, HEAD")),
        _ => Err(Refusal::method_not_allowed("GET")),
    }
}
