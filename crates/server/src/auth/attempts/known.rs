//! What is known of addresses, which is bounded: what they owe, what is being looked at, what was good.

use crate::peer::Peer;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Failures that an address may have at once.
pub(super) const BURST: u32 = 30;
/// After so long it may have one more.
pub(super) const EVERY: Duration = Duration::from_secs(2);
/// Addresses that are remembered with their failures.
pub(super) const MAX_PEERS: usize = 10_000;
/// For how long a secret that was good lets its address in, after its latest use.
pub(super) const PROVED_FOR: Duration = Duration::from_mins(15);
/// Secrets that are remembered as good, as digests.
pub(super) const MAX_PROVED: usize = 20_000;
/// How long an address waits at most for one more, however many of its attempts failed at one time: others may share it.
pub(super) const LONGEST_LOCK: Duration = Duration::from_mins(1);

/// What was shown, and from where. Only its digest is kept.
pub(super) type Shown = (Peer, [u8; 32]);

#[derive(Default)]
pub(super) struct Known {
    /// When each address will have failed no more than it may: [`EVERY`] for each failure, one after the other.
    pub(super) failed: HashMap<Peer, Instant>,
    /// Attempts that are being looked at and count as failures meanwhile.
    pub(super) open: HashMap<Peer, Open>,
    /// When each was last good.
    pub(super) proved: HashMap<Shown, Instant>,
}

/// The attempts of an address that are being looked at.
#[derive(Default)]
pub(super) struct Open {
    count: u32,
    /// Told when one of them was none that failed, and when none is left.
    decided: Arc<Notify>,
}

impl Known {
    /// Whether this was good a moment ago.
    pub(super) fn is_proved(&self, now: Instant, shown: &Shown) -> bool {
        self.proved.get(shown).is_some_and(|at| now.saturating_duration_since(*at) < PROVED_FOR)
    }

    /// For how long the address may fail no more; zero: it may right now.
    pub(super) fn wait(&self, now: Instant, peer: Peer) -> Duration {
        let ahead = self.failed.get(&peer).map(|until| until.saturating_duration_since(now));
        ahead.unwrap_or_default().saturating_sub(EVERY * (BURST - 1))
    }

    /// Begins to look at an attempt, which counts as failed meanwhile.
    pub(super) fn open(&mut self, now: Instant, peer: Peer) {
        self.charge(now, peer);
        self.open.entry(peer).or_default().count += 1;
    }

    /// What tells that attempts of the address were decided, if any are being looked at.
    pub(super) fn decided(&self, peer: Peer) -> Option<Arc<Notify>> {
        self.open.get(&peer).map(|open| Arc::clone(&open.decided))
    }

    pub(super) fn charge(&mut self, now: Instant, peer: Peer) {
        make_room(&mut self.failed, &peer, MAX_PEERS, |until| *until > now);
        let until = self.failed.entry(peer).or_insert(now);
        *until = ((*until).max(now) + EVERY).min(now + EVERY * (BURST - 1) + LONGEST_LOCK);
    }

    pub(super) fn give_back(&mut self, now: Instant, peer: Peer) {
        let before = self.failed.get(&peer).and_then(|until| until.checked_sub(EVERY));
        match before.filter(|until| *until > now) {
            Some(until) => self.failed.insert(peer, until),
            None => self.failed.remove(&peer),
        };
        self.tell_one(peer);
    }

    pub(super) fn prove(&mut self, now: Instant, shown: Shown) {
        let counts = |at: &Instant| now.saturating_duration_since(*at) < PROVED_FOR;
        make_room(&mut self.proved, &shown, MAX_PROVED, counts);
        self.proved.insert(shown, now);
    }

    /// Tells one that waits, if any does, that there is room for it.
    pub(super) fn tell_one(&self, peer: Peer) {
        if let Some(open) = self.open.get(&peer) {
            open.decided.notify_one();
        }
    }

    pub(super) fn close(&mut self, peer: Peer) {
        let Some(open) = self.open.get_mut(&peer) else { return };
        open.count = open.count.saturating_sub(1);
        if open.count == 0 {
            open.decided.notify_waiters();
            self.open.remove(&peer);
        }
    }
}

/// Makes room for `key`: by what no longer counts, else by what will be the first not to.
fn make_room<K: Copy + Eq + Hash>(
    map: &mut HashMap<K, Instant>,
    key: &K,
    most: usize,
    counts: impl Fn(&Instant) -> bool,
) {
    if map.len() < most || map.contains_key(key) {
        return;
    }
    map.retain(|_, at| counts(at));
    if map.len() < most {
        return;
    }
    // A tenth at once, so that this is seldom.
    let mut ends: Vec<Instant> = map.values().copied().collect();
    let (_, &mut cut, _) = ends.select_nth_unstable(most / 10);
    map.retain(|_, at| *at > cut);
}
