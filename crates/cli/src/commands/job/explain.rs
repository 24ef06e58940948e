//! `executor job explain`.

use super::used_retries;
use crate::args::JobArgs;
use crate::client::Client;
use crate::commands::print;
use crate::exit::{Exit, Outcome};
use crate::shown;
use jobs::{EndReason, State};
use server::api::{ExplainView, JobView};

/// Blanks before what goes on from the line above.
const INDENT: usize = 4;

pub(super) async fn run(client: &Client, args: &JobArgs) -> Outcome {
    let explained: ExplainView = client.get(&format!("/api/v1/jobs/{}/explain", args.id)).await?;
    if args.json {
        print::json(&explained)?;
    } else {
        lines(&explained).iter().try_for_each(|line| print::line(&shown::paragraph(line, INDENT)))?;
    }
    Ok(Exit::Success)
}

fn lines(explained: &ExplainView) -> Vec<String> {
    let job = &explained.job;
    match job.state {
        State::Queued => waits(explained, "waits"),
        State::Errored => waits(explained, "waits for another try"),
        State::Processing => {
            let executor = job.executor.as_deref().unwrap_or("an executor");
            let stopping = if job.cancel_requested { ", and was asked to stop" } else { "" };
            vec![format!("job {} runs on {executor}, attempt {}{stopping}", job.id, job.attempt)]
        }
        State::Completed | State::Failed | State::Canceled => vec![ended(job)],
    }
}

fn waits(explained: &ExplainView, how: &str) -> Vec<String> {
    let reasons =
        explained.obstacles.iter().map(|obstacle| format!("  {}: {}", obstacle.code, obstacle.text));
    std::iter::once(format!("job {} {how}:", explained.job.id)).chain(reasons).collect()
}

fn ended(job: &JobView) -> String {
    let evidence = job.end.as_ref().and_then(|end| EndReason::from_detail(end).evidence());
    let message = job.message.clone().filter(|message| !message.trim().is_empty());
    let retries = used_retries(job).filter(|_| job.state == State::Failed);
    let retries = retries.map(|used| format!("retries: {used}"));
    let told: Vec<String> = [evidence, message, retries].into_iter().flatten().collect();
    let told = if told.is_empty() { String::new() } else { format!(": {}", told.join("; ")) };
    format!(
        "job {} is {}, {}{told}",
        job.id,
        job.state,
        job.reason.as_deref().unwrap_or("for no reason told")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(with: &serde_json::Value) -> JobView {
        let mut job = serde_json::json!({
            "id": 5, "namespace": "global", "queue": "batches", "state": "failed", "reason": "exit_code", "blame": "job",
            "end": {"reason": "exit_code", "step": "build", "exitCode": 2}, "cancelRequested": false, "attempt": 1,
            "queuedAt": "2031-01-01T06:00:00Z",
        });
        let with = with.as_object().unwrap().clone();
        job.as_object_mut().unwrap().extend(with);
        serde_json::from_value(job).unwrap()
    }

    fn told(with: &serde_json::Value) -> String {
        ended(&job(with))
    }

    #[test]
    fn one_that_was_asked_to_stop_and_runs_is_told_so() {
        let line = |asked: bool| {
            let with =
                serde_json::json!({"state": "processing", "executor": "host-1", "cancelRequested": asked});
            lines(&ExplainView { job: job(&with), obstacles: Vec::new() }).join("\n")
        };
        assert_eq!(line(false), "job 5 runs on host-1, attempt 1");
        assert_eq!(line(true), "job 5 runs on host-1, attempt 1, and was asked to stop");
    }

    #[test]
    fn what_is_not_told_leaves_nothing_behind() {
        let whole = told(&serde_json::json!({"message": "no such file"}));
        let bare = whole.strip_suffix("; no such file").unwrap();
        assert!(bare.starts_with("job 5 is failed, exit_code: ") && bare.contains("build"), "{bare}");
        for empty in ["", " \n"] {
            assert_eq!(told(&serde_json::json!({"message": empty})), bare);
        }
        let retried = told(&serde_json::json!({"retries": 2, "retriesUsed": 2}));
        assert_eq!(retried, format!("{bare}; retries: 2 of 2 used, for failures of its own"));
    }
}
