//! How jobs end.

use crate::harness::{EXECUTOR, Harness, job, told};
use jiff::{SignedDuration, Timestamp};
use jobs::{Clock, JobSpec};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::{MockClock, SmallDisk};

async fn state(harness: &Harness, id: impl std::fmt::Display) -> (String, Value) {
    let job = harness.get(&format!("/jobs/{id}")).await;
    (job["state"].as_str().unwrap().to_owned(), job["reason"].clone())
}

#[tokio::test]
async fn each_mark_ends_the_job_and_kills_its_token() {
    let harness = Harness::start().await;
    let end =
        json!({"errorMessage": "step 0 failed", "end": {"reason": "exit_code", "step": "0", "exitCode": 3}});
    for (call, extra, expected) in [
        ("markComplete", json!({}), ("completed", "succeeded")),
        ("markErrored", json!({"errorMessage": "no sandbox"}), ("failed", "unspecified")),
        ("markFailed", end, ("failed", "exit_code")),
    ] {
        let job = harness.running_job().await;
        assert_eq!(harness.mark(&job, call, extra).await.status(), 204, "{call}");
        let (ended, reason) = state(&harness, job.id).await;
        assert_eq!((ended.as_str(), reason.as_str().unwrap()), expected, "{call}");
        let again = harness.mark(&job, call, json!({})).await;
        assert_eq!(
            (again.status().as_u16(), again.text().await.unwrap()),
            (401, "invalid token\n".to_owned())
        );
    }
}

#[tokio::test]
async fn a_mark_by_another_executor_finds_nothing() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    for call in ["markComplete", "markErrored", "markFailed"] {
        let body = json!({"executorName": "exec-2", "jobId": job.id, "errorMessage": "x"});
        let with_token = harness.about(&job, "batches", call).json(&body);
        assert_eq!(told(with_token).await, (404, "null".to_owned()), "{call}");
        let with_secret = harness.executor(&format!("/.executors/queue/batches/{call}")).json(&body);
        assert_eq!(told(with_secret).await, (404, "null".to_owned()), "{call}");
    }
    assert_eq!(state(&harness, job.id).await.0, "processing");
}

#[tokio::test]
async fn a_cancelled_job_ends_cancelled_unless_it_was_faster() {
    let harness = Harness::start().await;
    for (call, expected) in
        [("markFailed", "canceled"), ("markErrored", "canceled"), ("markComplete", "completed")]
    {
        let job = harness.running_job().await;
        harness.cancel(job.id.0).await;
        let extra = json!({"errorMessage": "context canceled"});
        assert_eq!(harness.mark(&job, call, extra).await.status(), 204);
        assert_eq!(state(&harness, job.id).await.0, expected, "{call}");
    }
}

/// Its executor knows only that it is to stop; who asked for it is the server's to tell.
#[tokio::test]
async fn whoever_cancelled_a_job_is_told() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let path = format!("/jobs/{}/cancel", job.id);
    for client in ["somebody/1.2", "somebody else/3.4"] {
        let request = harness.api(reqwest::Method::POST, &path).header("User-Agent", client);
        assert_eq!(told(request).await.0, 200);
    }
    let view = harness.get(&format!("/jobs/{}", job.id)).await;
    let canceler = json!({"by": "api", "from": "127.0.0.1", "client": "somebody/1.2"});
    assert_eq!((&view["state"], &view["canceler"]), (&json!("processing"), &canceler));
    let end =
        json!({"errorMessage": "context canceled", "end": {"reason": "canceled", "by": "control_plane"}});
    assert_eq!(harness.mark(&job, "markFailed", end).await.status(), 204);
    let view = harness.get(&format!("/jobs/{}", job.id)).await;
    let mut end = canceler;
    end["reason"] = json!("canceled");
    assert_eq!((&view["state"], &view["end"]), (&json!("canceled"), &end));
}

#[tokio::test]
async fn a_fault_of_the_infrastructure_is_tried_again_elsewhere_and_told() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = Harness::start_with(|config| {
        config.clock = clock.clone();
        config.lease.untold = Duration::from_hours(1);
    })
    .await;
    let job = harness.running_job().await;
    let end =
        json!({"errorMessage": "no answer", "end": {"reason": "image_unavailable", "class": "network"}});
    assert_eq!(harness.mark(&job, "markErrored", end.clone()).await.status(), 204);
    let view = harness.get(&format!("/jobs/{}", job.id)).await;
    assert_eq!((&view["state"], &view["reason"]), (&json!("errored"), &json!("image_unavailable")));
    assert_eq!(view["retryAt"], (clock.now() + SignedDuration::from_secs(10)).to_string());

    let other = || {
        let body = json!({"executorName": "exec-2", "version": "5.2.0"});
        harness.executor("/.executors/queue/batches/dequeue").json(&body).send()
    };
    assert_eq!(other().await.unwrap().status(), 204, "its pause is not over");
    clock.advance(SignedDuration::from_secs(10));
    assert!(harness.dequeue("batches").await.is_none(), "others come first");
    let again = crate::harness::job_in(other().await.unwrap()).await.unwrap();
    assert_eq!(again.id, job.id);
    let view = harness.get(&format!("/jobs/{}", job.id)).await;
    assert_eq!(
        (&view["attempt"], &view["reason"], &view["retryAt"]),
        (&json!(2), &Value::Null, &Value::Null)
    );
    let earlier = &view["earlierTries"];
    assert_eq!(earlier.as_array().unwrap().len(), 1);
    for (key, value) in [
        ("attempt", json!(1)),
        ("executor", json!(EXECUTOR)),
        ("reason", json!("image_unavailable")),
        ("blame", json!("system")),
        ("end", end["end"].clone()),
        ("message", json!("no answer")),
    ] {
        assert_eq!(earlier[0][key], value, "{earlier}");
    }
}

