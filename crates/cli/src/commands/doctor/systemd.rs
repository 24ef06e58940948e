//! The unit of systemd that this process runs in.

use super::finding::{Finding, info, ok, warning};
use super::known::Known;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

const ID: &str = "systemd.unit";
const LIMIT: Duration = Duration::from_secs(3);
const FACTS: &str = "Delegate,KillMode,LimitNOFILE,TasksMax";

pub(super) async fn findings(known: &Known) -> Vec<Finding> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let Some(unit) = crate::systemd::service(&groups) else {
        return vec![info(ID, "not run in a service of systemd: run in one, doctor looks at that as well")];
    };
    let path = known.agent.tool_env.iter().find(|(name, _)| name == "PATH");
    let mut show = Command::new("systemctl");
    show.args(["show", unit, "--property", FACTS]).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    show.envs(path.map(|(name, value)| (name, value)));
    match tokio::time::timeout(LIMIT, show.output()).await {
        Ok(Ok(output)) if output.status.success() => judge(
            unit,
            &String::from_utf8_lossy(&output.stdout),
            known.agent.max_jobs as u64,
            known.agent.limits.pids,
        ),
        _ => vec![info(ID, format!("systemd does not tell how {unit} is set up"))],
    }
}

fn judge(unit: &str, told: &str, jobs: u64, pids: Option<u64>) -> Vec<Finding> {
    let facts: BTreeMap<&str, &str> = told.lines().filter_map(|line| line.split_once('=')).collect();
    let mut findings = Vec::new();
    let mut warn = |seen: String, remedy: String| findings.push(warning(ID, seen, remedy));
    let line = |setting: &str| format!("write {setting} into the section [Service] of {unit}");
    if facts.get("Delegate").is_some_and(|value| *value != "yes") {
        warn(
            format!("{unit} may not have control groups of its own: limits of jobs can't be enforced"),
            line("Delegate=yes"),
        );
    }
    if facts.get("KillMode").is_some_and(|value| !matches!(*value, "mixed" | "process")) {
        let mode = facts.get("KillMode").unwrap_or(&"");
        warn(
            format!("to stop {unit} means to kill its jobs (KillMode={mode}), not to let them finish"),
            line("KillMode=mixed"),
        );
    }
    let number = |name: &str| facts.get(name).and_then(|value| value.parse::<u64>().ok());
    let files = 256 + 64 * jobs;
    if let Some(limit) = number("LimitNOFILE").filter(|limit| *limit < files) {
        warn(format!("{unit} may have {limit} open files, and needs {files}"), line("LimitNOFILE=65536"));
    }
    let wanted = pids.map(|pids| pids.saturating_mul(jobs));
    if let Some(limit) = number("TasksMax").filter(|limit| wanted.is_some_and(|wanted| *limit < wanted)) {
        warn(
            format!("{unit} may have {limit} processes, jobs included, which have limits of their own"),
            line("TasksMax=infinity"),
        );
    }
    if findings.is_empty() {
        findings.push(ok(ID, format!("{unit} is set up as jobs need it")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn each_setting_is_judged() {
        let good = "Delegate=yes\nKillMode=mixed\nLimitNOFILE=65536\nTasksMax=infinity\n";
        let found = judge("executor.service", good, 8, Some(4096));
        assert!(found.len() == 1 && found[0].severity == Severity::Ok, "{found:?}");
        let bad = "Delegate=no\nKillMode=control-group\nLimitNOFILE=512\nTasksMax=4915\n";
        let found = judge("executor.service", bad, 8, Some(4096));
        let remedies: Vec<&str> = found.iter().map(|finding| finding.remedy.as_str()).collect();
        assert_eq!(remedies.len(), 4, "{remedies:?}");
        for (remedy, setting) in
            remedies.iter().zip(["Delegate=yes", "KillMode=mixed", "LimitNOFILE=65536", "TasksMax=infinity"])
        {
            assert!(remedy.contains(setting), "{remedy}");
        }
        assert_eq!(judge("x.service", "", 1, None)[0].severity, Severity::Ok);
    }
}
