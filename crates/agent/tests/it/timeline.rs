//! The events that tell where a job's time goes.

use crate::support::{Act, Harness, Plan, Told, job, step};
#[tokio::test]
async fn every_stage_is_told_in_its_order() {
    let told = Told::default();
    let writer = told.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("executor::timeline=debug")
        .json()
        .with_writer(move || writer.clone())
        .finish();
    // This test's tasks all run on this thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let plan = Plan { jobs: [job(8, &[step("a")]).to_string()].into(), ours: true, ..Plan::default() };
    let harness = Harness::start(plan, vec![vec![Act::Out("x\n")]]);
    harness.marked().await;
    harness.end().await;
    let lines = told.lines();
    let events: Vec<serde_json::Value> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let stages: Vec<&str> = events.iter().map(|event| event["fields"]["stage"].as_str().unwrap()).collect();
    assert_eq!(
        stages,
        [
            "dequeue answered",
            "sandbox open",
            "workspace ready",
            "step begins",
            "step ended",
            "sandbox closed",
            "log delivered",
            "marked"
        ]
    );
    for event in &events {
        assert_eq!(event["target"], "executor::timeline");
        assert_eq!(event["fields"]["job"], "8");
        assert!(event["fields"]["elapsed_us"].is_u64());
    }
}
