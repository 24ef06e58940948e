//! A server whose disk is full says so, and goes on when there is room again.

use crate::artifacts::{leaving, put, taken};
use crate::harness::{EXECUTOR, Harness, entry, job, problem, told};
use crate::source::SourceRepo;
use crate::uploads::{COMMIT, call};
use jobs::JobSpec;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use std::time::{Duration, Instant};
use testkit::SmallDisk;
use wire::additions::{NO_ROOM, OUTPUT_REFUSED};

async fn on(disk: &SmallDisk) -> Harness {
    Harness::start_with(|config| config.data_dir = disk.path().join("data")).await
}

/// Asks until there is no room left in what the database has of the disk already; returns the problem.
async fn until_refused(ask: impl Fn(u32) -> RequestBuilder) -> (u16, String, String) {
    for number in 0..5_000 {
        let response = ask(number).send().await.unwrap();
        if !response.status().is_success() {
            return problem(ask(number)).await;
        }
    }
    panic!("the disk never filled");
}

#[tokio::test]
async fn what_the_database_has_no_room_for_is_refused_as_such() {
    let Some(disk) = SmallDisk::mount("what_the_database_has_no_room_for_is_refused_as_such", 16 << 20)
    else {
        return;
    };
    let harness = on(&disk).await;
    disk.fill(0);
    let mut large = job();
    large.steps[0].run = format!("true {}", "x".repeat(20_000));
    let submit = |_| harness.api(Method::POST, "/jobs").json(&large);
    let (status, code, detail) = until_refused(submit).await;
    assert_eq!((status, code.as_str()), (507, "disk_full"), "{detail}");
    assert!(detail.contains("make room"), "{detail}");
    let keep = |number: u32| {
        let body = json!({"key": format!("KEY_{number}"), "value": "x".repeat(5_000)});
        harness.api(Method::PUT, "/secrets").json(&body)
    };
    let (status, code, detail) = until_refused(keep).await;
    assert_eq!((status, code.as_str()), (507, "disk_full"), "{detail}");
    disk.make_room();
    harness.submit(&large).await;
    harness.set_secret("LATER", "v4lue").await;
    harness.stop().await;
}

#[tokio::test]
async fn a_mirror_that_there_is_no_room_for_is_refused_as_such() {
    let Some(disk) = SmallDisk::mount("a_mirror_that_there_is_no_room_for_is_refused_as_such", 16 << 20)
    else {
        return;
    };
    let harness = on(&disk).await;
    let source = SourceRepo::new();
    harness.add_repository("grows", &source.path()).await;
    // What can't be compressed.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from_digit(u32::try_from(state >> 60).unwrap(), 16).unwrap()
    };
    let large: String = (0..8 << 20).map(|_| next()).collect();
    source.commit("large", &large);
    disk.fill(1 << 20);
    let add = harness.api(Method::POST, "/repositories");
    let add = add.json(&json!({"name": "large", "source": source.path()}));
    let spec = JobSpec { repo: Some("grows".to_owned()), ..job() };
    for refused in [add, harness.api(Method::POST, "/jobs").json(&spec)] {
        let (status, code, detail) = problem(refused).await;
        assert_eq!((status, code.as_str()), (507, "disk_full"), "{detail}");
        assert!(detail.contains("make room") && detail.contains("No space left"), "{detail}");
    }
    disk.make_room();
    harness.submit(&spec).await;
    harness.stop().await;
}

