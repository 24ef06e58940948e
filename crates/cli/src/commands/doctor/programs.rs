//! Programs that the agent itself starts.

use super::finding::{Finding, fatal, ok};
use super::known::Known;
use crate::commands::validate::find_git;
use std::time::Duration;

const LIMIT: Duration = Duration::from_millis(3500);

pub(super) async fn findings(known: &Known) -> Vec<Finding> {
    let environment = known.agent.tool_env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    vec![judge(find_git(environment, LIMIT).await)]
}

fn judge(found: Result<String, String>) -> Finding {
    match found {
        Ok(version) => ok("git.version", format!("git {version}")),
        Err(fault) => {
            let seen = fault.lines().next().unwrap_or_default();
            fatal("git.version", seen, "install git 2.26 or later where PATH leads: every clone needs it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn a_fault_is_one_line_with_a_remedy() {
        let finding =
            judge(Err("git not found in PATH, is it installed?\nUse your package manager.".to_owned()));
        assert_eq!(finding.severity, Severity::Fatal);
        assert_eq!(finding.seen, "git not found in PATH, is it installed?");
        assert_eq!(judge(Ok("2.39.2".to_owned())).seen, "git 2.39.2");
    }
}
