//! A job from its dequeue to its final call, and what the control plane sees of it.

use crate::support::{Act, Harness, Plan, eventually, job, step};
use jobs::Isolation;
use serde_json::{Value, json};
use wire::additions::Settings;

fn plan(jobs: impl IntoIterator<Item = Value>) -> Plan {
    Plan { jobs: jobs.into_iter().map(|job| job.to_string()).collect(), ..Plan::default() }
}

#[tokio::test]
async fn a_job_makes_the_documented_calls_with_the_documented_bodies() {
    let mut payload = job(42, &[step("build")]);
    payload["dockerSteps"][0]["dir"] = json!("sub");
    payload["dockerSteps"][0]["env"] = json!(["A=b=c"]);
    let harness = Harness::start_with(plan([payload]), vec![vec![Act::Out("hello\n")]], |config| {
        config.announced = agent::Announced { cpus: 4, memory: "12G".to_owned(), disk: "20G".to_owned() };
    });
    let (mark, body) = harness.marked().await;
    assert_eq!((mark.as_str(), body), ("markComplete", json!({"executorName": "agent-1", "jobId": 42})));

    let opened = harness.runtime.opened()[0].clone();
    assert!(opened.name.starts_with("job-42-") && opened.closed, "{opened:?}");
    let script = "42.0_@.sh";
    assert_eq!(
        opened.steps,
        [(
            "alpine:3".to_owned(),
            vec!["/bin/sh".to_owned(), format!("/data/.sourcegraph-executor/{script}")],
            "/data/sub".to_owned(),
            vec!["A=b=c".to_owned()],
        )]
    );
    assert!(opened.files[0].1.ends_with("set -x\n\necho hi\n"), "{:?}", opened.files);

    let calls = harness.plane.plan().calls.clone();
    let ping = &calls[0];
    assert_eq!(ping.path, "/.executors/queue/batches/heartbeat");
    assert_eq!(ping.body["version"], "");
    assert!(ping.body.get("jobIds").is_none());
    assert_eq!(ping.body["executorVersion"], "5.6.0", "it would blank what was told before");

    let dequeue = calls.iter().find(|call| call.name() == "dequeue").unwrap();
    assert_eq!(dequeue.path, "/.executors/queue/batches/dequeue");
    assert_eq!(
        dequeue.body,
        json!({"executorName": "agent-1", "version": "5.6.0", "numCPUs": 4, "memory": "12G", "diskSpace": "20G"})
    );
    assert_eq!(dequeue.header("authorization"), Some("token-executor hunter2hunter2"));
    assert_eq!(dequeue.header("content-type"), Some("application/json"));
    assert_eq!(dequeue.header("prefer"), Some("wait=20, lease-term"));
    assert_eq!(dequeue.header("user-agent"), None);

    let adds: Vec<_> = calls.iter().filter(|call| call.name() == "addExecutionLogEntry").collect();
    let keys: Vec<_> = adds.iter().map(|call| call.body["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["setup.fs.extras", "step.docker.build", "teardown.fs"]);
    for add in &adds {
        assert_eq!(add.header("authorization"), Some("Bearer job-token-0123"));
        assert_eq!(add.header("x-sourcegraph-job-id"), Some("42"));
        assert_eq!(add.header("x-sourcegraph-executor-name"), Some("agent-1"));
        assert_eq!((&add.body["executorName"], &add.body["jobId"]), (&json!("agent-1"), &json!(42)));
        assert!(add.body["startTime"].as_str().unwrap().ends_with('Z'));
    }
    assert_eq!(adds[0].body["command"], Value::Null);
    assert_eq!(adds[1].body["command"], json!(["/bin/sh", format!("/data/.sourcegraph-executor/{script}")]));

    let entries = harness.plane.plan().entries.clone();
    assert!(entries[0].out.starts_with("Wrote .sourcegraph-executor/42.0_@.sh in "), "{entries:?}");
    assert_eq!(entries[1].out, "stdout: hello\n");
    assert!(entries.iter().all(|entry| entry.exit_code == Some(0)), "{entries:?}");
    let summary = harness.end().await;
    assert_eq!((summary.taken, summary.completed), (1, 1));
}

#[tokio::test]
async fn a_heartbeat_in_single_queue_mode_has_numbers_and_says_v2() {
    let harness = Harness::start(plan([job(7, &[step("a")])]), vec![vec![Act::UntilStopped]]);
    let beat = eventually("a heartbeat with the job", || {
        let beats = harness.plane.plan().named("heartbeat");
        beats.into_iter().find(|call| call.body["jobIds"] == json!([7]))
    })
    .await;
    assert_eq!(beat.body["version"], "V2");
    harness.stop.cancel();
    harness.left().await;
}

#[tokio::test]
async fn several_queues_use_the_calls_for_several() {
    let mut payload = job(3, &[step("a")]);
    payload["queue"] = json!("codeintel");
    let harness = Harness::start_with(plan([payload]), vec![vec![Act::UntilStopped]], |config| {
        config.queues = vec!["batches".to_owned(), "codeintel".to_owned()];
        config.multi_queue = true;
    });
    let beat = eventually("a heartbeat with the job", || {
        let beats = harness.plane.plan().named("heartbeat");
        beats.into_iter().find(|call| call.body.get("jobIdsByQueue").is_some())
    })
    .await;
    assert_eq!(beat.path, "/.executors/queue/heartbeat");
    assert_eq!(beat.body["jobIdsByQueue"], json!([{"queueName": "codeintel", "jobIds": ["3"]}]));
    assert_eq!(beat.body["queueNames"], json!(["batches", "codeintel"]));
    let dequeue = harness.plane.plan().named("dequeue").remove(0);
    assert_eq!(dequeue.path, "/.executors/queue/dequeue");
    assert_eq!(dequeue.body["queues"], json!(["batches", "codeintel"]));
    harness.stop.cancel();
    eventually("the final call", || {
        let marks = harness.plane.plan().marks();
        marks.into_iter().find(|call| call.path == "/.executors/queue/codeintel/markErrored")
    })
    .await;
    harness.left().await;
}

async fn ends_with(steps: Vec<Vec<Act>>, keys: &[&str]) -> (String, Value, Harness) {
    let steps_of: Vec<Value> = keys.iter().map(|key| step(key)).collect();
    let harness = Harness::start(plan([job(1, &steps_of)]), steps);
    let (mark, body) = harness.marked().await;
    assert!(harness.runtime.opened().iter().all(|opened| opened.closed), "the sandbox is closed first");
    (mark, body, harness)
}

#[tokio::test]
async fn every_way_to_fail_is_told_with_its_reason() {
    for (act, message, end) in [
        (
            Act::Exit(3),
            "running command \"step.docker.build\": command failed with exit code 3",
            json!({"reason": "exit_code", "step": "build", "exitCode": 3}),
        ),
        (
            Act::Signal(11),
            "running command \"step.docker.build\": command was killed by signal 11",
            json!({"reason": "signal", "step": "build", "exitCode": 139}),
        ),
        (
            Act::OutOfMemory,
            "running command \"step.docker.build\": the step ran out of memory: it used 99 bytes and may use 100",
            json!({"reason": "out_of_memory", "step": "build", "limit": 100, "observed": 99}),
        ),
        (
            Act::Refuse,
            "running command \"step.docker.build\": no privileged containers",
            json!({"reason": "bad_job"}),
        ),
        (
            Act::Panic,
            "the executor failed while it ran the job: see its own log",
            json!({"reason": "sandbox"}),
        ),
    ] {
        let (mark, body, harness) = ends_with(vec![vec![act]], &["build", "never"]).await;
        assert_eq!(mark, "markErrored");
        assert_eq!(body["errorMessage"], message);
        assert_eq!(body["end"], end);
        assert_eq!(harness.runtime.opened()[0].steps.len(), 1, "the first failure is the last step");
        harness.end().await;
    }
}

#[tokio::test]
async fn a_pre_step_may_skip_ahead() {
    let skip = |path: &std::path::Path| {
        std::fs::write(path.join("skip.json"), r#"{"nextStep":"step.1.pre"}"#).unwrap();
    };
    let keys = ["step.0.pre", "step.0.run", "step.1.pre", "step.1.run"];
    let (mark, _, harness) = ends_with(vec![vec![Act::Do(skip)]], &keys).await;
    assert_eq!(mark, "markComplete");
    let run: Vec<String> = harness.plane.plan().entries.iter().map(|entry| entry.key.clone()).collect();
    assert_eq!(
        run,
        [
            "setup.fs.extras",
            "step.docker.step.0.pre",
            "step.docker.step.1.pre",
            "step.docker.step.1.run",
            "teardown.fs"
        ]
    );
    assert!(!harness.runtime.opened()[0].workspace.join("skip.json").exists());
    harness.end().await;
}

#[tokio::test]
async fn a_skip_to_nowhere_fails_the_job() {
    let skip = |path: &std::path::Path| {
        std::fs::write(path.join("skip.json"), r#"{"nextStep":"step.9.pre"}"#).unwrap();
    };
    let (mark, body, harness) = ends_with(vec![vec![Act::Do(skip)]], &["a.pre", "b"]).await;
    assert_eq!((mark.as_str(), &body["end"]["reason"]), ("markErrored", &json!("bad_job")));
    assert!(body["errorMessage"].as_str().unwrap().contains("step.9.pre"), "{body}");
    harness.end().await;
}

#[tokio::test]
async fn steps_for_src_are_refused_with_a_clear_text() {
    let mut payload = job(1, &[]);
    payload["cliSteps"] = json!([{"key": "x", "command": ["lsif", "upload"]}]);
    let harness = Harness::start(plan([payload]), Vec::new());
    let (mark, body) = harness.marked().await;
    assert_eq!((mark.as_str(), &body["end"]["reason"]), ("markErrored", &json!("bad_job")));
    assert!(body["errorMessage"].as_str().unwrap().contains("nativeServerSideExecution"), "{body}");
    assert!(harness.runtime.opened().is_empty());
    harness.end().await;
}

#[tokio::test]
async fn a_payload_that_cant_be_read_is_reported_and_the_next_one_runs() {
    let mut broken = job(5, &[]);
    broken["files"] = json!({"a": {"content": "%not base64%"}});
    let mut plan = plan([broken, job(6, &[])]);
    plan.jobs.push_front("{ not even json".to_owned());
    let harness = Harness::start(plan, Vec::new());
    let marks = eventually("two final calls", || {
        let marks = harness.plane.plan().marks();
        (marks.len() == 2).then_some(marks)
    })
    .await;
    let failed = marks.iter().find(|call| call.name() == "markFailed").unwrap();
    assert_eq!(failed.body["jobId"], 5);
    assert_eq!(failed.body["end"]["reason"], "bad_job");
    assert!(failed.body["errorMessage"].as_str().unwrap().contains("not base64"), "{}", failed.body);
    assert_eq!(failed.header("authorization"), Some("Bearer job-token-0123"));
    assert!(marks.iter().any(|call| call.name() == "markComplete" && call.body["jobId"] == 6));
    harness.end().await;
}

#[tokio::test]
async fn without_a_job_token_the_shared_secret_stands_in() {
    let mut payload = job(1, &[]);
    payload["token"] = json!("");
    let harness = Harness::start(plan([payload]), Vec::new());
    harness.marked().await;
    let mark = harness.plane.plan().marks().remove(0);
    assert_eq!(mark.header("authorization"), Some("token-executor hunter2hunter2"));
    assert_eq!(mark.header("x-sourcegraph-job-id"), Some("1"));
    harness.end().await;
}

#[tokio::test]
async fn the_jobs_registry_credentials_win() {
    let auth = |host: &str| {
        let text = format!(r#"{{"auths":{{"{host}":{{"auth":"dTpw"}}}}}}"#);
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let mut own = job(2, &[step("a")]);
    own["dockerAuthConfig"] = auth("job.example");
    let harness = Harness::start_with(plan([job(1, &[step("a")]), own]), Vec::new(), |config| {
        config.docker_auth = serde_json::from_value(auth("agent.example")).unwrap();
    });
    eventually("both jobs", || (harness.plane.plan().marks().len() == 2).then_some(())).await;
    let registries: Vec<_> =
        harness.runtime.opened().iter().flat_map(|opened| opened.registries.clone()).collect();
    assert_eq!(registries, ["agent.example", "job.example"]);
    harness.end().await;
}

/// Stock control planes know none of it, and something in between may log what they are told.
#[tokio::test]
async fn how_it_is_set_up_is_told_to_control_planes_of_ours_alone() {
    for ours in [true, false] {
        let harness = Harness::start_with(Plan { ours, ..Plan::default() }, Vec::new(), |config| {
            config.max_jobs = 3;
            config.isolation = Some(Isolation::UserKernel);
            config.labels = vec!["gpu".to_owned(), "zone=b".to_owned()];
            config.limits.memory = Some(4 << 30);
        });
        // The first one can't know whose it is.
        let asked =
            eventually("a third dequeue", || harness.plane.plan().named("dequeue").get(2).cloned()).await;
        let told = ["executors-isolation", "executors-labels"].map(|name| asked.header(name));
        let settings = asked.header("executors-settings").map(|told| Settings::parse(told).0);
        if ours {
            assert_eq!(told, [Some("user-kernel"), Some("gpu, zone=b")]);
            let settings = settings.expect("they are told");
            let known = |name: &str| settings.get(name).map(String::as_str);
            assert_eq!(
                (known("slots"), known("job-memory")),
                (Some("3"), Some("4294967296")),
                "{settings:?}"
            );
            assert_eq!(known("disk-floor"), Some("0"), "all that is said can be read: {settings:?}");
            assert_eq!(known("jobs-in-all"), None, "what is not set is not told");
        } else {
            assert_eq!((told, settings), ([None, None], None));
        }
        harness.end().await;
    }
}
