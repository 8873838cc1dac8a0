//! The metrics of all servers of the process, as Prometheus scrapes them.

use std::collections::TryReserveError;
use std::fmt::{self, Write as _};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};

use once_cell::sync::Lazy;

use crate::locks;
use crate::net::memory;
use crate::server::histogram::{BUCKETS, Bound, Distribution, Histogram, QUEUE_BYTES, TURN_MICROS};
use crate::server::shared::{LoopShare, Shared};

/// Prometheus's text format.
pub(crate) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// OpenMetrics 1.0.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

static SERVERS: Lazy<Mutex<Vec<Weak<Shared>>>> = Lazy::new(Mutex::default);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
}

/// A metric as it is scraped.
struct Metric {
    /// Its number in `enum portal_metric`.
    number: u32,
    /// The name of its family; the sample of a counter has `_total` behind it.
    name: &'static str,
    kind: Kind,
    help: &'static str,
}

const fn gauge(number: u32, name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Gauge;
    Metric {
        number,
        name,
        kind,
        help,
    }
}

const fn counter(number: u32, name: &'static str, help: &'static str) -> Metric {
    let kind = Kind::Counter;
    Metric {
        number,
        name,
        kind,
        help,
    }
}

/// Without TLS it has no sample: else alerts would take the certificate for an expired one.
const CERTIFICATE_EXPIRES: u32 = 19;

#[rustfmt::skip] // one metric a line
const METRICS: [Metric; 15] = [
    gauge(1, "portal_websockets_open", "Websockets open now."),
    counter(2, "portal_websockets_opened", "Websockets opened."),
    counter(3, "portal_handshakes_rejected", "Handshakes that did not end in a 101 response."),
    counter(4, "portal_messages_received", "Data messages received."),
    counter(5, "portal_messages_sent", "Data messages sent."),
    counter(6, "portal_received_bytes", "Bytes read from sockets, inside TLS."),
    counter(7, "portal_sent_bytes", "Bytes written to sockets, inside TLS."),
    gauge(8, "portal_queued_bytes", "Bytes in send queues now."),
    counter(9, "portal_protocol_errors", "Connections on which the peer violated the protocol."),
    counter(10, "portal_handler_errors", "Handlers that failed."),
    counter(14, "portal_handshake_timeouts", "Handshakes that were not complete within HANDSHAKE_TIMEOUT."),
    counter(15, "portal_ping_timeouts", "Connections that were dropped because nothing was received from the peer."),
    gauge(17, "portal_memory_bytes", "Bytes of memory held for connections now."),
    counter(18, "portal_memory_closed", "Connections that were ended because of MAX_MEMORY."),
    gauge(CERTIFICATE_EXPIRES, "portal_certificate_expiry_timestamp_seconds", "When the first of the server's certificates expires."),
];

/// A histogram as it is scraped.
struct Scraped {
    name: &'static str,
    help: &'static str,
    bounds: &'static [Bound; BUCKETS],
    /// So many of its units are one of the metric's.
    unit: u64,
    of: fn(&LoopShare) -> &Histogram,
}

const HISTOGRAMS: [Scraped; 2] = [
    Scraped {
        name: "portal_turn_duration_seconds",
        help: "How long the turns of loops take, without the wait for events; one of 64 turns is measured.",
        bounds: &TURN_MICROS,
        unit: 1_000_000,
        of: |share| &share.turn_micros,
    },
    Scraped {
        name: "portal_send_queue_bytes",
        help: "Bytes in the send queues that a turn writes; one of 64 turns is measured.",
        bounds: &QUEUE_BYTES,
        unit: 1,
        of: |share| &share.queue_bytes,
    },
];

