//! What is said of the routes of jobs and their logs.

use super::{NEWER, TEXT, UNREADABLE, get};
use crate::api::{ExplainView, JobView, LogEntryView, Page, ResultsView, SubmitJobs, SubmittedJobs};
use crate::openapi::operation::{Content, Operation, query};
use jobs::{JobSpec, Namespace, State};

/// How events are sent.
const EVENTS: &str = "text/event-stream";

/// Where jobs are submitted, one or many.
const SUBMITTING: [(u16, &str); 10] = [
    (400, "invalid_idempotency_key"),
    (409, "idempotency_key_reused"),
    (409, "submission_under_way"),
    (422, "unknown_file"),
    (502, "source_unreachable"),
    (503, "queue_full"),
    (503, "too_many_fetches"),
    (503, "too_many_lanes"),
    (503, "too_many_large_requests"),
    (503, "too_many_submits"),
];

pub(super) fn all() -> Vec<Operation> {
    const TAG: &str = "jobs";
    let submit =
        Operation::new("POST", "/api/v1/jobs", TAG, "Submits a job: it is on disk when this answers")
            .with(
                query::<String>(
                    "Idempotency-Key",
                    "Makes it a submission that may be made again: the same job comes of it.",
                )
                .header(),
            )
            .takes::<JobSpec>()
            .gives::<JobView>(201, "The job.")
            .problems(&SUBMITTING)
            .problems(&[
                (422, "invalid_job"),
                (422, "unknown_repository"),
                (422, "unknown_revision"),
                (422, "unknown_secret"),
            ]);
    let submit_all = Operation::new(
        "POST",
        "/api/v1/jobs/batch",
        TAG,
        "Submits many jobs, all of them or none: they are on disk when this answers",
    )
    .takes::<SubmitJobs>()
    .gives::<SubmittedJobs>(201, "Their ids.")
    .problems(&SUBMITTING)
    .problem(422, "invalid_jobs");
    let list = get("/api/v1/jobs", TAG, "Lists jobs, newest first")
        .with(query::<String>("queue", "Only those of this queue."))
        .with(query::<State>("state", "Only those in this state."))
        .with(query::<Namespace>("namespace", "Only those of this namespace."))
        .with(query::<String>(
            "text",
            "Only those that have it in their id, source, executor or reason, or in what is listed of their message; upper or lower case.",
        ))
        .with(query::<String>("executor", "Only those that the executor of this name has, or had last."))
        .limit_and_cursor::<i64>()
        .gives::<Page<JobView>>(
            200,
            "A page of jobs, without their steps; of messages the first 512 characters.",
        );
    let show = get("/api/v1/jobs/{id}", TAG, "Shows a job with its steps")
        .gives::<JobView>(200, "The job.")
        .problems(&[(404, "unknown_job"), NEWER]);
    let explain = get("/api/v1/jobs/{id}/explain", TAG, "Tells why a job waits, or why it ended")
        .gives::<ExplainView>(200, "What it waits for.")
        .problems(&[(404, "unknown_job"), (503, "too_many_reads"), NEWER]);
    let cancel = Operation::new("POST", "/api/v1/jobs/{id}/cancel", TAG, "Stops a job")
        .gives::<JobView>(200, "The job: one that runs is asked to stop.")
        .problems(&[(404, "unknown_job"), (409, "job_ended"), NEWER]);
    let attempt = || query::<u32>("attempt", "Which try; the latest unless said.");
    let logs = get("/api/v1/jobs/{id}/logs", TAG, "Lists the entries of a job's log")
        .with(attempt())
        .gives::<Vec<LogEntryView>>(200, "The entries, without their texts.")
        .problems(&[(404, "unknown_job"), (503, "too_many_reads")]);
    let stream =
        get("/api/v1/jobs/{id}/logs/stream", TAG, "Follows a job's state and log as Server-Sent Events")
            .with(query::<String>("cursor", "Where to go on: the id of the last event."))
            .with(query::<String>("Last-Event-ID", "The same, as browsers send it.").header())
            .answers(200, "Events; the data of each is a LogEvent.", Content::Other(EVENTS))
            .problem(404, "unknown_job")
            .problems(&UNREADABLE);
    let text = get("/api/v1/jobs/{id}/logs/{entry}/text", TAG, "Reads the text of a log entry")
        .with(attempt())
        .with(query::<u64>("offset", "From which byte on."))
        .answers(200, "Text from there on; empty at its end.", Content::Other(TEXT))
        .problems(&[(404, "unknown_job"), (404, "unknown_log_entry")])
        .problems(&UNREADABLE);
    let results = get("/api/v1/jobs/{id}/results", TAG, "Tells what an execution of a batch change came to")
        .with(attempt())
        .gives::<ResultsView>(200, "The results of its steps, as its log has them.")
        .problems(&[
            (404, "unknown_job"),
            (409, "job_not_ended"),
            (409, "no_execution"),
            NEWER,
            (503, "too_many_results"),
        ])
        .problems(&UNREADABLE);
    vec![submit, submit_all, list, show, explain, cancel, logs, stream, text, results]
}
