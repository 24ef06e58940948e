//! What is said of calls to the control plane that fail: each kind of failure once, then rarely and with a count, and when
//! it is over. Agents try again for as long as they live, and a log that tells each try hides everything else. What comes and
//! goes, as through a balancer of which one server is ill, is no news each time it comes.

use crate::api::ApiError;
use crate::error::chain;
use http::StatusCode;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{error, warn};

/// How long it is quiet about failures of a kind that was told; each time twice as long, up to the second. One that was over for
/// less than the first goes on.
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
    /// Whether it was told that calls fail so, and not yet that this is over.
    is_open: bool,
    /// Since when no call fails so.
    over: Option<Instant>,
}

/// What there is to say of a kind of failure that is over.
#[derive(Debug, PartialEq, Eq)]
struct Over {
    kind: Kind,
    count: u64,
    after: Duration,
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
        let over = self.lock().end(call, Instant::now());
        if let Some(Over { kind, count, after }) = over {
            let seconds = after.as_secs();
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
            self.over_unless_failing(before, now);
        }
        self.kinds.retain(|_, told| told.over.is_none_or(|over| now.duration_since(over) < QUIET));
        let Some(told) = self.kinds.get_mut(&kind) else {
            let first = Told { since: now, count: 1, latest: now, quiet: QUIET, is_open: true, over: None };
            self.kinds.insert(kind, first);
            return Say::First;
        };
        told.count += 1;
        if told.over.take().is_some() {
            told.quiet = QUIET;
        }
        if now.duration_since(told.latest) < told.quiet {
            return Say::Nothing;
        }
        told.latest = now;
        told.quiet = (told.quiet * 2).min(LONGEST_QUIET);
        told.is_open = true;
        Say::Again { count: told.count, since: now.duration_since(told.since) }
    }

    /// What there is to say now that a call worked: that its kind of failure is over, if no other call fails so.
    fn end(&mut self, call: Call, now: Instant) -> Option<Over> {
        let kind = self.failing.remove(&call)?;
        let told = self.over_unless_failing(kind, now)?;
        let (count, after) = (told.count, now.duration_since(told.since));
        std::mem::take(&mut told.is_open).then_some(Over { kind, count, after })
    }

    fn over_unless_failing(&mut self, kind: Kind, now: Instant) -> Option<&mut Told> {
        if self.failing.values().any(|failing| *failing == kind) {
            return None;
        }
        let told = self.kinds.get_mut(&kind)?;
        told.over = Some(now);
        Some(told)
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
        let at = |seconds| begun + Duration::from_secs(seconds);
        now.note(Call::Dequeue, REFUSED, at(0));
        now.note(Call::Heartbeat, REFUSED, at(1));
        assert_eq!(now.end(Call::Heartbeat, at(2)), None);
        let over = Over { kind: REFUSED, count: 2, after: Duration::from_secs(3) };
        assert_eq!(now.end(Call::Dequeue, at(3)), Some(over));
        assert_eq!(now.end(Call::Dequeue, at(4)), None);
        assert_eq!(now.note(Call::Dequeue, REFUSED, at(70)), Say::First, "it was well for long enough");
    }

    #[test]
    fn what_comes_and_goes_is_told_now_and_then() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let (mut now, mut told, mut over) = (Now::default(), 0, 0);
        for second in (0..600).step_by(10) {
            told += u32::from(now.note(Call::Heartbeat, Kind::Status(502), at(second)) != Say::Nothing);
            over += u32::from(now.end(Call::Heartbeat, at(second + 5)).is_some());
        }
        assert_eq!((told, over), (10, 10), "once a minute, and each that was told is told to be over");
        let (mut now, mut told) = (Now::default(), 0);
        for second in (0..600).step_by(10) {
            for (status, later) in [(502, 0), (503, 5)] {
                let say = now.note(Call::Heartbeat, Kind::Status(status), at(second + later));
                told += u32::from(say != Say::Nothing);
            }
        }
        assert_eq!(told, 20, "so with two that take turns");
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
