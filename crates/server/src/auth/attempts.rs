//! Failed attempts to prove who one is, by address: whoever guesses must not do so at full speed.
//!
//! An address may fail a number of times at once, and then once every so often; beyond that its attempts are not looked at.
//! Many may share an address, behind a proxy: so a secret that was good from there a moment ago still is, and one of
//! them that has a wrong one keeps none from work that goes on. What is remembered is bounded, whoever calls.

use crate::peer::Peer;
use http::HeaderValue;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures that an address may have at once.
const BURST: u32 = 30;
/// After so long it may have one more.
const EVERY: Duration = Duration::from_secs(2);
/// Addresses that are remembered with their failures.
const MAX_PEERS: usize = 10_000;
/// For how long a secret that was good lets its address in, after its latest use.
const PROVED_FOR: Duration = Duration::from_mins(15);
/// Secrets that are remembered as good, as digests.
const MAX_PROVED: usize = 20_000;

/// The failed attempts of all addresses.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// When each address will have failed no more than it may: [`EVERY`] for each failure, one after the other.
    failed: HashMap<Peer, Instant>,
    /// When each was last good.
    proved: HashMap<(Peer, [u8; 32]), Instant>,
}

/// The address has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this address has shown too many wrong tokens: mend the one that is wrong, and try again in {} s", .0.as_secs())]
pub(crate) struct Limited(Duration);

impl Limited {
    /// The header's value: whole seconds.
    pub(crate) fn retry_after(self) -> HeaderValue {
        HeaderValue::from(self.0.as_secs())
    }
}

/// An attempt that may be looked at.
pub(crate) struct Attempt<'a> {
    attempts: &'a Attempts,
    peer: Peer,
    digest: [u8; 32],
}

impl Attempts {
    /// Begins an attempt, unless its address has failed too often.
    pub(crate) fn begin(&self, peer: Peer, shown: &str) -> Result<Attempt<'_>, Limited> {
        self.begin_at(Instant::now(), peer, shown)
    }

    fn begin_at(&self, now: Instant, peer: Peer, shown: &str) -> Result<Attempt<'_>, Limited> {
        let digest = Sha256::digest(shown).into();
        let known = self.known();
        let ahead =
            known.failed.get(&peer).map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let wait = ahead.saturating_sub(EVERY * (BURST - 1));
        let proved = known.proved.get(&(peer, digest));
        if wait.is_zero() || proved.is_some_and(|at| now.saturating_duration_since(*at) < PROVED_FOR) {
            return Ok(Attempt { attempts: self, peer, digest });
        }
        Err(Limited(Duration::from_secs(wait.as_secs() + 1)))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Notes whether it was good.
    pub(crate) fn end(self, good: bool) {
        self.end_at(Instant::now(), good);
    }

    /// The same of a password: that it was good is remembered nowhere.
    pub(crate) fn end_of_password(self, good: bool) {
        if !good {
            self.end_at(Instant::now(), false);
        }
    }

    fn end_at(self, now: Instant, good: bool) {
        let mut known = self.attempts.known();
        let key = (self.peer, self.digest);
        if good {
            make_room(&mut known.proved, &key, MAX_PROVED, |at| {
                now.saturating_duration_since(*at) < PROVED_FOR
            });
            known.proved.insert(key, now);
        } else {
            known.proved.remove(&key);
            make_room(&mut known.failed, &self.peer, MAX_PEERS, |until| *until > now);
            let until = known.failed.entry(self.peer).or_insert(now);
            *until = (*until).max(now) + EVERY;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::of([10, 0, 0, last].into())
    }

    fn fail(attempts: &Attempts, now: Instant, peer: Peer) -> Result<(), Limited> {
        attempts.begin_at(now, peer, "wrong").map(|attempt| attempt.end_at(now, false))
    }

    #[test]
    fn an_address_fails_so_often_and_then_now_and_then() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for _ in 0..BURST {
            fail(&attempts, now, peer(1)).unwrap();
        }
        let limited = fail(&attempts, now, peer(1)).unwrap_err();
        assert_eq!(limited.retry_after(), "3");
        assert!(attempts.begin_at(now, peer(1), "right").is_err(), "a guess that is right is not looked at");
        fail(&attempts, now, peer(2)).unwrap();
        let later = now + limited.0;
        fail(&attempts, later, peer(1)).unwrap();
        assert!(fail(&attempts, later, peer(1)).is_err());
        let much_later = now + EVERY * 2 * BURST;
        for _ in 0..BURST {
            fail(&attempts, much_later, peer(1)).unwrap();
        }
        assert!(fail(&attempts, much_later, peer(1)).is_err());
    }

    #[test]
    fn what_was_good_from_there_goes_on() {
        let attempts = Attempts::default();
        let now = Instant::now();
        attempts.begin_at(now, peer(1), "right").unwrap().end_at(now, true);
        while fail(&attempts, now, peer(1)).is_ok() {}
        attempts.begin_at(now, peer(1), "right").unwrap().end_at(now, true);
        assert!(attempts.begin_at(now, peer(1), "another").is_err());
        while fail(&attempts, now, peer(2)).is_ok() {}
        assert!(attempts.begin_at(now, peer(2), "right").is_err(), "it was good elsewhere");
        // Revoked meanwhile, it is as any other.
        attempts.begin_at(now, peer(1), "right").unwrap().end_at(now, false);
        assert!(attempts.begin_at(now, peer(1), "right").is_err());
    }

    #[test]
    fn a_good_secret_is_forgotten_after_a_while() {
        let attempts = Attempts::default();
        let now = Instant::now();
        attempts.begin_at(now, peer(1), "right").unwrap().end_at(now, true);
        let later = now + PROVED_FOR;
        while fail(&attempts, later, peer(1)).is_ok() {}
        assert!(attempts.begin_at(later, peer(1), "right").is_err());
    }

    #[test]
    fn whoever_comes_from_ever_new_addresses_fills_nothing() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for n in 0..u32::try_from(MAX_PEERS).unwrap() + 50 {
            let peer = Peer::of(std::net::Ipv4Addr::from_bits(n).into());
            let at = now + Duration::from_millis(n.into());
            fail(&attempts, at, peer).unwrap();
            attempts.begin_at(at, peer, "right").unwrap().end_at(at, true);
        }
        let known = attempts.known();
        assert!(known.failed.len() <= MAX_PEERS && known.proved.len() <= MAX_PROVED);
    }
}
