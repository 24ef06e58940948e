//! Whether jobs of the queue `batches` can run in the form in which a stock instance sends them.

use super::super::finding::{Finding, ok, warning};
use super::super::known::Known;
use super::version::Release;
use std::path::PathBuf;

const ID: &str = "frontend.src-steps";
const QUEUE: &str = "batches";
const PROGRAM: &str = "src";

pub(super) fn look(known: &Known, release: &Release) -> Option<Finding> {
    let agent = &known.agent;
    let is_concerned =
        matches!(release, Release::Stock(_)) && agent.queues.iter().any(|queue| queue == QUEUE);
    let src =
        std::env::split_paths(&agent.search_path).map(|dir| dir.join(PROGRAM)).find(|path| path.is_file());
    is_concerned.then(|| judge(agent.src_steps, src))
}

fn judge(may_run: bool, src: Option<PathBuf>) -> Finding {
    match (may_run, src) {
        (true, Some(src)) => ok(ID, format!("calls of src run on this host, by {}", src.display())),
        (true, None) => warning(
            ID,
            format!("{PROGRAM} is not on PATH, which jobs of the queue {QUEUE} call that are no containers"),
            "install src-cli where PATH leads, or have \"batchChanges.nativeServerSideExecution\": true put into the \
             instance's site configuration",
        ),
        (false, _) => warning(
            ID,
            format!(
                "jobs of the queue {QUEUE} are calls of src unless the instance's site configuration says otherwise, \
                 and those are refused here"
            ),
            "have \"batchChanges.nativeServerSideExecution\": true put into the instance's site configuration, or set \
             EXECUTOR_RUNTIME=docker and EXECUTOR_SRC_STEPS=true to let src run on this host",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Severity;
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let found = Some(PathBuf::from("/bin/src"));
        assert_eq!(judge(true, found.clone()).severity, Severity::Ok);
        assert!(judge(true, None).seen.contains("not on PATH"));
        assert!(judge(false, found).remedy.contains("nativeServerSideExecution"));
    }
}
