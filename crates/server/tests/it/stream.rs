//! Following a job's log.

use crate::harness::{EXECUTOR, Harness, job, job_in, told};
use jiff::SignedDuration;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use server::api::LogEvent;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::MockClock;
use wire::Job;

/// The events of a stream, one by one.
pub(crate) struct Events {
    response: Response,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Received {
    name: String,
    id: String,
    pub(crate) event: LogEvent,
}

impl Events {
    pub(crate) async fn open(harness: &Harness, id: i64, last: Option<&str>) -> Self {
        let mut request = harness.api(Method::GET, &format!("/jobs/{id}/logs/stream"));
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, buffer: Vec::new() }
    }

    /// The next event; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Received> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block = String::from_utf8(self.buffer.drain(..end + 2).collect()).unwrap();
                let field = |name: &str| {
                    let found = block.lines().find_map(|line| line.strip_prefix(name));
                    found.unwrap_or_default().trim().to_owned()
                };
                let event = serde_json::from_str(&field("data:")).unwrap();
                return Some(Received { name: field("event:"), id: field("id:"), event });
            }
            let chunk = tokio::time::timeout(Duration::from_secs(10), self.response.chunk());
            let chunk = chunk.await.expect("an event within ten seconds").unwrap()?;
            self.buffer.extend_from_slice(&chunk);
        }
    }

    async fn until_end(mut self) -> Vec<Received> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }

    pub(crate) async fn next_text(&mut self) -> (u64, String, String) {
        loop {
            let received = self.next().await.unwrap();
            if let LogEvent::Text { offset, text, .. } = received.event {
                return (offset, text, received.id);
            }
        }
    }
}

async fn end_entry(harness: &Harness, job: &Job, entry: i64, length: u64) {
    let body = json!({"executorName": EXECUTOR, "jobId": job.id, "entryId": entry, "offset": length, "chunk": "",
                      "exitCode": 0, "durationMs": 1});
    assert_eq!(told(harness.about(job, "batches", "appendExecutionLog").json(&body)).await.0, 200);
}

#[tokio::test]
async fn a_stream_tells_everything_in_order_and_ends_with_the_job() {
    let harness = Harness::start().await;
    let id = harness.submit(&job()).await;
    let mut events = Events::open(&harness, id, None).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.name.as_str(), first.id.as_str()), ("state", "0.0"));
    let job = harness.dequeue("batches").await.unwrap();
    let entry = harness.add_log(&job, "step.docker.0").await;
    harness.append(&job, entry, 0, "stdout: ä\n").await;
    end_entry(&harness, &job, entry, 11).await;
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    let all = events.until_end().await;
    let text: String = all
        .iter()
        .filter_map(|received| match &received.event {
            LogEvent::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(text, "stdout: ä\n");
    let entries: Vec<_> = all
        .iter()
        .filter_map(|received| match &received.event {
            LogEvent::Entry(entry) => Some(entry.exit_code),
            _ => None,
        })
        .collect();
    assert_eq!(entries, [None, Some(0)]);
    let LogEvent::End(view) = &all.last().unwrap().event else { panic!("{all:?}") };
    assert_eq!(view.state, jobs::State::Completed);
    assert_eq!(view.steps[0].exit_code, Some(0));
    assert_eq!(all.last().unwrap().id, "1.1");
}

/// What was told of entries, and their text, in this order.
fn told_of_log(all: &[Received]) -> Vec<(i64, String)> {
    let told = all.iter().filter_map(|received| match &received.event {
        LogEvent::Entry(entry) => {
            Some((entry.entry, entry.exit_code.map_or("opened", |_| "ended").to_owned()))
        }
        LogEvent::Text { entry, text, .. } => Some((*entry, text.clone())),
        _ => None,
    });
    told.collect()
}

/// Executors ship entries beside each other: the next one may be there before the last lines of a step.
#[tokio::test]
async fn an_entry_that_was_opened_early_comes_after_the_rest_of_the_one_before() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let step = harness.add_log(&job, "step.docker.0").await;
    harness.append(&job, step, 0, "one\n").await;
    let mut events = Events::open(&harness, job.id.0, None).await;
    assert_eq!(events.next_text().await.1, "one\n");
    let teardown = harness.add_log(&job, "teardown.fs").await;
    harness.append(&job, teardown, 0, "removed\n").await;
    end_entry(&harness, &job, teardown, 8).await;
    harness.append(&job, step, 4, "two\n").await;
    // Both were there to be seen before this was told.
    let (_, text, id) = events.next_text().await;
    assert_eq!(text, "two\n", "at {id}");
    end_entry(&harness, &job, step, 8).await;
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    let told = told_of_log(&events.until_end().await);
    let told: Vec<(i64, &str)> = told.iter().map(|(entry, text)| (*entry, text.as_str())).collect();
    assert_eq!(told, [(step, "ended"), (teardown, "opened"), (teardown, "removed\n"), (teardown, "ended")]);
}

