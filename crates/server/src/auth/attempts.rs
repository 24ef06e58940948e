//! Failed attempts to prove who one is, by address: whoever guesses must not do so at full speed.
//!
//! An address may fail a number of times at once, and then once every so often; beyond that its attempts are not looked at.
//! Each is taken for a failure until it is known to be none, for guesses may come all at one time; whoever comes while others
//! are looked at, and would be one too many if all of those failed, waits for them.
//! Many may share an address, behind a proxy: so a secret that was good from there a moment ago still is, and one of
//! them that has a wrong one keeps none from work that goes on. What is remembered is bounded, whoever calls.

mod known;

use crate::peer::Peer;
use http::HeaderValue;
use known::{EVERY, Known};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::timeout_at;

/// How long an attempt waits for others of its address.
const TURN: Duration = Duration::from_secs(10);

/// The failed attempts of all addresses.
#[derive(Clone, Default)]
pub(crate) struct Attempts(Arc<Mutex<Known>>);

/// Why an attempt does not begin.
enum Held {
    /// The address has failed too often.
    Limited(Limited),
    /// It may have, once those are decided that are being looked at.
    Undecided(Arc<Notify>),
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

/// An attempt that may be looked at. It counts as failed unless it is told otherwise: whoever hangs up has tried as well.
#[must_use]
pub(crate) struct Attempt {
    attempts: Attempts,
    peer: Peer,
    /// Of what was shown, where it may be remembered as good.
    digest: Option<[u8; 32]>,
    /// Whether it counts among the failures, which what was good a moment ago does not.
    charged: bool,
}

impl Attempts {
    /// Begins an attempt, unless its address has failed too often.
    pub(crate) async fn begin(&self, peer: Peer, shown: &str) -> Result<Attempt, Limited> {
        self.begin_with(peer, Some(digest_of(shown))).await
    }

    /// The same of a password: that it was good is remembered nowhere, and that a token was says nothing of it.
    pub(crate) async fn begin_password(&self, peer: Peer) -> Result<Attempt, Limited> {
        self.begin_with(peer, None).await
    }

    async fn begin_with(&self, peer: Peer, digest: Option<[u8; 32]>) -> Result<Attempt, Limited> {
        let by = tokio::time::Instant::now() + TURN;
        let mut waited = false;
        loop {
            let decided = match self.look(peer, digest, waited) {
                Err(Held::Undecided(decided)) => decided,
                Err(Held::Limited(limited)) => return Err(limited),
                Ok(attempt) => return Ok(attempt),
            };
            let mut told = std::pin::pin!(decided.notified());
            told.as_mut().enable();
            // Between the look and this they may have been decided, and nobody says so again.
            match self.look(peer, digest, waited) {
                Err(Held::Undecided(same)) if Arc::ptr_eq(&same, &decided) => {}
                Err(Held::Undecided(_)) => continue,
                Err(Held::Limited(limited)) => return Err(limited),
                Ok(attempt) => return Ok(attempt),
            }
            if timeout_at(by, told).await.is_err() {
                return Err(Limited(EVERY));
            }
            waited = true;
        }
    }

    /// Begins now. Who was told that there is room, and takes none because what it shows was found good meanwhile, leaves it to
    /// the next that waits.
    fn look(&self, peer: Peer, digest: Option<[u8; 32]>, waited: bool) -> Result<Attempt, Held> {
        let begun = self.begin_at(Instant::now(), peer, digest);
        if waited && begun.as_ref().is_ok_and(|attempt| !attempt.charged) {
            self.known().tell_one(peer);
        }
        begun
    }

