//! Whether jobs of the queue `batches` can run in the form in which a stock instance sends them.

use super::super::finding::{Finding, ok, warning};
use super::super::known::Known;
use super::CALL_LIMIT;
use super::version::Release;
use crate::agent_config::SrcSteps;
use crate::commands::validate::{Judgement, REFUSED, REMEDY, find_src, judge_src};
use std::path::PathBuf;

const ID: &str = "frontend.src-steps";
const QUEUE: &str = "batches";
const PROGRAM: &str = "src";

pub(super) async fn look(known: &Known, release: &Release) -> Option<Finding> {
    let agent = &known.agent;
    let Release::Stock(recommended) = release else { return None };
    if !agent.queues.iter().any(|queue| queue == QUEUE) {
        return None;
    }
    let src =
        std::env::split_paths(&agent.search_path).map(|dir| dir.join(PROGRAM)).find(|path| path.is_file());
    let found = match src.filter(|_| agent.src_steps == SrcSteps::Run) {
        Some(path) => {
            let environment = agent.tool_env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            Some((path, find_src(environment, CALL_LIMIT).await))
        }
        None => None,
    };
    Some(judge(agent.src_steps, found, recommended))
}

/// `found` is where src is, and the version that it says it has.
fn judge(steps: SrcSteps, found: Option<(PathBuf, Result<String, String>)>, recommended: &str) -> Finding {
    match (steps, found) {
        (SrcSteps::Run, Some((path, Ok(version)))) => match judge_src(&version, recommended) {
            Judgement::Fits => {
                ok(ID, format!("calls of src run on this host, by {} {version}", path.display()))
            }
            Judgement::Older(seen) | Judgement::Other(seen) => warning(
                ID,
                format!("{seen} ({})", path.display()),
                format!(
                    "put src {recommended} there: jobs are written for it, and may ask for what another lacks"
                ),
            ),
        },
        (SrcSteps::Run, Some((path, Err(fault)))) => warning(
            ID,
            format!("{fault} ({})", path.display()),
            format!("put src {recommended} there, which the instance recommends"),
        ),
        (SrcSteps::Run, None) => warning(
            ID,
            format!("{PROGRAM} is not on PATH, which jobs of the queue {QUEUE} call that are no containers"),
            format!(
                "install src-cli {recommended} where PATH leads, or have \"batchChanges.nativeServerSideExecution\": true \
                 put into the instance's site configuration"
            ),
        ),
        (SrcSteps::Refused, _) => warning(ID, REFUSED, REMEDY),
        (SrcSteps::Declined, _) => ok(
            ID,
            "calls of src are refused, as EXECUTOR_SRC_STEPS=false says; the instance's site configuration must have \
             \"batchChanges.nativeServerSideExecution\": true",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Severity;
    use super::*;

    #[test]
    fn what_is_missing_or_does_not_fit_is_told() {
        let found = |version: &str| Some((PathBuf::from("/bin/src"), Ok(version.to_owned())));
        assert_eq!(judge(SrcSteps::Run, found("5.6.1"), "5.6.1").severity, Severity::Ok);
        for (version, told) in [("5.6.0", "consider upgrading"), ("5.5.0", "not the recommended version")] {
            let finding = judge(SrcSteps::Run, found(version), "5.6.1");
            assert!(finding.seen.contains(told) && finding.remedy.contains("5.6.1"), "{finding:?}");
            assert_eq!(finding.severity, Severity::Warning);
        }
        let broken = Some((PathBuf::from("/bin/src"), Err("it fails".to_owned())));
        assert!(judge(SrcSteps::Run, broken, "5.6.1").seen.contains("it fails"));
        assert!(judge(SrcSteps::Run, None, "5.6.1").seen.contains("not on PATH"));
        let refused = judge(SrcSteps::Refused, None, "5.6.1");
        assert!(refused.seen.contains("nativeServerSideExecution"), "{refused:?}");
        assert_eq!(refused.severity, Severity::Warning);
        assert_eq!(judge(SrcSteps::Declined, None, "5.6.1").severity, Severity::Ok);
    }
}
