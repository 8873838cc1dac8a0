//! MAX_MEMORY: what a server may hold for its connections.
//!
//! A loop counts what its connections hold when that changes, which costs a message nothing that is received and
//! sent at once. Of the common budget it takes shares in steps.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use once_cell::sync::Lazy;

use crate::locks;
use crate::net::{self, memory};
use crate::server::Options;
use crate::server::websocket::mailbox::Mailbox;

/// Maximum step in which a loop takes shares of the budget, and minimum.
const MAX_STEP_BYTES: u64 = 256 << 10;
const MIN_STEP_BYTES: u64 = 4 << 10;

/// What holds less is not worth counting.
const MIN_HELD_BYTES: u64 = 1024;

/// Powers of two that a connection may hold.
const CLASSES: usize = u64::BITS as usize;

/// The budget of all servers without a MAX_MEMORY of their own: half of what the process may have.
static COMMON: Lazy<Arc<Budget>> = Lazy::new(|| {
    let limit = net::memory_limit().map_or(u64::MAX, |limit| limit / 2);
    Arc::new(Budget::new(limit))
});

/// What the loops of one or several servers may hold together.
pub(crate) struct Budget {
    limit: u64,
    /// The sum of the loops' shares.
    used: AtomicU64,
    /// The bytes of pulled records that hosts have not returned.
    lent: AtomicU64,
    /// The bytes of connections by size: those that hold from 2^n bytes on are counted at n.
    classes: [AtomicU64; CLASSES],
    loops: Mutex<Vec<&'static Mailbox>>,
}

impl Budget {
    fn new(limit: u64) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
            lent: AtomicU64::new(0),
            classes: [const { AtomicU64::new(0) }; CLASSES],
            loops: Mutex::default(),
        }
    }

    /// Returns the budget for a server with these options.
    pub(crate) fn of(options: &Options) -> Arc<Self> {
        match options.max_memory {
            0 => Arc::clone(&COMMON),
            limit => Arc::new(Self::new(limit)),
        }
    }

    /// Returns what is held. Records count at most for half of what is allowed: the end of a connection does
    /// not free them, so they alone must not end all connections.
    #[inline]
    fn held(&self) -> u64 {
        let lent = self.lent.load(Ordering::Relaxed).min(self.limit / 2);
        self.used.load(Ordering::Relaxed) + lent
    }

    /// Whether more is held than is allowed.
    #[inline]
    fn is_over(&self) -> bool {
        self.held() > self.limit
    }

    /// How much must be freed: once the limit was exceeded, down to 7/8 of it.
    fn excess(&self) -> u64 {
        let low = self.limit - self.limit / 8;
        self.held().saturating_sub(low)
    }

    /// The smallest size of the connections that must end, if the largest end first.
    fn threshold(&self) -> u64 {
        let excess = self.excess();
        let mut found = 0;
        for class in (0..CLASSES).rev() {
            found += self.classes[class].load(Ordering::Relaxed);
            if found >= excess {
                return 1 << class;
            }
        }
        0
    }

    fn wake_loops(&self) {
        locks::lock(&self.loops)
            .iter()
            .for_each(|mailbox| mailbox.wake());
    }
}

/// What the connections of one loop hold, and the records that were pulled from it.
pub(crate) struct Account {
    budget: Arc<Budget>,
    mailbox: &'static Mailbox,
    /// By the indices of connections.
    held: HashMap<u32, u64>,
    total: u64,
    /// The bytes of records that were pulled and not returned.
    lent: u64,
    /// The loop's share of the budget, a multiple of its step.
    share: u64,
    step: u64,
}

impl Account {
    pub(crate) fn new(budget: Arc<Budget>, mailbox: &'static Mailbox) -> Self {
        let mut loops = locks::lock(&budget.loops);
        loops.push(mailbox);
        // All loops together take little that they do not use.
        let step = budget.limit / (16 * loops.len() as u64);
        drop(loops);
        Self {
            step: step.clamp(MIN_STEP_BYTES, MAX_STEP_BYTES),
            budget,
            mailbox,
            held: HashMap::new(),
            total: 0,
            lent: 0,
            share: 0,
        }
    }

    /// Returns the bytes that all connections of the loop hold, and its records that were pulled.
    pub(crate) fn total(&self) -> u64 {
        self.total + self.lent
    }

    /// Counts records that hold so much, until [`Account::take_back`]. Returns what is counted.
    pub(crate) fn lend(&mut self, bytes: u64) -> u64 {
        if bytes < MIN_HELD_BYTES {
            return 0;
        }
        let was_over = self.budget.is_over();
        self.budget.lent.fetch_add(bytes, Ordering::Relaxed);
        self.lent += bytes;
        if !was_over && self.budget.is_over() {
            self.budget.wake_loops();
        }
        bytes
    }

    /// Counts no more what [`Account::lend`] has returned.
    pub(crate) fn take_back(&mut self, counted: u64) {
        if counted > 0 {
            self.budget.lent.fetch_sub(counted, Ordering::Relaxed);
            self.lent -= counted;
        }
    }

