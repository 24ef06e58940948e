//! `executor job`.

mod artifacts;
mod explain;
mod file;
mod files;
mod follow;
mod many;
mod printer;
mod results;
mod sink;
mod submit;
mod upload;
mod yaml;

use super::print;
use crate::args::{JobArgs, JobCommand, JobListArgs, JobLogsArgs};
use crate::client::{Client, with_query};
use crate::env::Variables;
use crate::exit::{Exit, Failure, Outcome};
use jiff::Timestamp;
use jobs::{Blame, Canceler, EndReason, State};
use server::api::{ConcurrencyView, JobView, Page, StepView, TryView};

pub(crate) async fn run(client: &Client, variables: &Variables, command: JobCommand) -> Outcome {
    match command {
        JobCommand::Run(args) => submit::run(client, variables, *args).await,
        JobCommand::Submit(args) => many::run(client, args).await,
        JobCommand::Upload(args) => upload::run(client, args).await,
        JobCommand::List(args) => list(client, args).await,
        JobCommand::Show(args) => show(client, args).await,
        JobCommand::Explain(args) => explain::run(client, &args).await,
        JobCommand::Logs(args) => logs(client, args).await,
        JobCommand::Artifacts(args) => artifacts::run(client, args).await,
        JobCommand::Results(args) => results::run(client, args).await,
        JobCommand::Cancel(args) => cancel(client, args).await,
    }
}

/// How a job's end maps to the client's exit code.
pub(super) fn exit_of(job: &JobView) -> Exit {
    match (job.state, job.blame) {
        (State::Completed, _) => Exit::Success,
        (State::Canceled, _) => Exit::Canceled,
        (State::Failed | State::Errored, Some(Blame::System)) => Exit::System,
        _ => Exit::Failed,
    }
}

/// Who has to act.
const fn blamed(blame: Blame) -> Option<&'static str> {
    match blame {
        Blame::Nobody => None,
        Blame::Job => Some("the job"),
        Blame::System => Some("the system"),
    }
}

async fn list(client: &Client, args: JobListArgs) -> Outcome {
    if let Some(queue) = &args.queue {
        jobs::name::check_queue(queue).map_err(Failure::usage)?;
    }
    let none = if args.text.is_some() || args.executor.is_some() || args.before.is_some() {
        "no such jobs"
    } else {
        "no jobs: submit one with `executor job run --image IMG -- CMD`"
    };
    let asked = [
        ("limit", Some(args.limit.to_string())),
        ("queue", args.queue),
        ("namespace", args.namespace.map(|of| of.to_string())),
        ("executor", args.executor),
        ("state", args.state.map(|state| state.to_string())),
        ("text", args.text),
        ("cursor", args.before.map(|id| id.to_string())),
    ];
    let page: Page<JobView> = client.get(&with_query("/api/v1/jobs", asked)).await?;
    let head = ["ID", "STATE", "REASON", "NAMESPACE", "QUEUE", "REPOSITORY", "QUEUED", "TOOK"];
    print::page(args.json, &page, &head, none, row)
}

fn row(job: &JobView) -> Vec<String> {
    let took = job.started_at.map_or(String::new(), |started| {
        print::span(started, job.finished_at.unwrap_or_else(Timestamp::now))
    });
    vec![
        job.id.to_string(),
        job.state.to_string(),
        job.reason.clone().unwrap_or_default(),
        job.namespace.to_string(),
        job.queue.clone(),
        job.repository.clone().unwrap_or_default(),
        print::ago(job.queued_at),
        took,
    ]
}

async fn show(client: &Client, args: JobArgs) -> Outcome {
    let job: JobView = client.get(&format!("/api/v1/jobs/{}", args.id)).await?;
    if args.json {
        print::json(&job)?;
        return Ok(Exit::Success);
    }
    print::facts(facts(&job))?;
    for earlier in &job.earlier_tries {
        let (attempt, ended) = (earlier.attempt, earlier_end(earlier));
        print::fact(&format!("attempt {attempt}"), &ended)?;
    }
    print::line("")?;
    let steps = job.steps.iter().map(|step| {
        vec![
            step.key.clone(),
            step.image.clone(),
            exit_code_of(step, &job),
            step.duration_ms.map_or(String::new(), print::millis),
        ]
    });
    print::table(&["STEP", "IMAGE", "EXIT CODE", "TOOK"], steps.collect(), "no steps")?;
    Ok(Exit::Success)
}

