//! The figures of a run, in the form in which they are printed.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::process::{Usage, memory, processor_time};

/// A measurement from `begin` to `end`.
pub struct Measurement {
    began: Instant,
    own: Duration,
    server: Option<(i32, Usage)>,
}

impl Measurement {
    /// Begins a measurement, also of the resources that `process`, the server, uses.
    pub fn begin(process: Option<i32>) -> io::Result<Measurement> {
        let usage = |process| Ok::<_, io::Error>((process, Usage::of(process)?));
        Ok(Measurement {
            server: process.map(usage).transpose()?,
            own: processor_time(own())?,
            began: Instant::now(),
        })
    }

    /// Returns the figures per `thing`, of which `count` were done.
    pub fn end(self, count: f64, thing: &str) -> io::Result<Value> {
        let seconds = self.began.elapsed().as_secs_f64();
        let own = processor_time(own())? - self.own;
        let mut figures = json!({
            "thing": thing,
            "count": count,
            "seconds": seconds,
            "per_second": count / seconds,
            "load_ns": own.as_nanos() as f64 / count,
        });
        if let Some((process, before)) = self.server {
            let after = Usage::of(process)?;
            let spent = after.processor - before.processor;
            let user = (after.user_ticks - before.user_ticks) as f64;
            let system = (after.system_ticks - before.system_ticks) as f64;
            let each = spent.as_nanos() as f64 / count;
            let user_share = user / (user + system).max(1.0);
            let [anonymous, resident] = memory(process)?;
            figures["server"] = json!({
                "ns": each,
                "user_ns": each * user_share,
                "system_ns": each * (1.0 - user_share),
                "busy": spent.as_secs_f64() / seconds,
                "waits": (after.waits - before.waits) as f64 / count,
                "preemptions": (after.preemptions - before.preemptions) as f64 / count,
                "anonymous_bytes": anonymous,
                "resident_bytes": resident,
            });
        }
        Ok(figures)
    }
}

fn own() -> i32 {
    std::process::id() as i32
}

/// Returns an empty histogram of nanoseconds, up to a minute.
pub fn latencies() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).map_err(io::Error::other)
}

/// Returns the reported percentiles, in microseconds.
pub fn percentiles(latencies: &Histogram<u64>) -> Value {
    let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
    json!({"p50": at(0.5), "p99": at(0.99), "p99.9": at(0.999)})
}
