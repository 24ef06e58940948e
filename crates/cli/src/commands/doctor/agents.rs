//! Agents that work with the data directory, and what others have left there.

use super::finding::{Finding, info, ok, warning};
use super::known::Known;
use super::sizes::counted;
use crate::paths;
use agent::{Seen, StateDirs};

/// Blocking: some small files.
pub(super) fn findings(known: &Known) -> Vec<Finding> {
    let dir = paths::agent(&known.data_dir);
    let seen = StateDirs::below(dir.clone()).look();
    vec![running(&seen), left(&seen, runtimes::oci::dead(&dir.join("oci")))]
}

fn running(seen: &[Seen]) -> Finding {
    const ID: &str = "agent.running";
    let agents: Vec<String> = seen.iter().filter(|seen| seen.is_held).map(told).collect();
    if agents.is_empty() {
        return info(ID, "no agent works with the data directory");
    }
    let count = counted(agents.len() as u64, "agent");
    info(ID, format!("{count} with the data directory: {}", agents.join("; ")))
}

fn told(Seen { name, serves, pid, .. }: &Seen) -> String {
    let name = name.as_deref().unwrap_or("one without a name");
    let process = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    let serves = serves.as_ref().map(|serves| format!(" for {serves}")).unwrap_or_default();
    format!("{name}{process}{serves}")
}

fn left(seen: &[Seen], sandboxes: usize) -> Finding {
    const ID: &str = "agent.left";
    let jobs: usize = seen.iter().filter(|seen| !seen.is_held).map(|seen| seen.jobs).sum();
    let left = [
        (jobs, "job that no agent looks after", "jobs that no agent looks after"),
        (sandboxes, "sandbox", "sandboxes"),
    ];
    let left = left.into_iter().filter(|(count, ..)| *count > 0);
    let left: Vec<String> =
        left.map(|(count, one, more)| format!("{count} {}", if count == 1 { one } else { more })).collect();
    if left.is_empty() {
        return ok(ID, "nothing is left of agents that are gone");
    }
    warning(
        ID,
        format!("agents that are gone have left {}", left.join(" and ")),
        "start the agent again as it was: it takes jobs up that still run, hands others back and removes the rest",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    fn agent(is_held: bool, jobs: usize) -> Seen {
        let (name, serves) = (Some("host-1".to_owned()), Some("http://cp batches".to_owned()));
        Seen { name, serves, pid: Some(7), is_held, jobs }
    }

    #[test]
    fn agents_are_told_with_what_they_serve() {
        assert_eq!(running(&[agent(false, 0)]).seen, "no agent works with the data directory");
        let finding = running(&[agent(true, 1), Seen::default(), Seen { is_held: true, ..Seen::default() }]);
        let told =
            "2 agents with the data directory: host-1 (process 7) for http://cp batches; one without a name";
        assert_eq!((finding.severity, finding.seen.as_str()), (Severity::Info, told));
    }

    #[test]
    fn only_what_nobody_has_is_left() {
        assert_eq!(left(&[agent(true, 3), agent(false, 0)], 0).severity, Severity::Ok);
        let finding = left(&[agent(false, 1), agent(true, 5)], 2);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(
            finding.seen.ends_with("left 1 job that no agent looks after and 2 sandboxes"),
            "{finding:?}"
        );
    }
}
