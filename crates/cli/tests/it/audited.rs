//! What is written down of jobs, whoever runs them and whoever dies.

use crate::adoption::kill;
use crate::leftovers::nothing_is_left;
use crate::support::{SOON, System, wait};
use std::path::PathBuf;
use tempfile::TempDir;

/// A file that agents write jobs into.
pub(crate) struct Audited {
    path: PathBuf,
    _dir: TempDir,
}

impl Audited {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { path: dir.path().join("audit.jsonl"), _dir: dir }
    }

    /// What tells an agent of it.
    pub(crate) fn variable(&self) -> (&'static str, &str) {
        ("EXECUTOR_JOB_AUDIT_FILE", self.path.to_str().unwrap())
    }
}

/// What is written of a job, in its order.
pub(crate) fn lines_of(audit: &Audited, id: &str) -> Vec<String> {
    let text = std::fs::read_to_string(&audit.path).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let id: u64 = id.parse().unwrap();
    let of_job = lines.filter(|line| line["job"] == id);
    let told = of_job.map(|line| match line["event"].as_str().unwrap() {
        "ended" => format!("ended: {}", line["reason"].as_str().unwrap()),
        event => event.to_owned(),
    });
    told.collect()
}

#[test]
fn each_try_of_a_job_is_written_down_once_whoever_dies_meanwhile() {
    let test = "each_try_of_a_job_is_written_down_once_whoever_dies_meanwhile";
    let audit = Audited::new();
    let env = [audit.variable(), ("EXECUTOR_MAXIMUM_NUM_JOBS", "3")];
    let Some(mut system) = System::with(test, &env) else { return };
    let endless = "echo begun; sleep 600";
    let mut first = system.agent();
    let (adopted, lost) = (system.submit(endless), system.submit(endless));
    for id in [&adopted, &lost] {
        system.wait_for_log(id, "begun");
    }
    let died = system.supervisor_of(&lost).unwrap();
    first.kill();
    kill(died);

    let mut second = system.agent();
    wait(SOON, "another attempt", || (system.show(&lost)["attempt"] == 2).then_some(()));
    system.wait_for_log(&lost, "begun");
    for id in [&adopted, &lost] {
        system.ok(&["job", "cancel", id]);
        system.wait_for_state(id, "canceled");
    }
    let alone = system.submit("echo begun; sleep 2");
    system.wait_for_log(&alone, "begun");
    second.signal("USR2");
    assert!(second.wait_exit().success());
    system.wait_for_state(&alone, "completed");
    nothing_is_left(system.dir.path());

    let third = system.agent();
    let last = system.submit("exit 3");
    system.wait_for_state(&last, "failed");
    third.stop();
    nothing_is_left(system.dir.path());
    assert_eq!(lines_of(&audit, &adopted), ["begun", "ended: canceled"]);
    assert_eq!(lines_of(&audit, &lost), ["begun", "ended: executor_lost", "begun", "ended: canceled"]);
    assert_eq!(lines_of(&audit, &alone), ["begun", "ended: succeeded"]);
    assert_eq!(lines_of(&audit, &last), ["begun", "ended: exit_code"]);
}
