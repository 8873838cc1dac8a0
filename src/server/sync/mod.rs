//! What threads share where they wait for nobody's lock: atomics, channels and parking. In the build that
//! loom explores (`make loom`) these are its models.

#[cfg(all(test, loom))]
pub(crate) mod channel;

#[cfg(not(all(test, loom)))]
pub(crate) use crossbeam_channel as channel;
#[cfg(all(test, loom))]
pub(crate) use loom::{sync::atomic, thread};
#[cfg(not(all(test, loom)))]
pub(crate) use std::{sync::atomic, thread};

/// Runs `test` in all ways in which its threads can be interleaved with so many preemptions at most.
#[cfg(all(test, loom))]
pub(crate) fn explore(max_preemptions: usize, test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(max_preemptions);
    model.check(test);
}
