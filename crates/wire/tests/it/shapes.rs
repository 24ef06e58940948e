//! One test per shape.

use crate::golden::{reads, round_trip, writes};
use std::collections::BTreeMap;
use wire::additions::{AppendLog, AppendedLog, Artifact, EndDetail, KeptArtifact};
use wire::heartbeat::{HeartbeatReceived, Running, Telemetry};
use wire::*;

fn text(text: &str) -> String {
    text.to_owned()
}

fn time(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

fn job() -> Job {
    let file = |content: &[u8]| JobFile { content: content.to_vec(), ..JobFile::default() };
    let stored = JobFile {
        stored: Some((text("batch-changes"), text("spec1/file1"))),
        modified_at: Some(time("2023-01-02T03:04:05Z")),
        ..JobFile::default()
    };
    Job {
        version: PayloadVersion::V2,
        id: JobId(42),
        token: text("feedfacefeedfacefeedfacefeedfacefeedface"),
        queue: Some(text("batches")),
        repository_name: text("github.com/acme/app"),
        repository_directory: text("repository"),
        commit: text("89abcdef0123456789abcdef0123456789abcdef"),
        fetch_tags: false,
        shallow_clone: true,
        sparse_checkout: vec![text("a/b/*")],
        files: BTreeMap::from([(text("input.json"), file(b"{}")), (text("mounts/x.sh"), stored)]),
        docker_steps: vec![DockerStep {
            key: text("step.0.run"),
            image: text("debian:12"),
            commands: vec![text("make"), text("make test")],
            dir: text("sub"),
            env: vec![text("A=b")],
        }],
        cli_steps: vec![CliStep {
            key: text("batch-exec"),
            command: vec![text("batch"), text("exec")],
            dir: text("."),
            env: vec![],
        }],
        artifacts: vec![],
        redacted_values: BTreeMap::from([(text("hunter2"), text("${{ secrets.PASS }}"))]),
        docker_auth_config: DockerAuthConfig {
            auths: BTreeMap::from([(text("ghcr.io"), RegistryAuth { auth: text("dTpw") })]),
        },
    }
}

#[test]
fn job_version_2() {
    round_trip("job_v2.json", &job());
}

#[test]
fn job_version_1_has_plain_contents_and_no_credentials() {
    let v1 = Job {
        version: PayloadVersion::V1,
        queue: None,
        docker_auth_config: DockerAuthConfig::default(),
        ..job()
    };
    round_trip("job_v1.json", &v1);
}

#[test]
fn artifacts_are_told_where_there_are_any() {
    let artifact = |name, path, optional| Artifact { name: text(name), path: text(path), optional };
    let artifacts = vec![artifact("app", "out/app", false), artifact("reports", "**/*.xml", true)];
    round_trip("job_with_artifacts.json", &Job { id: JobId(1), artifacts, ..Job::default() });
    round_trip("kept_artifact.json", &KeptArtifact { size: 5, sha256: "ab".repeat(32) });
}

#[test]
fn an_unset_job_writes_nulls_and_the_zero_time() {
    let files = BTreeMap::from([(text("empty"), JobFile::default())]);
    round_trip("job_minimal.json", &Job { id: JobId(1), files, ..Job::default() });
}

#[test]
fn null_absent_and_empty_are_one() {
    reads("job_sparse_from_peer.json", &Job { id: JobId(7), ..Job::default() });
    let absent: Job = serde_json::from_str(r#"{"version":2,"id":7}"#).unwrap();
    assert_eq!(absent, Job { id: JobId(7), ..Job::default() });
}

#[test]
fn keys_of_a_job_come_in_any_letter_case_and_an_exact_one_wins() {
    reads("job_any_case_from_peer.json", &job());
    let both: Job =
        serde_json::from_str(r#"{"ID":1,"id":7,"Id":2,"FILES":{"A":{"Content":"x"},"a":{"CONTENT":"y"}}}"#)
            .unwrap();
    assert_eq!(both.id, JobId(7));
    assert_eq!((&*both.files["A"].content, &*both.files["a"].content), (&b"x"[..], &b"y"[..]));
}

#[test]
fn a_job_that_can_not_be_read_is_refused() {
    for bad in [
        "{}",
        r#"{"id":"7"}"#,
        r#"{"version":2,"id":7,"files":{"a":{"content":"not base64!"}}}"#,
        r#"{"id":7,"files":{"a":"bare text of a very old peer"}}"#,
    ] {
        assert!(serde_json::from_str::<Job>(bad).is_err(), "{bad} was accepted");
    }
}

#[test]
fn debug_of_a_job_shows_nothing_secret() {
    let shown = format!("{:?} {:?}", job(), job().files);
    for secret in ["feedface", "hunter2", "dTpw", "make test", "A=b"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn dequeue_requests() {
    let single = DequeueRequest {
        executor_name: text("host-uuid"),
        version: text("5.6.0"),
        num_cpus: 4,
        memory: text("12G"),
        disk_space: text("20G"),
        ..DequeueRequest::default()
    };
    round_trip("dequeue_single.json", &single);
    let multi = DequeueRequest { queues: vec![text("batches"), text("codeintel")], ..single };
    round_trip("dequeue_multi.json", &multi);
    let bare = DequeueRequest { executor_name: text("host-uuid"), ..DequeueRequest::default() };
    round_trip("dequeue_minimal.json", &bare);
}

fn heartbeat(running: Running) -> HeartbeatRequest {
    HeartbeatRequest {
        executor_name: text("host-uuid"),
        running,
        telemetry: Telemetry {
            os: text("linux"),
            architecture: text("amd64"),
            docker_version: text("24.0.7"),
            executor_version: text("5.6.0"),
            git_version: text("2.39.2"),
            ignite_version: String::new(),
            src_cli_version: text("5.5.0"),
        },
        prometheus_metrics: text("# HELP up\n"),
    }
}

/// What a control plane reads of a heartbeat that says `version` and no more than its surroundings.
fn received(version: &str) -> HeartbeatReceived {
    let HeartbeatRequest { executor_name, telemetry, prometheus_metrics, .. } =
        heartbeat(Running::Single(vec![]));
    let version = text(version);
    HeartbeatReceived {
        version,
        executor_name,
        telemetry,
        prometheus_metrics,
        ..HeartbeatReceived::default()
    }
}

fn ids(ids: &[&str]) -> Vec<IdText> {
    ids.iter().map(|id| IdText(text(id))).collect()
}

#[test]
fn heartbeats_of_one_queue_carry_numbers() {
    writes("heartbeat_single.json", &heartbeat(Running::Single(vec![JobId(1), JobId(2)])));
    let job_ids = ids(&["1", "2"]);
    reads("heartbeat_single.json", &HeartbeatReceived { job_ids, ..received("V2") });
    writes("heartbeat_single_idle.json", &heartbeat(Running::Single(vec![])));
    reads("heartbeat_single_idle.json", &received("V2"));
}

#[test]
fn heartbeats_of_several_queues_carry_strings() {
    let by_queue = vec![
        QueueJobIds { queue_name: text("batches"), job_ids: ids(&["1", "3"]) },
        QueueJobIds { queue_name: text("codeintel"), job_ids: ids(&["2"]) },
    ];
    let queues = vec![text("batches"), text("codeintel")];
    let idle = HeartbeatReceived { queue_names: queues.clone(), ..received("") };
    writes(
        "heartbeat_multi.json",
        &heartbeat(Running::Multi { queues: queues.clone(), by_queue: by_queue.clone() }),
    );
    reads("heartbeat_multi.json", &HeartbeatReceived { job_ids_by_queue: by_queue, ..idle.clone() });
    writes("heartbeat_multi_idle.json", &heartbeat(Running::Multi { queues, by_queue: vec![] }));
    reads("heartbeat_multi_idle.json", &idle);
}

#[test]
fn a_ping_carries_no_jobs() {
    let ping = |queues| HeartbeatRequest {
        telemetry: Telemetry::default(),
        prometheus_metrics: String::new(),
        ..heartbeat(Running::Ping { queues })
    };
    let heard = |queue_names| HeartbeatReceived {
        executor_name: text("host-uuid"),
        queue_names,
        ..HeartbeatReceived::default()
    };
    let queues = || vec![text("batches"), text("codeintel")];
    writes("ping_single.json", &ping(vec![]));
    reads("ping_single.json", &heard(vec![]));
    writes("ping_multi.json", &ping(queues()));
    reads("ping_multi.json", &heard(queues()));
}

#[test]
fn a_control_plane_reads_the_least_a_heartbeat_can_be() {
    let bare: HeartbeatReceived = serde_json::from_str(r#"{"executorName":"a"}"#).unwrap();
    assert_eq!(bare, HeartbeatReceived { executor_name: text("a"), ..HeartbeatReceived::default() });
}

#[test]
fn heartbeat_answers() {
    let answer = HeartbeatResponse {
        known_ids: vec![IdText(text("1")), IdText(text("3-batches"))],
        cancel_ids: vec![IdText(text("3-batches"))],
    };
    round_trip("heartbeat_answer.json", &answer);
    round_trip("heartbeat_answer_empty.json", &HeartbeatResponse::default());
    reads("heartbeat_answer_from_peer.json", &answer);
}

fn entry() -> LogEntry {
    LogEntry {
        executor_name: text("host-uuid"),
        job_id: JobId(42),
        key: text("setup.git.init"),
        command: Some(vec![text("git"), text("-C"), text("/w"), text("init")]),
        start_time: time("2024-05-01T10:00:00.123456789Z"),
        exit_code: Some(0),
        out: text("stdout: hi\n"),
        duration_ms: Some(17),
    }
}

#[test]
fn log_entries() {
    round_trip("log_entry.json", &entry());
    let running =
        LogEntry { command: None, exit_code: None, duration_ms: None, out: String::new(), ..entry() };
    round_trip("log_entry_running.json", &running);
    round_trip("log_entry_update.json", &LogEntryUpdate { entry_id: 3, entry: entry() });
}

#[test]
fn a_time_with_a_zone_is_the_moment_that_it_names() {
    reads("log_entry_with_zone_from_peer.json", &entry());
    let update = LogEntryUpdate { entry_id: 3, entry: entry() };
    reads("log_entry_update_with_zone_from_peer.json", &update);
}

#[test]
fn marks() {
    round_trip("mark_complete.json", &Mark { executor_name: text("host-uuid"), job_id: JobId(42) });
    let plain = MarkWithError {
        executor_name: text("host-uuid"),
        job_id: JobId(42),
        error_message: text("command failed with exit code 3"),
        end: None,
    };
    round_trip("mark_errored.json", &plain);
    let end = EndDetail {
        reason: text("out_of_memory"),
        step: Some(text("build")),
        limit: Some(1_073_741_824),
        observed: Some(1_073_741_800),
        ..EndDetail::default()
    };
    round_trip("mark_errored_with_end.json", &MarkWithError { end: Some(end), ..plain.clone() });
    let end = EndDetail {
        reason: text("host_disk_full"),
        observed: Some(4_096),
        path: Some(text("/var/lib/executor/agent")),
        ..EndDetail::default()
    };
    round_trip("mark_errored_host_disk_full.json", &MarkWithError { end: Some(end), ..plain.clone() });
    let end = EndDetail {
        reason: text("canceled"),
        by: Some(text("api")),
        from: Some(text("10.0.0.7")),
        client: Some(text("executor/0.1.0")),
        ..EndDetail::default()
    };
    round_trip("mark_failed_canceled.json", &MarkWithError { end: Some(end), ..plain });
}

#[test]
fn appends() {
    let append = AppendLog {
        executor_name: text("host-uuid"),
        job_id: JobId(42),
        entry_id: 3,
        offset: 11,
        chunk: text("stderr: ä\n"),
        exit_code: Some(0),
        duration_ms: Some(20),
    };
    round_trip("append_log.json", &append);
    round_trip("appended_log.json", &AppendedLog { length: 22 });
}

#[test]
fn errors() {
    round_trip("error.json", &ErrorBody { error: text("unknown job") });
}

#[test]
fn uploads_of_indexes() {
    round_trip("upload_accepted.json", &UploadAccepted { id: text("42") });
    assert!(serde_json::from_str::<UploadAccepted>(r#"{"id":42}"#).is_err(), "peers send a string");
}

#[test]
fn the_version_of_src() {
    round_trip("src_cli_version.json", &SrcCliVersion { version: text("5.6.0") });
}