impl Shared {
    /// Returns a metric by its number in `enum portal_metric`; 0 when it is unknown.
    pub(crate) fn metric(&self, number: u32) -> u64 {
        let traffic = || self.loops.iter().map(|one| one.traffic.read());
        let metrics = &self.metrics;
        let count = match number {
            1 => &metrics.open,
            2 => &metrics.connections_total,
            3 => &metrics.rejected,
            4 => return traffic().map(|traffic| traffic.messages_in).sum(),
            5 => return traffic().map(|traffic| traffic.messages_out).sum(),
            6 => return traffic().map(|traffic| traffic.bytes_in).sum(),
            7 => return traffic().map(|traffic| traffic.bytes_out).sum(),
            8 => return self.queued(),
            9 => &metrics.protocol_errors,
            10 => &metrics.handler_errors,
            14 => &metrics.handshake_timeouts,
            15 => &metrics.ping_timeouts,
            17 => return self.loops.iter().map(|one| one.traffic.held_bytes()).sum(),
            18 => &metrics.memory_closed,
            CERTIFICATE_EXPIRES => return self.certificate_expires(),
            _ => return 0,
        };
        count.load(Ordering::Relaxed)
    }
}

/// Adds a server, which has its id, to those that are scraped until they end.
pub(crate) fn add(server: &Arc<Shared>) {
    let mut servers = locks::lock(&SERVERS);
    servers.retain(|server| server.strong_count() > 0);
    servers.push(Arc::downgrade(server));
}

/// Returns the metrics of all servers that have not ended.
///
/// # Errors
///
/// Memory is refused.
pub(crate) fn metrics(is_open_metrics: bool) -> Result<Vec<u8>, TryReserveError> {
    let mut servers: Vec<Arc<Shared>> = {
        let servers = locks::lock(&SERVERS);
        servers.iter().filter_map(Weak::upgrade).collect()
    };
    // Not under the lock: the last reference to an ended server may run `release`.
    servers.retain(|server| !server.has_ended());
    let mut page = Page {
        text: Vec::new(),
        refused: None,
    };
    let written = write(&mut page, &servers, is_open_metrics);
    match (written, page.refused) {
        (Err(_), Some(refused)) => Err(refused),
        _ => Ok(page.text),
    }
}

fn write(page: &mut Page, servers: &[Arc<Shared>], is_open_metrics: bool) -> fmt::Result {
    for metric in &METRICS {
        let Metric { name, help, .. } = metric;
        let (kind, total) = match metric.kind {
            Kind::Gauge => ("gauge", ""),
            Kind::Counter => ("counter", "_total"),
        };
        // In Prometheus's format a counter is described by the name of its samples.
        let described = if is_open_metrics { "" } else { total };
        writeln!(page, "# HELP {name}{described} {help}")?;
        writeln!(page, "# TYPE {name}{described} {kind}")?;
        for server in servers {
            let (id, port, value) = (
                server.scraped_id(),
                server.port(),
                server.metric(metric.number),
            );
            if metric.number == CERTIFICATE_EXPIRES && value == 0 {
                continue;
            }
            writeln!(
                page,
                "{name}{total}{{server=\"{id}\",port=\"{port}\"}} {value}"
            )?;
        }
    }
    for histogram in &HISTOGRAMS {
        write_histogram(page, servers, histogram)?;
    }
    match is_open_metrics {
        true => page.write_str("# EOF\n"),
        false => Ok(()),
    }
}

fn write_histogram(page: &mut Page, servers: &[Arc<Shared>], scraped: &Scraped) -> fmt::Result {
    let Scraped {
        name,
        help,
        bounds,
        unit,
        of,
    } = scraped;
    writeln!(page, "# HELP {name} {help}")?;
    writeln!(page, "# TYPE {name} histogram")?;
    for server in servers {
        let (id, port) = (server.scraped_id(), server.port());
        let labels = format!("server=\"{id}\",port=\"{port}\"");
        let Distribution { cumulative, sum } = server.loops.iter().map(of).collect();
        for ((_, le), count) in bounds.iter().zip(cumulative) {
            writeln!(page, "{name}_bucket{{{labels},le=\"{le}\"}} {count}")?;
        }
        let sum = sum as f64 / *unit as f64;
        writeln!(page, "{name}_sum{{{labels}}} {sum}")?;
        let count = cumulative[BUCKETS - 1];
        writeln!(page, "{name}_count{{{labels}}} {count}")?;
    }
    Ok(())
}

/// Text whose memory may be refused.
struct Page {
    text: Vec<u8>,
    refused: Option<TryReserveError>,
}

impl fmt::Write for Page {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if let Err(refused) = memory::try_reserve(&mut self.text, text.len()) {
            self.refused = Some(refused);
            return Err(fmt::Error);
        }
        self.text.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
