use super::*;
use serde_json::Value;

/// What people read about reasons, which has to be true.
const PAGE: &str = include_str!("../../../../docs/operating.md");

/// One of each, in the order of the page, with all of its evidence.
fn all() -> Vec<EndReason> {
    let step = || "build".to_owned();
    vec![
        EndReason::Succeeded,
        EndReason::ExitCode { step: step(), code: 3 },
        EndReason::Signal { step: step(), signal: 9 },
        EndReason::OutOfMemory { step: step(), limit: 1 << 20, peak: (1 << 20) - 1 },
        EndReason::DiskFull { step: step(), limit: 5 },
        EndReason::InodesFull { step: step(), limit: 65_536, used: 65_535 },
        EndReason::HostDiskFull { path: "/var/lib/executor/agent".to_owned(), free: 4_096 },
        EndReason::HostInodesFull { path: "/var/lib/executor/agent".to_owned(), limit: 10, used: 9 },
        EndReason::Timeout { limit: Duration::from_millis(1_500) },
        EndReason::Canceled(Canceler::api([10, 0, 0, 7].into(), Some("executor/0.1.0"))),
        EndReason::Image { class: "not_found".to_owned() },
        EndReason::ImageUnavailable { class: "rate_limited".to_owned() },
        EndReason::ArtifactMissing { artifact: "app".to_owned() },
        EndReason::ArtifactNotKept { artifact: "app".to_owned() },
        EndReason::Checkout,
        EndReason::BadJob,
        EndReason::ExecutorLost { lease: Some(Duration::from_secs(90)) },
        EndReason::ExecutorStopped,
        EndReason::Sandbox,
        EndReason::Unspecified,
    ]
}

#[test]
fn every_reason_survives_the_wire_with_its_evidence() {
    let mut reasons = all();
    reasons.push(EndReason::OutOfMemory { step: String::new(), limit: 5, peak: 4 });
    reasons.push(EndReason::DiskFull { step: String::new(), limit: 5 });
    reasons.push(EndReason::InodesFull { step: String::new(), limit: 5, used: 5 });
    reasons.push(EndReason::Canceled(Canceler::control_plane()));
    reasons.push(EndReason::ExecutorLost { lease: None });
    for reason in reasons {
        assert_eq!(EndReason::from_detail(&reason.detail()), reason);
    }
}

/// Whose fault, which call, and which evidence: the page says what the program does, of every reason there is.
#[test]
fn the_page_says_what_becomes_of_every_reason() {
    let (_, after) = PAGE.split_once("\n## Why a job ended\n").unwrap();
    let rows = after.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.trim_end_matches(" |").split(" | ").collect()).collect();
    let expected = all();
    for (row, reason) in rows.iter().zip(&expected) {
        let [name, blame, call, evidence, meaning, remedy] = row[..] else { panic!("{row:?}") };
        assert_eq!(name.trim_end_matches('`'), reason.name());
        let blamed = match reason.blame() {
            Blame::Nobody => "–",
            Blame::Job => "job",
            Blame::System => "system",
        };
        assert_eq!(blame, blamed, "{name}");
        let told = reason.call().map_or("–".to_owned(), |call| format!("`{}`", call.name()));
        assert_eq!(call, told, "{name}");
        let Value::Object(detail) = serde_json::to_value(reason.detail()).unwrap() else { panic!() };
        let fields: Vec<String> =
            detail.keys().filter(|key| *key != "reason").map(|key| format!("`{key}`")).collect();
        let mut known: Vec<&str> = evidence.split(", ").filter(|field| *field != "–").collect();
        known.sort_unstable();
        assert_eq!(known, fields, "{name}");
        assert!(!meaning.is_empty() && !remedy.is_empty(), "{name}");
    }
    assert_eq!(rows.len(), expected.len());
}

#[test]
fn evidence_is_told_in_words() {
    let told: Vec<String> = all().iter().filter_map(EndReason::evidence).collect();
    assert_eq!(
        told,
        [
            "step build: exit code 3",
            "step build: signal 9",
            "step build: used 1048575 bytes of memory, and may use 1048576 bytes",
            "step build: the job's disk has 5 B",
            "step build: the job's disk holds 65535 files, and can hold 65536",
            "/var/lib/executor/agent: 4 KiB are left on its disk",
            "/var/lib/executor/agent: its disk holds 9 files, and can hold 10",
            "it may run for 1.5 s",
            "by whoever has the API's token, from 10.0.0.7, with executor/0.1.0",
            "not found",
            "rate limited",
            "artifact app",
            "artifact app",
            "it was silent for longer than its lease of 90 s",
            "by the executor's operator",
        ]
    );
    assert_eq!(EndReason::Image { class: String::new() }.evidence(), None);
}

#[test]
fn an_image_that_is_wrong_is_the_jobs_fault_and_one_that_is_out_of_reach_is_not() {
    let class = String::new;
    let image = EndReason::Image { class: class() };
    assert_eq!((image.name(), image.blame()), ("image", Blame::Job));
    let unavailable = EndReason::ImageUnavailable { class: class() };
    assert_eq!((unavailable.name(), unavailable.blame()), ("image_unavailable", Blame::System));
}

#[test]
fn a_full_disk_is_the_jobs_fault_when_it_is_the_jobs_own() {
    let own = EndReason::DiskFull { step: "build".to_owned(), limit: 5 };
    let hosts = EndReason::HostDiskFull { path: "/state".to_owned(), free: 0 };
    assert_eq!((own.name(), own.blame()), ("disk_full", Blame::Job));
    assert_eq!((hosts.name(), hosts.blame()), ("host_disk_full", Blame::System));
    assert_eq!(hosts.detail().path.as_deref(), Some("/state"));
}