/// It may be one that tells no reason, and its `markFailed` is for good.
#[tokio::test]
async fn a_job_that_asks_for_it_is_tried_again_after_its_own_failure() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = Harness::start_with(|config| {
        config.clock = clock.clone();
        config.lease.untold = Duration::from_hours(1);
    })
    .await;
    let of_step = json!({"errorMessage": "no", "end": {"reason": "exit_code", "step": "0", "exitCode": 1}});
    let untold = json!({"errorMessage": "no"});
    let ends = async |retries: u32, marks: &[(&str, &Value)]| {
        let id = harness.submit(&JobSpec { retries, ..job() }).await;
        let mut told = Vec::new();
        for (call, end) in marks {
            let held = harness.dequeue("batches").await.unwrap();
            assert_eq!(held.id.0, id);
            assert_eq!(harness.mark(&held, call, (*end).clone()).await.status(), 204);
            let view = harness.get(&format!("/jobs/{id}")).await;
            assert_eq!((&view["retries"], &view["blame"]), (&json!(retries), &json!("job")), "{view}");
            told.push((view["state"].as_str().unwrap().to_owned(), view["retriesUsed"].as_u64().unwrap()));
            if view["state"] == "errored" {
                let why = harness.get(&format!("/jobs/{id}/explain")).await["obstacles"][0].take();
                let used = format!("has used {} of {retries} retries", view["retriesUsed"]);
                assert_eq!(why["code"], "retry_pause");
                assert!(why["text"].as_str().unwrap().contains(&used), "{why}");
                clock.advance(SignedDuration::from_secs(11));
                let beat = json!({"executorName": EXECUTOR, "jobIds": []});
                let beat = harness.executor("/.executors/queue/batches/heartbeat").json(&beat);
                assert_eq!(beat.send().await.unwrap().status(), 200);
                let why = harness.get(&format!("/jobs/{id}/explain")).await["obstacles"].take();
                assert_eq!(why[0]["code"], "retry_elsewhere", "nobody else is there: {why}");
                assert!(harness.dequeue("batches").await.is_none(), "as is told");
            }
            clock.advance(SignedDuration::from_secs(60));
        }
        told
    };
    let then = |state: &str, failures| (state.to_owned(), failures);
    let (errored, failed) = ("markErrored", "markFailed");
    assert_eq!(
        ends(2, &[(errored, &of_step), (errored, &untold), (errored, &of_step)]).await,
        [then("errored", 1), then("errored", 2), then("failed", 2)]
    );
    assert_eq!(ends(2, &[(failed, &of_step)]).await, [then("failed", 0)]);
    for call in [errored, failed] {
        assert_eq!(ends(0, &[(call, &untold)]).await, [then("failed", 0)], "{call}");
    }
    let refused = harness.api(reqwest::Method::POST, "/jobs").json(&JobSpec { retries: 11, ..job() });
    let (status, said) = told(refused).await;
    assert!(status == 422 && said.contains("retries is 11: use 0 to 10"), "{status} {said}");
}

#[tokio::test]
async fn a_silent_executor_loses_the_job_and_its_token() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = Harness::start_with(|config| {
        config.clock = clock.clone();
        config.lease.scan_interval = Duration::from_millis(5);
    })
    .await;
    let mut job = harness.running_job().await;
    let id = job.id;
    for attempt in 2..=4 {
        clock.advance(SignedDuration::from_secs(60));
        let next = harness.dequeue_request("batches").header("Prefer", "wait=10").send().await.unwrap();
        let next = crate::harness::job_in(next).await.unwrap();
        assert_eq!(next.id, id);
        assert_ne!(next.token, job.token);
        let late = harness.mark(&job, "markComplete", json!({})).await;
        assert_eq!(late.status(), 401, "attempt {attempt}: the older token is dead");
        let late = harness.mark_request(&job, "markComplete", &json!({})).header("Prefer", "late-conflict");
        let (status, said) = told(late).await;
        assert_eq!((status, said.trim()), (409, wire::additions::TRY_IS_OVER), "one of ours is told more");
        job = next;
    }
    clock.advance(SignedDuration::from_secs(60));
    let ended = async {
        while state(&harness, id).await.0 == "processing" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap();
    let view = harness.get(&format!("/jobs/{id}")).await;
    assert_eq!(view["state"], "failed");
    assert_eq!(view["reason"], "executor_lost");
    assert_eq!(view["message"], "job processor died while handling this message too many times");
    assert_eq!(view["executor"], EXECUTOR);
    let tries = view["earlierTries"].as_array().unwrap();
    let late: Vec<_> = tries.iter().map(|one| (one["attempt"].as_u64(), one["lateCalls"].as_u64())).collect();
    assert_eq!(late, [1, 2, 3].map(|attempt| (Some(attempt), Some(2))), "both calls of each were noted");
    let guess = harness.mark_request(&job, "markComplete", &json!({})).header("Prefer", "late-conflict");
    assert_eq!(told(guess).await.0, 401, "the last try ended with its job");
}

