//! A server that runs, as its own API tells of it.

use super::{Known, within};
use crate::client::Client;
use crate::commands::doctor::finding::{Finding, info, ok, warning};
use crate::commands::serve;
use server::api::{ExecutorView, QueueView, VersionView};

/// Executors that are named in a finding.
const NAMED: usize = 5;
/// What our executors say to every instance: stock ones take it for a build that nothing is to be said of.
const DEVELOPMENT: &str = "0.0.0+dev";

pub(super) async fn findings(known: &Known) -> Vec<Finding> {
    within("server.running", looked(known)).await
}

async fn looked(known: &Known) -> Vec<Finding> {
    const ID: &str = "server.running";
    let shown = serve::tls_files(&known.args).and_then(|files| files.check().ok());
    let url = serve::url_of(known.args.listen, shown.as_ref());
    let token = match std::fs::read_to_string(known.data_dir.join("api-token")) {
        Ok(token) => token.trim().to_owned(),
        Err(_) => {
            return vec![info(
                ID,
                "no server has run with this data directory yet, or its token can't be read",
            )];
        }
    };
    let Ok(base) = url.parse() else { return Vec::new() };
    let Ok(client) = Client::new(base, token.into(), &known.roots) else { return Vec::new() };
    let Ok(VersionView { version }) = client.get("/api/v1/version").await else {
        return vec![info(ID, format!("no server with this data directory answers at {url}"))];
    };
    let own = env!("CARGO_PKG_VERSION");
    let mut findings = vec![if version == own {
        ok(ID, format!("a server of version {version} answers at {url}"))
    } else {
        let seen = format!("a server of version {version} answers at {url}, and this program is of {own}");
        warning(ID, seen, "start the server again to have it run this version")
    }];
    let executors: Option<Vec<ExecutorView>> = client.all("/api/v1/executors").await.ok();
    let queues: Option<Vec<QueueView>> = client.get("/api/v1/queues").await.ok();
    if let Some(executors) = executors {
        findings.push(versions(&executors, &version));
        findings.extend(queues.iter().flatten().map(|queue| served(queue, &executors)));
    }
    findings
}

/// Whether executors that were heard of just now are of the server's version.
fn versions(executors: &[ExecutorView], version: &str) -> Finding {
    const ID: &str = "server.executors";
    let active: Vec<&ExecutorView> = executors.iter().filter(|executor| executor.active).collect();
    if active.is_empty() {
        return info(ID, "no executor was heard of just now");
    }
    let is_other = |told: &str| told != version && told != DEVELOPMENT;
    let others: Vec<&&ExecutorView> = active.iter().filter(|executor| is_other(&executor.version)).collect();
    if others.is_empty() {
        return ok(
            ID,
            format!("{} were heard of just now, none of another version than {version}", active.len()),
        );
    }
    let mut named: Vec<String> =
        others.iter().take(NAMED).map(|other| format!("{} ({})", other.name, other.version)).collect();
    if others.len() > NAMED {
        named.push(format!("{} more", others.len() - NAMED));
    }
    let seen = format!(
        "{} of {} are of other versions than the server's: {}",
        others.len(),
        active.len(),
        named.join(", ")
    );
    info(ID, seen)
}

/// Whether somebody takes a queue's jobs.
fn served(queue: &QueueView, executors: &[ExecutorView]) -> Finding {
    const ID: &str = "server.queues";
    let name = &queue.name;
    let takes = |executor: &&ExecutorView| {
        let asks = executor.active && executor.takes_none.is_none();
        asks && executor.maintenance_at.is_none() && executor.queues.contains(name)
    };
    let count = executors.iter().filter(takes).count();
    let waiting = queue.queued - queue.held;
    if queue.paused_at.is_some() {
        return info(ID, format!("the queue {name} is paused, and {waiting} jobs wait in it"));
    }
    match (count, waiting) {
        (0, 0) => info(ID, format!("no executor serves the queue {name}, and no job waits in it")),
        (0, _) => {
            let remedy = "start an agent with this queue in EXECUTOR_QUEUE_NAMES, end the maintenance of one, or make room on its disk";
            warning(
                ID,
                format!("no executor takes jobs of the queue {name}, and {waiting} wait in it"),
                remedy,
            )
        }
        _ => ok(ID, format!("{count} executors serve the queue {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Severity::{Info, Ok, Warning};
    use serde_json::json;

    fn executor(version: &str, active: bool, maintenance: bool) -> ExecutorView {
        let at = "2030-01-01T00:00:00Z";
        let json = json!({"name": "exec-1", "queues": ["batches"], "active": active, "version": version, "platform": "",
                          "firstSeenAt": at, "lastSeenAt": at, "maintenanceAt": maintenance.then_some(at)});
        serde_json::from_value(json).unwrap()
    }

    fn queue(queued: u64, held: u64) -> QueueView {
        let json = json!({"name": "batches", "queued": queued, "held": held, "running": 0, "errored": 0});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_queue_with_jobs_needs_somebody_who_takes_them() {
        let (there, resting, gone) =
            (executor("1", true, false), executor("1", true, true), executor("1", false, false));
        let full = ExecutorView { takes_none: Some("disk-floor".to_owned()), ..there.clone() };
        for (executors, queue, severity) in [
            (&[there][..], queue(1, 0), Ok),
            (&[resting, gone, full], queue(3, 1), Warning),
            (&[], queue(2, 2), Info),
        ] {
            assert_eq!(served(&queue, executors).severity, severity, "{queue:?}");
        }
    }

    #[test]
    fn executors_of_other_versions_are_named() {
        let of = |executors: &[ExecutorView]| versions(executors, "2");
        let none_other =
            [executor("2", true, false), executor(DEVELOPMENT, true, false), executor("1", false, false)];
        assert_eq!(of(&none_other).severity, Ok);
        let told = of(&[executor("2", true, false), executor("1", true, false)]);
        assert_eq!(told.severity, Info);
        assert!(told.seen.contains("1 of 2") && told.seen.contains("exec-1 (1)"), "{told:?}");
        assert_eq!(of(&[executor("1", false, false)]).seen, "no executor was heard of just now");
    }
}