    fn begin_at(&self, now: Instant, peer: Peer, digest: Option<[u8; 32]>) -> Result<Attempt, Held> {
        let mut known = self.known();
        let attempt = |charged| Attempt { attempts: self.clone(), peer, digest, charged };
        if digest.is_some_and(|digest| known.is_proved(now, &(peer, digest))) {
            return Ok(attempt(false));
        }
        let wait = known.wait(now, peer);
        if wait.is_zero() {
            known.open(now, peer);
            return Ok(attempt(true));
        }
        let limited = Limited(Duration::from_secs(wait.as_secs() + 1));
        Err(known.decided(peer).map_or(Held::Limited(limited), Held::Undecided))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// Notes whether it was good.
    pub(crate) fn end(self, good: bool) {
        self.end_at(Instant::now(), good);
    }

    /// Nobody could look at it, for a reason of our own.
    pub(crate) fn end_undecided(self) {
        self.give_back_at(Instant::now());
    }

    fn give_back_at(mut self, now: Instant) {
        if std::mem::take(&mut self.charged) {
            let mut known = self.attempts.known();
            known.give_back(now, self.peer);
            known.close(self.peer);
        }
    }

    /// What was looked up for it; that it could not be is no fault of whoever tries.
    pub(crate) fn looked_up<T, E>(self, found: Result<T, E>) -> Result<(Self, T), E> {
        match found {
            Ok(found) => Ok((self, found)),
            Err(fault) => {
                self.end_undecided();
                Err(fault)
            }
        }
    }

    fn end_at(self, now: Instant, good: bool) {
        let Some(digest) = self.digest else {
            if good {
                self.give_back_at(now);
            }
            return;
        };
        let shown = (self.peer, digest);
        if good {
            self.attempts.known().prove(now, shown);
            self.give_back_at(now);
        } else {
            let mut known = self.attempts.known();
            known.proved.remove(&shown);
            // It was good a moment ago, so nothing was charged for it.
            if !self.charged {
                known.charge(now, self.peer);
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.charged {
            self.attempts.known().close(self.peer);
        }
    }
}

fn digest_of(shown: &str) -> [u8; 32] {
    Sha256::digest(shown).into()
}

#[cfg(test)]
mod tests {
    use super::known::{BURST, LONGEST_LOCK, MAX_PEERS, MAX_PROVED, PROVED_FOR};
    use super::*;

    fn peer(last: u8) -> Peer {
        Peer::of([10, 0, 0, last].into())
    }

    fn begin(attempts: &Attempts, now: Instant, peer: Peer, shown: &str) -> Result<Attempt, Limited> {
        attempts.begin_at(now, peer, Some(digest_of(shown))).map_err(|held| match held {
            Held::Limited(limited) => limited,
            Held::Undecided(_) => panic!("it waits for another"),
        })
    }

    fn fail(attempts: &Attempts, now: Instant, peer: Peer) -> Result<(), Limited> {
        begin(attempts, now, peer, "wrong").map(|attempt| attempt.end_at(now, false))
    }

    /// Makes fifty attempts at one time, and tells how many were looked at.
    async fn fifty(attempts: &Attempts, good: bool) -> usize {
        let each = (0..50).map(async |_| {
            let attempt = attempts.begin_password(peer(1)).await.ok()?;
            // All that may begin do so before any ends.
            tokio::time::sleep(Duration::from_secs(1)).await;
            attempt.end(good);
            Some(())
        });
        futures_util::future::join_all(each).await.into_iter().flatten().count()
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_that_come_at_one_time_are_as_few_as_one_after_the_other() {
        assert_eq!(fifty(&Attempts::default(), false).await, BURST as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn that_a_token_was_good_lets_no_password_in() {
        let attempts = Attempts::default();
        attempts.begin(peer(1), "right").await.unwrap().end(true);
        assert_eq!(fifty(&attempts, false).await, BURST as usize);
    }

    #[test]
    fn nobody_is_locked_out_for_long_by_what_fails_at_one_time() {
        let attempts = Attempts::default();
        let now = Instant::now();
        begin(&attempts, now, peer(1), "revoked").unwrap().end_at(now, true);
        let at_one_time: Vec<_> =
            (0..300).map(|_| begin(&attempts, now, peer(1), "revoked").unwrap()).collect();
        for attempt in at_one_time {
            attempt.end_at(now, false);
        }
        let Limited(wait) = fail(&attempts, now, peer(1)).unwrap_err();
        assert!(wait <= LONGEST_LOCK + Duration::from_secs(1), "{wait:?}");
        fail(&attempts, now + wait, peer(1)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn good_ones_that_come_at_one_time_wait_for_each_other_and_all_begin() {
        let attempts = Attempts::default();
        assert_eq!(fifty(&attempts, true).await, 50);
        assert!(attempts.known().failed.is_empty() && attempts.known().open.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_needs_no_room_any_more_leaves_it_to_the_next() {
        let attempts = Attempts::default();
        let mut open = Vec::new();
        for n in 1..BURST {
            open.push(attempts.begin(peer(1), &format!("guess {n}")).await.unwrap());
        }
        let right = attempts.begin(peer(1), "right").await.unwrap();
        let decide = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            right.end(true);
        };
        let (same, other, ()) =
            tokio::join!(attempts.begin(peer(1), "right"), attempts.begin(peer(1), "other"), decide);
        assert!(same.is_ok_and(|attempt| !attempt.charged), "it was found good");
        assert!(other.is_ok(), "there is room, and nobody told it");
    }

    #[tokio::test]
    async fn whoever_hangs_up_has_tried_and_what_could_not_be_looked_at_was_no_try() {
        let attempts = Attempts::default();
        for _ in 0..BURST {
            attempts.begin(peer(1), "wrong").await.unwrap().end_undecided();
        }
        for _ in 0..BURST {
            drop(attempts.begin(peer(1), "wrong").await.unwrap());
        }
        assert!(attempts.begin(peer(1), "wrong").await.is_err());
        assert!(attempts.known().open.is_empty());
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
        assert!(begin(&attempts, now, peer(1), "right").is_err(), "a guess that is right is not looked at");
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
        begin(&attempts, now, peer(1), "right").unwrap().end_at(now, true);
        while fail(&attempts, now, peer(1)).is_ok() {}
        begin(&attempts, now, peer(1), "right").unwrap().end_at(now, true);
        assert!(begin(&attempts, now, peer(1), "another").is_err());
        while fail(&attempts, now, peer(2)).is_ok() {}
        assert!(begin(&attempts, now, peer(2), "right").is_err(), "it was good elsewhere");
        // Revoked meanwhile, it is as any other.
        begin(&attempts, now, peer(1), "right").unwrap().end_at(now, false);
        assert!(begin(&attempts, now, peer(1), "right").is_err());
    }

    #[test]
    fn a_good_secret_is_forgotten_after_a_while() {
        let attempts = Attempts::default();
        let now = Instant::now();
        begin(&attempts, now, peer(1), "right").unwrap().end_at(now, true);
        let later = now + PROVED_FOR;
        while fail(&attempts, later, peer(1)).is_ok() {}
        assert!(begin(&attempts, later, peer(1), "right").is_err());
    }

    #[test]
    fn whoever_comes_from_ever_new_addresses_fills_nothing() {
        let attempts = Attempts::default();
        let now = Instant::now();
        for n in 0..u32::try_from(MAX_PEERS).unwrap() + 50 {
            let peer = Peer::of(std::net::Ipv4Addr::from_bits(n).into());
            let at = now + Duration::from_millis(n.into());
            fail(&attempts, at, peer).unwrap();
            begin(&attempts, at, peer, "right").unwrap().end_at(at, true);
        }
        let known = attempts.known();
        assert!(known.failed.len() <= MAX_PEERS && known.proved.len() <= MAX_PROVED);
    }
}
