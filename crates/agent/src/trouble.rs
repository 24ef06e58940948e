//! What is said of calls to the control plane that fail: each kind of failure once, then rarely and with a count, and when
//! it is over. Agents try again for as long as they live, and a log that tells each try hides everything else.

use crate::api::ApiError;
use crate::error::chain;
use http::StatusCode;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{error, warn};

/// How long it is quiet about failures of a kind that was told; each time twice as long, up to the second.
const QUIET: Duration = Duration::from_mins(1);
const LONGEST_QUIET: Duration = Duration::from_mins(30);

/// The calls that are made again and again, whatever comes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Ping,
    Dequeue,
    Heartbeat,
}

/// What kind of failure it is: of each there is one thing to say and one to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Refused(u16),
    Mismatch,
    Tls,
    Unreachable,
    Status(u16),
    Other,
}

/// The failures of this moment.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<Now>);

#[derive(Debug, Default)]
struct Now {
    /// Which calls fail, and how they last did.
    failing: BTreeMap<Call, Kind>,
    kinds: BTreeMap<Kind, Told>,
}

#[derive(Debug)]
struct Told {
    since: Instant,
    /// Calls that failed so.
    count: u64,
    latest: Instant,
    quiet: Duration,
}

/// What there is to say now.
#[derive(Debug, PartialEq, Eq)]
enum Say {
    First,
    Again { count: u64, since: Duration },
    Nothing,
}

impl Troubles {
    /// A call failed.
    pub(crate) fn failed(&self, call: Call, error: &ApiError) {
        let mut now = self.lock();
        let kind = now.kind(call, error);
        let say = now.note(call, kind, Instant::now());
        drop(now);
        match say {
            Say::First => tell(call, kind, error, 1, Duration::ZERO),
            Say::Again { count, since } => tell(call, kind, error, count, since),
            Say::Nothing => tracing::debug!(?call, error = chain(error), "a call failed as before"),
        }
    }