/// What there is to tell of a job, each with its name; what it has nothing of is left out.
fn facts(job: &JobView) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("job", job.id.to_string()),
        ("state", job.state.to_string()),
        ("namespace", job.namespace.to_string()),
        ("queue", job.queue.clone()),
        ("attempt", job.attempt.to_string()),
        ("queued", job.queued_at.to_string()),
    ];
    let optional = [
        ("reason", job.reason.clone()),
        ("cancel", job.canceler.clone().filter(|_| job.end.is_none()).and_then(asked)),
        ("evidence", job.end.as_ref().and_then(|end| EndReason::from_detail(end).evidence())),
        ("blame", job.blame.and_then(blamed).map(str::to_owned)),
        ("message", job.message.clone()),
        ("executor", job.executor.clone()),
        ("repository", job.repository.clone()),
        ("revision", job.rev.clone()),
        ("commit", job.commit.clone()),
        ("started", job.started_at.map(|time| time.to_string())),
        ("finished", job.finished_at.map(|time| time.to_string())),
        ("priority", Some(job.priority).filter(|priority| *priority != 0).map(|it| it.to_string())),
        ("needs", job.needs.as_ref().map(ToString::to_string)),
        ("concurrency", job.concurrency.as_ref().map(|of| concurrency(of, job.waits_for_key))),
        ("not before", job.not_before.map(|time| time.to_string())),
        ("retries", used_retries(job)),
        ("next try", job.retry_at.map(|time| format!("from {time} on"))),
    ];
    facts.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    facts
}

fn concurrency(of: &ConcurrencyView, waits: bool) -> String {
    let waits = if waits { "; it waits for its turn" } else { "" };
    format!("at most {} with the key {} at once{waits}", of.limit, of.key)
}

/// Of a job that may be tried again after failures of its own.
pub(super) fn used_retries(job: &JobView) -> Option<String> {
    (job.retries > 0)
        .then(|| format!("{} of {} used, for failures of its own", job.retries_used, job.retries))
}

/// Who asked for a job to stop that has not ended yet.
fn asked(canceler: Canceler) -> Option<String> {
    EndReason::Canceled(canceler).evidence().map(|who| format!("asked for {who}"))
}

/// How a try ended that another one followed, or may follow.
pub(super) fn earlier_end(earlier: &TryView) -> String {
    let executor = earlier.executor.as_deref().unwrap_or("an executor");
    let late = (earlier.late_calls > 0).then(|| {
        format!("{} calls came after that and were refused: it may have run on", earlier.late_calls)
    });
    let told = [EndReason::from_detail(&earlier.end).evidence(), earlier.message.clone(), late];
    let told = told.into_iter().flatten().filter(|text| !text.trim().is_empty());
    let told: Vec<String> = told.collect();
    let told = if told.is_empty() { String::new() } else { format!(": {}", told.join("; ")) };
    format!("{} on {executor}{told}", earlier.reason)
}

/// A step's exit code, or why there is none. Empty until it has ended.
fn exit_code_of(step: &StepView, job: &JobView) -> String {
    let no_image = || matches!(job.reason.as_deref(), Some("image" | "image_unavailable"));
    match (step.exit_code, step.duration_ms) {
        (Some(code), _) => code.to_string(),
        (None, None) => String::new(),
        (None, Some(_)) if no_image() => "did not start".to_owned(),
        (None, Some(_)) => "none".to_owned(),
    }
}

async fn logs(client: &Client, args: JobLogsArgs) -> Outcome {
    if args.follow {
        return follow::followed(client, args.id, args.json).await;
    }
    follow::so_far(client, args.id, args.attempt, args.json).await
}

async fn cancel(client: &Client, args: JobArgs) -> Outcome {
    let job: JobView = client.post(&format!("/api/v1/jobs/{}/cancel", args.id), &()).await?;
    let told = if job.state == State::Canceled {
        format!("job {} is canceled", job.id)
    } else {
        format!("job {} is asked to stop; see how it ends with `executor job show {}`", job.id, job.id)
    };
    print::tell(args.json, &job, &told)
}
