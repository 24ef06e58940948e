//! The events that tell where a job's time goes.

use crate::support::{Act, Harness, Plan, job, step};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// What the subscriber wrote.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_stage_is_told_in_its_order() {
    let written = Written::default();
    let writer = written.clone();
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
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    println!("{text}");
    let events: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
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