#[tokio::test]
async fn what_jobs_leave_and_submitters_send_leaves_room_for_what_keeps_jobs_going() {
    let test = "what_jobs_leave_and_submitters_send_leaves_room_for_what_keeps_jobs_going";
    let Some(disk) = SmallDisk::mount(test, 64 << 20) else { return };
    let harness = Harness::start_with(|config| {
        config.data_dir = disk.path().join("data");
        config.disk_floor = Some(8 << 20);
    })
    .await;
    let source = SourceRepo::new();
    harness.add_repository("known", &source.path()).await;
    let (job, _) = taken(&harness, &leaving(&[("app", "out/app")])).await;
    let number = harness.add_log(&job, "step.docker.0").await;
    let stock = harness.add_log(&job, "step.docker.1").await;
    let update = async |out: &str, ended: bool| {
        let mut body = entry(&job, "step.docker.1");
        body["entryId"] = stock.into();
        body["out"] = out.into();
        if ended {
            body["exitCode"] = 0.into();
        }
        told(harness.about(&job, "batches", "updateExecutionLogEntry").json(&body)).await
    };
    assert_eq!(update("stdout: a\n", false).await.0, 204);
    let secret = harness.set_secret("KNOWN", "v4lue").await;
    disk.fill(4 << 20);
    let repository = json!({"name": "more", "source": source.path()});
    let of_known = JobSpec { repo: Some("known".to_owned()), ..crate::harness::job() };
    let refused = async || {
        for request in [
            harness.api(Method::POST, "/jobs").json(&crate::harness::job()),
            harness.api(Method::POST, "/jobs").json(&of_known),
            harness.api(Method::POST, "/files?name=x").body("content"),
            harness.api(Method::POST, "/repositories").json(&repository),
            harness.api(Method::POST, "/secrets").json(&json!({"key": "NEW", "value": "v4lue"})),
            harness.api(Method::PUT, "/secrets").json(&json!({"key": "KNOWN", "value": "0ther"})),
        ] {
            let (status, code, detail) = problem(request).await;
            assert_eq!((status, code.as_str()), (507, "disk_full"), "{detail}");
            assert!(detail.contains("make room"), "{detail}");
        }
        let (status, text) = put(&harness, &job, "app/out/app", "content").await;
        assert_eq!(status, 507, "{text}");
        let begin = format!("repository=known&commit={COMMIT}&multiPart=true&numParts=1");
        let (status, text) = told(call(&harness, &begin, "")).await;
        assert_eq!((status, text.contains("make room")), (507, true), "{text}");
    };
    let sees = async || told(harness.api(Method::POST, "/files?name=x").body("")).await.0 == 507;
    wait_for(sees).await;
    refused().await;
    // Executors of ours keep the text until there is room, and have a last word when they won't; stock ones are never refused,
    // and what they lost is marked.
    let append = async |offset: u64, chunk: &str, ended: bool| {
        let mut body = json!({"executorName": EXECUTOR, "jobId": job.id, "entryId": number, "offset": offset, "chunk": chunk});
        if ended {
            body["exitCode"] = 0.into();
        }
        told(harness.about(&job, "batches", "appendExecutionLog").json(&body)).await
    };
    assert_eq!(append(0, "stdout: a\n", false).await, (503, format!("{NO_ROOM}\n")));
    assert_eq!(append(0, OUTPUT_REFUSED, false).await.0, 503, "it is no last word");
    for status in [200, 503] {
        assert_eq!(append(0, OUTPUT_REFUSED, true).await.0, status, "it is said once");
    }
    for _ in 0..2 {
        assert_eq!(update("stdout: a\nstdout: b\n", false).await.0, 204);
    }
    let open = async |key: &str, out: &str, ended: bool, ours: bool| {
        let mut body = entry(&job, key);
        body["out"] = out.into();
        if ended {
            body["exitCode"] = 0.into();
        }
        let request = harness.about(&job, "batches", "addExecutionLogEntry").json(&body);
        let request = if ours { request.header("Prefer", "late-conflict") } else { request };
        request.send().await.unwrap()
    };
    let third = harness.add_log(&job, "step.docker.2").await;
    let fourth = open("step.docker.3", "stdout: whole\n", true, false).await;
    let fourth = fourth.text().await.unwrap().parse().unwrap();
    let fifth = open("step.docker.4", "stdout: begun\n", false, true).await;
    let fifth: i64 = fifth.text().await.unwrap().parse().unwrap();
    let whole = open("step.docker.5", "stdout: whole\n", true, true).await;
    assert_eq!((whole.status().as_u16(), &whole.headers()["retry-after"]), (503, &"3".parse().unwrap()));
    assert_eq!(text(&harness, &job, number).await, OUTPUT_REFUSED);
    let cut = text(&harness, &job, stock).await;
    assert!(cut.starts_with("stdout: a\n\n[executor: ") && cut.matches("not kept").count() == 1, "{cut}");
    assert!(cut.contains("too little room"), "{cut}");
    assert_eq!(text(&harness, &job, third).await, "");
    assert_eq!(text(&harness, &job, fourth).await, cut.strip_prefix("stdout: a\n").unwrap());
    assert_eq!(text(&harness, &job, fifth).await, "");
    // All that keeps jobs going is done, and what makes room.
    let beat = json!({"version": "V2", "executorName": EXECUTOR, "jobIds": [job.id]});
    let beat = harness.executor("/.executors/queue/batches/heartbeat").json(&beat);
    assert_eq!(told(beat).await.0, 200);
    let removed = harness.api(Method::DELETE, &format!("/secrets/{secret}"));
    assert_eq!(told(removed).await.0, 204);
    // Once there is room, what waited is taken, and what was marked is replaced.
    disk.make_room();
    wait_for(async || harness.append(&job, fifth, 0, "stdout: begun\n").await.status() == 200).await;
    assert_eq!(text(&harness, &job, fifth).await, "stdout: begun\n");
    assert_eq!(update("stdout: a\nstdout: b\n", true).await.0, 204);
    assert_eq!(text(&harness, &job, stock).await, "stdout: a\nstdout: b\n");
    assert_eq!(open("step.docker.5", "stdout: whole\n", true, true).await.status(), 200);
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    let ready = async || told(harness.client.get(harness.url("/readyz"))).await;
    assert_eq!(ready().await, (200, "ok".to_owned()));
    disk.fill(0);
    wait_for(async || ready().await == (503, "disk full".to_owned())).await;
    disk.make_room();
    wait_for(async || ready().await.0 == 200).await;
    harness.submit(&of_known).await;
    harness.stop().await;
}

async fn text(harness: &Harness, job: &wire::Job, number: i64) -> String {
    let path = format!("/jobs/{}/logs/{number}/text", job.id);
    harness.api(Method::GET, &path).send().await.unwrap().text().await.unwrap()
}

/// What was seen of the disk holds for a moment.
async fn wait_for(is_so: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never is");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_log_that_can_not_be_written_tells_nobody_where_it_is() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let number = harness.add_log(&job, "step.docker.0").await;
    // Something is where the log's directory is to be.
    let logs = harness.data().join("logs");
    std::fs::remove_dir_all(&logs).unwrap();
    std::fs::write(&logs, "").unwrap();
    let response = harness.append(&job, number, 0, "stdout: a\n").await;
    assert_eq!(response.status(), 500);
    let told = response.text().await.unwrap();
    assert!(
        told.contains("a file of the server's failed") && !told.contains(logs.to_str().unwrap()),
        "{told}"
    );
}
