//! What a job's page tells of its tries.

use super::Visitor;
use crate::harness::Harness;
use jiff::SignedDuration;
use jobs::JobSpec;
use secrecy::ExposeSecret;
use serde_json::json;
use std::sync::Arc;
use testkit::MockClock;

/// It ran for a while and paused for another before its second try; neither was waiting for an executor.
#[tokio::test]
async fn only_the_first_try_tells_how_long_the_job_waited() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = Harness::start_with(|config| config.clock = clock.clone()).await;
    let id = harness.submit(&JobSpec { retries: 1, ..crate::harness::job() }).await;
    // A session that began before would be over.
    let facts = async || {
        let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
        let page = visitor.get(&format!("/jobs/{id}")).await.body;
        page.split_once("<dl class=\"facts\">").unwrap().1.split("</dl>").next().unwrap().to_owned()
    };
    clock.advance(SignedDuration::from_secs(17));
    let first = harness.dequeue("batches").await.unwrap();
    let told = facts().await;
    assert!(told.contains("<dt>Waited for</dt><dd>17 s</dd>"), "{told}");
    let end = json!({"errorMessage": "no", "end": {"reason": "exit_code", "step": "0", "exitCode": 1}});
    assert_eq!(harness.mark(&first, "markErrored", end).await.status(), 204);
    clock.advance(SignedDuration::from_mins(30));
    assert!(harness.dequeue("batches").await.is_some());
    let told = facts().await;
    assert!(told.contains("<dt>Try</dt><dd>2, begun ") && !told.contains("Waited for"), "{told}");
}
