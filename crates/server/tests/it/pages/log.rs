//! The page of a job's log.

use super::Visitor;
use crate::harness::{EXECUTOR, Harness, told};
use secrecy::ExposeSecret;
use serde_json::json;

/// Entries that the page shows.
const SHOWN: i64 = 200;

#[tokio::test]
async fn of_entries_that_are_not_shown_nothing_is_read() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    for number in 1..=SHOWN + 5 {
        let entry = json!({
            "executorName": EXECUTOR, "jobId": job.id, "key": format!("step.docker.{number}"), "command": ["true"],
            "startTime": "2023-01-02T03:04:05.678Z", "out": format!("stdout: error {number}!\n"),
            "exitCode": i32::from(number == 5), "durationMs": 1,
        });
        let added = harness.about(&job, "batches", "addExecutionLogEntry").json(&entry);
        assert_eq!(told(added).await, (200, number.to_string()));
    }
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let page = visitor.get(&format!("/jobs/{}/log", job.id)).await.body;
    assert!(page.contains("5 entries before these are in the download"), "{page}");
    assert!(!page.contains("error 5!") && page.contains("error 6!") && page.contains("error 205!"), "{page}");
    // The text of the fifth would tell of one; there would be nothing to go to.
    assert!(page.contains("id=\"to-error\" href=\"#error\" hidden"), "{page}");
    assert!(
        page.contains(&format!("data-cursor=\"1.{}\"", SHOWN + 5)),
        "the stream goes on after all of them"
    );
}

/// Its executor was lost before it told the end of the entry, so nobody ever will.
#[tokio::test]
async fn what_had_not_ended_when_its_try_was_over_runs_no_longer() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let entry = json!({
        "executorName": EXECUTOR, "jobId": job.id, "key": "step.docker.0", "command": ["true"],
        "startTime": "2023-01-02T03:04:05.678Z",
    });
    let added = harness.about(&job, "batches", "addExecutionLogEntry").json(&entry);
    assert_eq!(told(added).await.0, 200);
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let pages = [format!("/jobs/{}", job.id), format!("/jobs/{}/log", job.id)];
    // As it is told at an entry, and in the timeline; what the module fills in later has a word for it all the same.
    let told = async |page: &String| {
        let body = visitor.get(page).await.body;
        let body = body.split("<template").next().unwrap().to_owned();
        ["running", "not finished"].map(|word| body.matches(&format!("{word}</span>")).count())
    };
    assert_eq!((told(&pages[0]).await, told(&pages[1]).await), ([2, 0], [1, 0]));
    let lost = json!({"errorMessage": "", "end": {"reason": "executor_lost"}});
    assert_eq!(harness.mark(&job, "markErrored", lost).await.status(), 204);
    assert_eq!((told(&pages[0]).await[0], told(&pages[1]).await), (0, [0, 1]), "it waits again");
    let again = harness.dequeue("batches").await.unwrap();
    let earlier = format!("/jobs/{}/log?attempt=1", job.id);
    assert_eq!(told(&earlier).await, [0, 1], "another try of it runs");
    assert_eq!(harness.mark(&again, "markFailed", json!({"errorMessage": "no"})).await.status(), 204);
    assert_eq!(told(&earlier).await, [0, 1]);
}