    /// A call worked.
    pub(crate) fn worked(&self, call: Call) {
        if let Some((kind, over)) = self.lock().end(call) {
            let (count, seconds) = (over.count, over.since.elapsed().as_secs());
            // Somebody waits for it.
            if let Kind::Refused(_) = kind {
                warn!(calls = count, seconds, "the control plane accepts this executor now");
            } else {
                warn!(calls = count, seconds, "the control plane answers again");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Now {
    fn kind(&self, call: Call, error: &ApiError) -> Kind {
        match self.failing.get(&call) {
            // Who was refused too often has to wait.
            Some(refused @ Kind::Refused(_)) if error.code() == Some(StatusCode::TOO_MANY_REQUESTS) => {
                *refused
            }
            _ => Kind::of(error),
        }
    }

    fn note(&mut self, call: Call, kind: Kind, now: Instant) -> Say {
        let before = self.failing.insert(call, kind);
        if let Some(before) = before.filter(|before| *before != kind) {
            self.forget_unless_failing(before);
        }
        let Some(told) = self.kinds.get_mut(&kind) else {
            self.kinds.insert(kind, Told { since: now, count: 1, latest: now, quiet: QUIET });
            return Say::First;
        };
        told.count += 1;
        if now.duration_since(told.latest) < told.quiet {
            return Say::Nothing;
        }
        told.latest = now;
        told.quiet = (told.quiet * 2).min(LONGEST_QUIET);
        Say::Again { count: told.count, since: now.duration_since(told.since) }
    }

    /// What is over now that a call worked: its kind of failure, if no other call fails so.
    fn end(&mut self, call: Call) -> Option<(Kind, Told)> {
        let kind = self.failing.remove(&call)?;
        self.forget_unless_failing(kind).map(|told| (kind, told))
    }

    fn forget_unless_failing(&mut self, kind: Kind) -> Option<Told> {
        if self.failing.values().any(|failing| *failing == kind) { None } else { self.kinds.remove(&kind) }
    }
}

impl Kind {
    fn of(error: &ApiError) -> Self {
        match error.code() {
            _ if error.mismatch().is_some() => Self::Mismatch,
            _ if error.is_tls() => Self::Tls,
            _ if error.is_connect() => Self::Unreachable,
            Some(status) if error.is_refusal() => Self::Refused(status.as_u16()),
            Some(status) => Self::Status(status.as_u16()),
            None => Self::Other,
        }
    }
}

fn tell(call: Call, kind: Kind, failure: &ApiError, calls: u64, since: Duration) {
    let (fault, seconds) = (chain(failure), since.as_secs());
    match kind {
        Kind::Refused(401) => error!(
            error = fault,
            calls,
            seconds,
            "the control plane refuses this executor, so it gets no jobs: its secret must be the one that the control plane \
             has (executors.accessToken in the site configuration), or its identity one that was not revoked; `executor \
             doctor` tries it. Trying again"
        ),
        Kind::Refused(_) => error!(
            error = fault,
            calls,
            seconds,
            "the control plane, or somebody in front of it, lets this executor not in, so it gets no jobs: let firewalls and \
             proxies pass /.executors/; `executor doctor` tries it. Trying again"
        ),
        Kind::Mismatch => {
            let why = failure.mismatch().map_or("", tls::Mismatch::told);
            error!(error = fault, calls, seconds, "the control plane can't be called: {why}. Trying again");
        }
        Kind::Tls => warn!(
            error = fault,
            calls,
            seconds,
            "the control plane can't be trusted over TLS; if its certificate is of a private authority, add that one's to \
             the certificates of this machine"
        ),
        Kind::Unreachable | Kind::Status(_) | Kind::Other => match call {
            Call::Ping => warn!(error = fault, calls, seconds, "failed to ping the control plane"),
            Call::Dequeue => warn!(error = fault, calls, seconds, "failed to dequeue"),
            Call::Heartbeat => warn!(error = fault, calls, seconds, "heartbeat failed"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::HeaderMap;

    const REFUSED: Kind = Kind::Refused(401);

    #[test]
    fn a_kind_of_failure_is_told_once_then_rarely_with_a_count() {
        let mut now = Now::default();
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(now.note(Call::Ping, REFUSED, at(0)), Say::First);
        let told: Vec<(u64, u64)> = (1..4_000_u64)
            .filter_map(|second| match now.note(Call::Ping, REFUSED, at(second)) {
                Say::Again { count, since } => Some((count, since.as_secs())),
                Say::First => panic!("it was told"),
                Say::Nothing => None,
            })
            .collect();
        assert_eq!(told, [(61, 60), (181, 180), (421, 420), (901, 900), (1861, 1860), (3661, 3660)]);
        // Another call that fails so is no news; one that fails otherwise is.
        assert_eq!(now.note(Call::Dequeue, REFUSED, at(4_000)), Say::Nothing);
        assert_eq!(now.note(Call::Heartbeat, Kind::Unreachable, at(4_000)), Say::First);
    }

    #[test]
    fn it_is_over_when_no_call_fails_so() {
        let mut now = Now::default();
        let begun = Instant::now();
        now.note(Call::Dequeue, REFUSED, begun);
        now.note(Call::Heartbeat, REFUSED, begun);
        assert!(now.end(Call::Heartbeat).is_none());
        assert_eq!(now.end(Call::Dequeue).map(|(kind, told)| (kind, told.count)), Some((REFUSED, 2)));
        assert!(now.end(Call::Dequeue).is_none());
        assert_eq!(now.note(Call::Dequeue, REFUSED, begun), Say::First);
    }

    #[test]
    fn who_has_to_wait_for_having_been_refused_is_refused_still() {
        let status = |code| ApiError::status(code, &HeaderMap::new(), Bytes::new());
        let mut now = Now::default();
        let busy = status(StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(now.kind(Call::Ping, &busy), Kind::Status(429));
        let kind = now.kind(Call::Ping, &status(StatusCode::UNAUTHORIZED));
        now.note(Call::Ping, kind, Instant::now());
        assert_eq!((kind, now.kind(Call::Ping, &busy)), (REFUSED, REFUSED));
    }
}