/// A clock that moves only when the test says so. Counts the looks at both of its hands, which only the
/// search for silent executors takes.
struct SetClock {
    /// What it shows, and what the one shows that nobody sets.
    hands: Mutex<(Timestamp, Duration)>,
    looks: AtomicUsize,
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        self.hands.lock().unwrap().0
    }

    fn with_monotonic(&self) -> (Timestamp, Duration) {
        self.looks.fetch_add(1, Ordering::Relaxed);
        *self.hands.lock().unwrap()
    }
}

impl SetClock {
    async fn start(adjust: impl FnOnce(&mut server::ServerConfig)) -> (Arc<Self>, Harness) {
        let hands = Mutex::new((Timestamp::from_second(1_700_000_000).unwrap(), Duration::ZERO));
        let clock = Arc::new(Self { hands, looks: AtomicUsize::new(0) });
        let harness = Harness::start_with(|config| {
            config.clock = clock.clone();
            config.lease.scan_interval = Duration::from_millis(5);
            adjust(config);
        })
        .await;
        (clock, harness)
    }

    /// Lets time pass, and waits until somebody looked and did what he had to do about it.
    async fn forward(&self, seconds: u64) {
        let passed = Duration::from_secs(seconds);
        {
            let mut hands = self.hands.lock().unwrap();
            *hands = (hands.0 + passed, hands.1 + passed);
        }
        self.looked_at().await;
    }

    /// The same where no time passes and somebody sets it.
    async fn set_forward(&self, seconds: u64) {
        self.hands.lock().unwrap().0 += Duration::from_secs(seconds);
        self.looked_at().await;
    }

    async fn looked_at(&self) {
        let (before, begun) = (self.looks.load(Ordering::Relaxed), Instant::now());
        // One look may have been under way; what follows the next is done when there is another.
        while self.looks.load(Ordering::Relaxed) < before + 3 {
            assert!(begun.elapsed() < Duration::from_secs(10), "nobody looks");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn a_clock_that_jumps_makes_nobody_silent() {
    let (clock, harness) = SetClock::start(|_| {}).await;
    let job = harness.running_job().await;
    clock.set_forward(3_600).await;
    assert_eq!(state(&harness, job.id).await.0, "processing", "its executor had no time to be heard");
    // Little by little it is as wrong.
    for _ in 0..15 {
        clock.set_forward(2).await;
    }
    assert_eq!(state(&harness, job.id).await.0, "processing", "no time has passed");
    for _ in 0..6 {
        clock.forward(4).await;
        assert_eq!(state(&harness, job.id).await.0, "processing", "a whole lease has not passed");
    }
    clock.forward(4).await;
    assert_eq!(state(&harness, job.id).await.0, "queued", "it was silent for a whole lease");
}

#[tokio::test]
async fn heartbeats_that_a_full_disk_does_not_take_make_nobody_silent() {
    let test = "heartbeats_that_a_full_disk_does_not_take_make_nobody_silent";
    let Some(disk) = SmallDisk::mount(test, 16 << 20) else { return };
    let data = disk.path().join("data");
    let (clock, harness) = SetClock::start(|config| config.data_dir = data).await;
    let job = harness.running_job().await;
    let beat = async || {
        let body = json!({"version": "V2", "executorName": EXECUTOR, "jobIds": [job.id]});
        let answer = harness.executor("/.executors/queue/batches/heartbeat").json(&body).send().await;
        answer.unwrap().status()
    };
    clock.forward(20).await;
    disk.fill(0);
    // What the write-ahead log has of the disk already may still take some.
    let mut taken = 0;
    while beat().await == 200 {
        taken += 1;
        assert!(taken < 10_000, "the disk is full");
    }
    clock.forward(10).await;
    assert_ne!(beat().await, 200);
    clock.looked_at().await;
    disk.make_room();
    clock.forward(20).await;
    assert_eq!(state(&harness, job.id).await.0, "processing", "its heartbeats came");
    assert_eq!(beat().await, 200);
    clock.forward(26).await;
    assert_eq!(state(&harness, job.id).await.0, "queued", "now it is silent");
    harness.stop().await;
}
