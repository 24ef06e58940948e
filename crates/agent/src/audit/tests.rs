use super::*;
use jobs::Redactor;
use secrecy::SecretString;
use serde_json::{Value, json};
use wire::{CliStep, DockerStep, JobFile};

const SECRET: &str = "hunter2\"hunter2";

fn config(audit: Audit) -> AgentConfig {
    let url = "http://127.0.0.1:1".parse().unwrap();
    let mut config =
        AgentConfig::new(url, SecretString::from("x"), "batches", "agent-1", std::env::temp_dir());
    config.limits.memory = Some(1 << 30);
    config.audit = audit;
    config
}

fn job() -> Job {
    let step = |key: &str, image: &str| DockerStep {
        key: key.to_owned(),
        image: image.to_owned(),
        commands: vec![format!("echo {SECRET}")],
        env: vec![format!("TOKEN={SECRET}")],
        ..DockerStep::default()
    };
    let mut job = Job {
        id: JobId(7),
        repository_name: "r/n".to_owned(),
        commit: format!("c0ffee-{SECRET}"),
        cli_steps: vec![CliStep {
            key: "batch-exec".to_owned(),
            command: ["batch", "run", SECRET].map(str::to_owned).to_vec(),
            dir: ".".to_owned(),
            env: vec![format!("TOKEN={SECRET}")],
        }],
        docker_steps: vec![step("build", "alpine:3"), step("", "alpine:3"), step("last", "debian")],
        ..Job::default()
    };
    job.files
        .insert("a.sh".to_owned(), JobFile { content: SECRET.as_bytes().to_vec(), ..JobFile::default() });
    job.redacted_values.insert(SECRET.to_owned(), "gone".to_owned());
    job
}

fn auth() -> JobAuth {
    JobAuth { id: JobId(7), queue: "batches".to_owned(), token: SecretString::from("t0ken") }
}

fn redactor() -> Redactor {
    Redactor::new([(SECRET, "gone")])
}

#[test]
fn a_job_is_two_lines_without_its_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let config = config(Audit { in_log: false, file: Some(path.clone()) });
    let log = AuditLog::open(&config).unwrap();
    log.begins(&config, &job(), &auth());
    let end = jobs::EndReason::OutOfMemory { step: "build".to_owned(), limit: 10, peak: 11 };
    let account = Account {
        end: Some(Box::new(end.detail())),
        steps: 1,
        cpu_ms: 1_500,
        peak_memory: 11,
        ..Account::default()
    };
    log.ended(&config, JobId(7), "batches", &account, false, Duration::from_millis(2_500));

    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [begun, ended] = lines.as_slice() else { panic!("{text}") };
    assert!(begun["time"].as_str().unwrap().ends_with('Z'));
    for (key, expect) in [
        ("event", json!("begun")),
        ("executor", json!("agent-1")),
        ("job", json!(7)),
        ("queue", json!("batches")),
        ("repository", json!("r/n")),
        ("commit", json!("c0ffee-gone")),
        ("images", json!(["alpine:3", "debian"])),
        ("steps", json!(["build", "1", "last"])),
        ("src_steps", json!(["batch run gone"])),
        (
            "limits",
            json!({"cpus": null, "memory_bytes": 1 << 30, "disk_bytes": null, "pids": null, "seconds": 1800.0}),
        ),
    ] {
        assert_eq!(begun[key], expect, "{key}");
    }
    for (key, expect) in [
        ("event", json!("ended")),
        ("completed", json!(false)),
        ("reason", json!("out_of_memory")),
        ("seconds", json!(2.5)),
        ("usage", json!({"steps": 1, "cpu_seconds": 1.5, "peak_memory_bytes": 11})),
        ("end", json!({"reason": "out_of_memory", "step": "build", "limit": 10, "observed": 11})),
    ] {
        assert_eq!(ended[key], expect, "{key}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_payload_is_told_without_its_secrets_and_its_files() {
    let told = payload::told(&job(), &redactor());
    assert!(!told.contains("hunter2"), "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["dockerSteps"][0]["commands"], json!(["echo gone"]));
    assert_eq!(told["dockerSteps"][0]["env"], json!(["TOKEN=gone"]));
    assert_eq!(told["files"], json!([{"path": "a.sh", "bytes": SECRET.len(), "binary": false}]));
    let src = json!([{"key": "batch-exec", "command": ["batch", "run", "gone"], "dir": ".", "env": ["TOKEN=gone"]}]);
    assert_eq!((&told["cliSteps"], &told["version"]), (&src, &json!(2)));
    assert_eq!(told["redactions"], json!(["gone"]));
}

#[test]
fn a_long_payload_is_cut() {
    let mut job = job();
    job.commit = "x".repeat(1 << 20);
    assert!(payload::told(&job, &redactor()).len() <= 64 << 10);
}

#[test]
fn nothing_is_written_unless_it_is_asked_for() {
    let config = config(Audit::default());
    let log = AuditLog::open(&config).unwrap();
    log.begins(&config, &job(), &auth());
}
