//! An engine that was started together with this program may be a moment late: both at boot, both in one pod.

use crate::exit::Failure;
use crate::logging;
use runtimes::docker::REACHABLE;
use runtimes::{Finding, Severity};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long an engine that does not answer is waited for.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// What `look` finds once the engine answers, or when `limit` is over or somebody wants to leave. Where no engine
/// is needed, none is missing.
pub(crate) async fn awaited(
    limit: Duration,
    drain: &CancellationToken,
    mut look: impl AsyncFnMut() -> Vec<Finding>,
) -> Result<Vec<Finding>, Failure> {
    let end = Instant::now() + limit;
    let mut is_told = false;
    loop {
        let findings = look().await;
        let missing =
            findings.iter().find(|found| found.id == REACHABLE && found.severity == Severity::Fatal);
        let Some(missing) = missing.filter(|_| Instant::now() < end && !drain.is_cancelled()) else {
            return Ok(findings);
        };
        if !is_told {
            logging::tell(&format!("waiting {} s for the engine: {}", limit.as_secs(), missing.seen))?;
            is_told = true;
        }
        let _ = drain.run_until_cancelled(sleep(PAUSE)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity) -> Finding {
        Finding { id: REACHABLE, severity, seen: "nobody listens".to_owned(), remedy: String::new() }
    }

    /// How often was looked for an engine that is there from the look number `there` on, and how that ended.
    async fn looks(there: u32, limit: Duration, drain: &CancellationToken) -> (u32, Severity) {
        let mut looks = 0;
        let look = async || {
            looks += 1;
            vec![finding(if looks < there { Severity::Fatal } else { Severity::Info })]
        };
        let found = awaited(limit, drain, look).await.unwrap();
        (looks, found[0].severity)
    }

    #[tokio::test]
    async fn an_engine_is_waited_for_and_not_for_ever() {
        let drain = CancellationToken::new();
        assert_eq!(looks(1, LIMIT, &drain).await, (1, Severity::Info));
        assert_eq!(looks(3, LIMIT, &drain).await, (3, Severity::Info));
        assert_eq!(looks(u32::MAX, PAUSE / 2, &drain).await, (2, Severity::Fatal));
        drain.cancel();
        assert_eq!(looks(u32::MAX, LIMIT, &drain).await, (1, Severity::Fatal));
    }
}
