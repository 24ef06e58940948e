//! What an agent shows of itself while it works: to whoever started it, on its own address, in heartbeats.

use crate::audit::AuditLog;
use crate::config::AgentConfig;
use crate::health::Health;
use crate::host_disk::HostDisk;
use crate::metrics::{Metrics, Now};
use crate::trace::Tracer;
use crate::trouble::Troubles;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// What was gathered longer ago is not told any more.
const STALE: Duration = Duration::from_secs(30);

/// A handle on it. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Monitor(Arc<Inner>);

#[derive(Default)]
struct Inner {
    metrics: Metrics,
    health: Health,
    troubles: Troubles,
    address: OnceLock<SocketAddr>,
    audit: OnceLock<AuditLog>,
    tracer: OnceLock<Option<Tracer>>,
    /// What heartbeats carry, and since when it is known.
    gathered: Mutex<Option<(Instant, String)>>,
    /// The control plane does not take heartbeats with it.
    refused: AtomicBool,
}

impl Monitor {
    /// Whether jobs can be taken. `config` is the agent's.
    pub fn is_ready(&self, config: &AgentConfig) -> bool {
        self.0.health.not_ready(config.heartbeat_interval).is_empty()
    }

    /// Whether the control plane has ever answered.
    pub fn was_answered(&self) -> bool {
        self.0.health.unanswered_for().is_some()
    }

    /// For how long the heartbeat has made no progress, whether or not it is answered.
    pub fn still_for(&self) -> Duration {
        self.0.health.still_for()
    }

    /// How many jobs run.
    pub fn running(&self) -> usize {
        self.0.metrics.running()
    }

    /// Where health and metrics are told, once they are.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address.get().copied()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn health(&self) -> &Health {
        &self.0.health
    }

    /// Which calls to the control plane fail.
    pub(crate) fn troubles(&self) -> &Troubles {
        &self.0.troubles
    }

    /// Who sends traces, if they are to be sent.
    pub(crate) fn tracer(&self, config: &AgentConfig) -> Option<&Tracer> {
        self.0.tracer.get_or_init(|| Tracer::new(config)).as_ref()
    }

    /// Waits a moment for traces that are under way.
    pub(crate) async fn flush(&self) {
        if let Some(Some(tracer)) = self.0.tracer.get() {
            tracer.flush().await;
        }
    }

    /// Where jobs are written down; `None` before the agent has begun.
    pub(crate) fn audit(&self) -> Option<&AuditLog> {
        self.0.audit.get()
    }

    pub(crate) fn audits(&self, log: AuditLog) {
        // An agent begins once.
        let _ = self.0.audit.set(log);
    }

    pub(crate) fn listens(&self, address: SocketAddr) {
        // An agent listens once.
        let _ = self.0.address.set(address);
    }

    /// All metrics of this process as text. Looks at files of the system.
    pub(crate) fn own_metrics(&self, config: &AgentConfig) -> String {
        let now = Now {
            slots: config.max_jobs,
            heartbeat_age: self.0.health.unanswered_for(),
            draining: self.0.health.is_draining(),
            ready: self.is_ready(config),
            disk: HostDisk::of(&config.work_dir).free_and_floor(config.disk_floor),
        };
        self.0.metrics.text(&config.all_queues(), &config.telemetry.executor_version, &now)
    }

    /// Keeps what the next heartbeats are to carry.
    pub(crate) fn gathered(&self, text: String) {
        *self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), text));
    }

    /// What a heartbeat is to carry; nothing while nothing is known.
    pub(crate) fn for_heartbeat(&self) -> String {
        if self.0.refused.load(Ordering::Relaxed) {
            return String::new();
        }
        let gathered = self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = gathered.as_ref().filter(|(since, _)| since.elapsed() < STALE);
        fresh.map(|(_, text)| text.clone()).unwrap_or_default()
    }

    /// A heartbeat was too large for the control plane: those to come go without; tells whether this is news.
    pub(crate) fn too_large(&self) -> bool {
        !self.0.refused.swap(true, Ordering::Relaxed)
    }
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_or_is_old_is_not_told() {
        let monitor = Monitor::default();
        assert_eq!(monitor.for_heartbeat(), "");
        monitor.gathered("up 1\n".to_owned());
        assert_eq!(monitor.for_heartbeat(), "up 1\n");
        if let Some(old) = Instant::now().checked_sub(STALE) {
            monitor.0.gathered.lock().unwrap().as_mut().unwrap().0 = old;
            assert_eq!(monitor.for_heartbeat(), "");
        }
        monitor.gathered("up 1\n".to_owned());
        assert!(monitor.too_large() && !monitor.too_large());
        assert_eq!(monitor.for_heartbeat(), "");
    }
}
