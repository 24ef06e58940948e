//! `executor job explain`.

use crate::args::JobArgs;
use crate::client::Client;
use crate::commands::print;
use crate::exit::Outcome;
use jobs::{EndReason, State};
use server::api::{ExplainView, JobView};

pub(super) async fn run(client: &Client, args: &JobArgs) -> Outcome {
    let explained: ExplainView = client.get(&format!("/api/v1/jobs/{}/explain", args.id)).await?;
    print::tell(args.json, &explained, &lines(&explained).join("\n"))
}

fn lines(explained: &ExplainView) -> Vec<String> {
    let job = &explained.job;
    match job.state {
        State::Queued => waits(explained, "waits"),
        State::Errored => waits(explained, "waits for another try"),
        State::Processing => {
            let executor = job.executor.as_deref().unwrap_or("an executor");
            vec![format!("job {} runs on {executor}, attempt {}", job.id, job.attempt)]
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
    let told: Vec<String> = [evidence, message].into_iter().flatten().collect();
    let told = if told.is_empty() { String::new() } else { format!(": {}", told.join("; ")) };
    format!(
        "job {} is {}, {}{told}",
        job.id,
        job.state,
        job.reason.as_deref().unwrap_or("for no reason told")
    )
}
