//! All looks, at the same time, each within a limit.

use super::finding::{Finding, Severity, finding};
use super::known::Known;
use super::{
    agents, capacity, certificates, configuration, exporters, frontend, kernel, kvm, programs, registries,
    room, runtime, systemd, time,
};
use crate::exit::Failure;
use runtimes::PrivateMounts;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a look may take. All of them together take as long as the longest, so that the whole is over
/// within 5 s whatever does not answer.
const LIMIT: Duration = Duration::from_secs(4);

type Work = Pin<Box<dyn Future<Output = Vec<Finding>> + Send>>;

/// A look, and what is said if it is not over in time.
struct Look {
    /// The check that stands for it.
    id: &'static str,
    /// How bad it is not to know.
    severity: Severity,
    work: Work,
}

/// Looks at everything.
pub(super) async fn all(known: &Arc<Known>, mounts: Result<PrivateMounts, Failure>) -> Vec<Finding> {
    let mut looking = JoinSet::new();
    for look in looks(known, mounts) {
        looking.spawn(within(LIMIT, look));
    }
    let mut findings = configuration::findings(known);
    findings.extend(looking.join_all().await.into_iter().flatten());
    findings
}

fn looks(known: &Arc<Known>, mounts: Result<PrivateMounts, Failure>) -> Vec<Look> {
    let known = || Arc::clone(known);
    vec![
        asking("config.exporter", Severity::Warning, known(), async |known| {
            exporters::findings(&known).await
        }),
        asking("frontend.answer", Severity::Fatal, known(), async |known| frontend::findings(&known).await),
        asking("git.version", Severity::Fatal, known(), async |known| programs::findings(&known).await),
        asking("engine.reachable", Severity::Fatal, known(), async |known| runtime::engine(&known).await),
        asking("engine.workspaces", Severity::Info, known(), async |known| {
            runtime::directories(&known).await
        }),
        asking("registry.answer", Severity::Warning, known(), async |known| {
            registries::answers(&known).await
        }),
        asking("systemd.unit", Severity::Warning, known(), async |known| systemd::findings(&known).await),
        blocking("oci.runtime", Severity::Fatal, known(), |known| runtime::oci(known, mounts)),
        blocking("certificates.system", Severity::Warning, known(), certificates::findings),
        blocking("registry.config", Severity::Fatal, known(), registries::credentials),
        blocking("disk.room", Severity::Fatal, known(), room::findings),
        blocking("agent.left", Severity::Warning, known(), agents::findings),
        blocking("host.memory", Severity::Warning, known(), capacity::findings),
        blocking("kernel.version", Severity::Warning, known(), |_| kernel::findings()),
        blocking("kernel.kvm", Severity::Info, known(), |_| vec![kvm::finding()]),
        blocking("host.time", Severity::Warning, known(), |_| vec![time::finding()]),
    ]
}

fn asking<F>(
    id: &'static str,
    severity: Severity,
    known: Arc<Known>,
    look: impl FnOnce(Arc<Known>) -> F,
) -> Look
where
    F: Future<Output = Vec<Finding>> + Send + 'static,
{
    Look { id, severity, work: Box::pin(look(known)) }
}

fn blocking(
    id: &'static str,
    severity: Severity,
    known: Arc<Known>,
    look: impl FnOnce(&Known) -> Vec<Finding> + Send + 'static,
) -> Look {
    let work = async move {
        let looked = tokio::task::spawn_blocking(move || look(&known)).await;
        // It goes on as if it had been here.
        looked.unwrap_or_else(|fault| match fault.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Vec::new(),
        })
    };
    Look { id, severity, work: Box::pin(work) }
}

async fn within(limit: Duration, look: Look) -> Vec<Finding> {
    let Look { id, severity, work } = look;
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let seen = format!("this could not be looked at within {} s", limit.as_secs_f64());
        let remedy = if severity == Severity::Info { "" } else { "look at what it asks: something hangs" };
        vec![finding(id, severity, seen, remedy)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_hangs_is_a_finding() {
        let hangs =
            Look { id: "disk.room", severity: Severity::Fatal, work: Box::pin(std::future::pending()) };
        let found = within(Duration::from_millis(1), hangs).await;
        assert_eq!((found[0].id, found[0].severity), ("disk.room", Severity::Fatal));
    }
}