    /// Whether no connection holds anything.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether more is held than is allowed, so that connections must end.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.budget.is_over()
    }

    /// Sets what a connection holds.
    pub(crate) fn set(&mut self, index: u32, bytes: u64) {
        let bytes = if bytes < MIN_HELD_BYTES { 0 } else { bytes };
        if self.held.get(&index).is_some_and(|&before| before == bytes) {
            return;
        }
        let before = match bytes {
            0 => self.held.remove(&index),
            // Without memory for the note it is counted the next time.
            _ if memory::frugal(|| self.held.try_reserve(1)).is_err() => return,
            _ => self.held.insert(index, bytes),
        };
        let before = before.unwrap_or(0);
        if before == bytes {
            return;
        }
        let class = |bytes: u64| &self.budget.classes[bytes.ilog2() as usize];
        if before > 0 {
            class(before).fetch_sub(before, Ordering::Relaxed);
        }
        if bytes > 0 {
            class(bytes).fetch_add(bytes, Ordering::Relaxed);
        }
        self.total = self.total - before + bytes;
        if self.held.is_empty() {
            self.held = HashMap::new();
        }
        self.adjust_share();
    }

    fn adjust_share(&mut self) {
        let wanted = self.total.next_multiple_of(self.step);
        // One step more is kept, so that it does not change to and fro; nothing, when nothing is held.
        if wanted <= self.share && self.share <= wanted + self.step && self.total > 0 {
            return;
        }
        let was_over = self.budget.is_over();
        let used = &self.budget.used;
        if wanted > self.share {
            used.fetch_add(wanted - self.share, Ordering::Relaxed);
        } else {
            used.fetch_sub(self.share - wanted, Ordering::Relaxed);
        }
        self.share = wanted;
        if !was_over && self.budget.is_over() {
            self.budget.wake_loops();
        }
    }

    /// Returns the connections of this loop that may have to end, the largest first. Those of other loops that
    /// hold far more come before them.
    /// Returns also how much each holds.
    pub(crate) fn largest(&self) -> impl Iterator<Item = (u32, u64)> + use<> {
        let threshold = self.budget.threshold();
        let large = |&(_, bytes): &(&u32, &u64)| *bytes >= threshold;
        let mut largest = Vec::new();
        let room = memory::try_reserve(&mut largest, self.held.len());
        if room.is_ok() {
            let entries = self.held.iter().filter(large);
            largest.extend(entries.map(|(&index, &bytes)| (bytes, index)));
        }
        largest.sort_unstable();
        largest
            .into_iter()
            .rev()
            .map(|(bytes, index)| (index, bytes))
    }

    /// Whether still more must be freed.
    pub(crate) fn has_excess(&self) -> bool {
        self.budget.excess() > 0
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let indices: Vec<u32> = self.held.keys().copied().collect();
        indices.into_iter().for_each(|index| self.set(index, 0));
        self.budget.used.fetch_sub(self.share, Ordering::Relaxed);
        self.take_back(self.lent);
        locks::lock(&self.budget.loops).retain(|other| !std::ptr::eq(*other, self.mailbox));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn accounts(limit: u64) -> [Account; 2] {
        let budget = Arc::new(Budget::new(limit));
        [(); 2].map(|()| Account::new(Arc::clone(&budget), Box::leak(Box::default())))
    }

    #[test]
    fn the_largest_of_all_loops_end_first() {
        let [mut one, mut other] = accounts(16 * MIB);
        one.set(1, 2 * MIB);
        one.set(2, MIB);
        assert!(!one.is_over());
        other.set(1, 13 * MIB);
        other.set(2, MIB);
        assert!(one.is_over() && other.is_over());
        // The loop that has the largest ends it, and the other one none.
        assert_eq!(one.largest().count(), 0);
        assert_eq!(other.largest().collect::<Vec<_>>(), [(1, 13 * MIB)]);
        other.set(1, 0);
        assert!(!one.has_excess() && !one.is_over());
    }

    #[test]
    fn connections_end_until_seven_eighths_are_left() {
        let [mut one, _other] = accounts(16 * MIB);
        for index in 0..20 {
            one.set(index, MIB + u64::from(index));
        }
        let largest = one.largest().map(|(index, _)| index);
        assert_eq!(largest.take(3).collect::<Vec<_>>(), [19, 18, 17]);
        for (index, _) in one.largest() {
            if !one.has_excess() {
                break;
            }
            one.set(index, 0);
        }
        assert!(
            (12 * MIB..=14 * MIB).contains(&one.total()),
            "{}",
            one.total()
        );
    }

    #[test]
    fn records_count_for_half_at_most_until_they_are_returned() {
        let [mut one, mut other] = accounts(16 * MIB);
        other.set(1, 9 * MIB);
        assert_eq!(one.lend(MIN_HELD_BYTES - 1), 0);
        let counted = one.lend(6 * MIB);
        assert!(!other.is_over());
        assert_eq!((one.total(), counted), (6 * MIB, 6 * MIB));
        let more = one.lend(100 * MIB);
        assert!(one.is_over() && other.is_over());
        // Ending connections helps, however much the records hold.
        other.set(1, 5 * MIB);
        assert!(!other.is_over() && !other.has_excess());
        one.take_back(more);
        one.take_back(counted);
        assert_eq!(one.total(), 0);
        one.lend(8 * MIB);
        drop(one);
        assert_eq!(other.budget.lent.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_share_is_given_back_and_small_holdings_count_nothing() {
        let [mut one, other] = accounts(16 * MIB);
        one.set(1, MIN_HELD_BYTES - 1);
        assert!(one.is_empty());
        one.set(1, 17 * MIB);
        assert!(other.is_over());
        one.set(1, 3 * MIB);
        one.set(1, 3 * MIB + 1);
        assert!(!other.is_over());
        one.set(2, 14 * MIB);
        assert!(other.is_over());
        drop(one);
        assert!(!other.is_over());
        assert_eq!(other.budget.used.load(Ordering::Relaxed), 0);
        assert!(
            other
                .budget
                .classes
                .iter()
                .all(|class| class.load(Ordering::Relaxed) == 0)
        );
    }
}