/// One that never ends, because its end was lost, keeps nobody from the rest.
#[tokio::test]
async fn an_entry_without_an_end_holds_the_others_up_for_a_moment_only() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    harness.add_log(&job, "setup.git").await;
    let step = harness.add_log(&job, "step.docker.0").await;
    harness.append(&job, step, 0, "goes on\n").await;
    let mut events = Events::open(&harness, job.id.0, None).await;
    assert_eq!(events.next_text().await.1, "goes on\n");
    harness.append(&job, step, 8, "at once\n").await;
    assert_eq!(events.next_text().await.1, "at once\n");
}

/// However many entries have no end, they are waited for once, and where somebody is among them is short and is taken back.
#[tokio::test]
async fn ever_so_many_entries_without_an_end_hold_nobody_up_for_longer() {
    const ENTRIES: i64 = 300;
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    for number in 1..=ENTRIES {
        let entry = harness.add_log(&job, &format!("step.docker.{number}")).await;
        harness.append(&job, entry, 0, "some\n").await;
    }
    let begun = Instant::now();
    let mut events = Events::open(&harness, job.id.0, None).await;
    let mut last = String::new();
    for _ in 0..ENTRIES {
        last = events.next_text().await.2;
        assert!(last.len() < 1_500, "{} bytes", last.len());
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    drop(events);
    harness.append(&job, ENTRIES, 5, "more\n").await;
    let mut events = Events::open(&harness, job.id.0, Some(&last)).await;
    assert_eq!(events.next_text().await.1, "more\n");
    // One that was opened first and goes on, with ever so many ended ones after it.
    for number in 2..=ENTRIES {
        end_entry(&harness, &job, number, if number == ENTRIES { 10 } else { 5 }).await;
    }
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    let all = Events::open(&harness, job.id.0, None).await.until_end().await;
    assert!(all.iter().all(|received| received.id.len() < 40), "{:?}", all.last());
    let texts = told_of_log(&all).into_iter().filter(|(_, told)| told == "some\n").count();
    assert_eq!(i64::try_from(texts).unwrap(), ENTRIES - 1, "the last one has more");
    assert_eq!(all.last().unwrap().id, format!("1.0.1-5.~{ENTRIES}"));
}

/// How long it takes is measured elsewhere.
#[tokio::test]
async fn text_is_told_when_it_comes_and_not_when_it_is_looked_for_again() {
    const ROUNDS: u32 = 20;
    // As the server has it, for changes that it was not told of.
    const LOOK_AGAIN: Duration = Duration::from_secs(1);
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let entry = harness.add_log(&job, "step.docker.0").await;
    let mut events = Events::open(&harness, job.id.0, None).await;
    let mut offset = 0;
    let begun = Instant::now();
    for round in 0..ROUNDS {
        let line = format!("stdout: {round}\n");
        harness.append(&job, entry, offset, &line).await;
        let (at, text, _) = events.next_text().await;
        assert_eq!((at, text), (offset, line.clone()));
        offset += line.len() as u64;
    }
    // A busy host may hold up some of them, and whoever waits to look again waits so long for each.
    assert!(begun.elapsed() < ROUNDS * LOOK_AGAIN / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_cut_stream_resumes_without_loss_or_repetition() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let first = harness.add_log(&job, "setup.git").await;
    harness.append(&job, first, 0, "one\n").await;
    end_entry(&harness, &job, first, 4).await;
    let second = harness.add_log(&job, "step.docker.0").await;
    harness.append(&job, second, 0, "two\n").await;
    let mut events = Events::open(&harness, job.id.0, None).await;
    assert_eq!(events.next_text().await.1, "one\n");
    let (_, text, id) = events.next_text().await;
    assert_eq!((text.as_str(), id.as_str()), ("two\n", "1.1.2-4"));
    drop(events);
    harness.append(&job, second, 4, "three\n").await;
    assert_eq!(harness.mark(&job, "markFailed", json!({"errorMessage": "x"})).await.status(), 204);
    let rest = Events::open(&harness, job.id.0, Some(&id)).await.until_end().await;
    let names: Vec<_> = rest.iter().map(|received| received.name.as_str()).collect();
    assert_eq!(names, ["state", "text", "end"]);
    let LogEvent::Text { offset, text, .. } = &rest[1].event else { panic!("{rest:?}") };
    assert_eq!((*offset, text.as_str()), (4, "three\n"));
    let bad = harness.api(Method::GET, &format!("/jobs/{}/logs/stream?cursor=nonsense", job.id));
    assert_eq!(told(bad).await.0, 400);
}

#[tokio::test]
async fn who_resumes_misses_no_try_in_between() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let harness = Harness::start_with(|config| {
        config.clock = clock.clone();
        config.lease.scan_interval = Duration::from_millis(5);
    })
    .await;
    harness.submit(&job()).await;
    let mut last = String::new();
    for attempt in 1..=3 {
        let next = harness.dequeue_request("batches").header("Prefer", "wait=10").send().await.unwrap();
        let job = job_in(next).await.unwrap();
        let entry = harness.add_log(&job, "step.docker.0").await;
        harness.append(&job, entry, 0, &format!("try {attempt}\n")).await;
        if attempt == 1 {
            last = Events::open(&harness, job.id.0, None).await.next_text().await.2;
        }
        if attempt == 3 {
            assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
            let rest = Events::open(&harness, job.id.0, Some(&last)).await.until_end().await;
            let texts = rest.iter().filter_map(|received| match &received.event {
                LogEvent::Text { text, attempt, .. } => Some((*attempt, text.as_str())),
                _ => None,
            });
            assert_eq!(texts.collect::<Vec<_>>(), [(2, "try 2\n"), (3, "try 3\n")]);
        }
        clock.advance(SignedDuration::from_secs(60));
    }
}

#[tokio::test]
async fn a_large_text_comes_in_pieces_that_fit_together() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let entry = harness.add_log(&job, "step.docker.0").await;
    let text = "stdout: größer\n".repeat(20_000);
    assert_eq!(harness.append(&job, entry, 0, &text).await.status(), 200);
    assert_eq!(harness.mark(&job, "markComplete", json!({})).await.status(), 204);
    let mut joined = String::new();
    for received in Events::open(&harness, job.id.0, None).await.until_end().await {
        if let LogEvent::Text { offset, text, .. } = received.event {
            assert_eq!(offset, joined.len() as u64);
            joined += &text;
        }
    }
    assert_eq!(joined, text);
}

#[tokio::test]
async fn a_stop_ends_streams_at_once() {
    let harness = Harness::start().await;
    let id = harness.submit(&job()).await;
    let mut events = Events::open(&harness, id, None).await;
    events.next().await.unwrap();
    let begun = Instant::now();
    harness.stop().await;
    assert!(events.next().await.is_none());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_data_of_an_event_is_the_documented_json() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let entry = harness.add_log(&job, "step.docker.0").await;
    harness.append(&job, entry, 0, "x\n").await;
    let mut events = Events::open(&harness, job.id.0, None).await;
    events.next().await.unwrap();
    let opened = serde_json::to_value(events.next().await.unwrap().event).unwrap();
    assert_eq!(opened["type"], "entry");
    assert_eq!(opened["exitCode"], Value::Null);
    let text = serde_json::to_value(events.next().await.unwrap().event).unwrap();
    assert_eq!(text, json!({"type": "text", "attempt": 1, "entry": 1, "offset": 0, "text": "x\n"}));
}
