//! What nobody reads of streams, downloads, pages and of what was done.

use super::answers::{LIMIT, ended, unread};
use crate::artifacts::{leaving, put, taken};
use crate::files::{file_path, uploaded_id_of, with_upload};
use crate::harness::{EXECUTOR, Harness, entry, job, problem, told};
use crate::pages::Visitor;
use crate::stream::Events;
use jobs::{JobSpec, StepSpec};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use server::Limits;
use server::api::LogEvent;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;

/// One with room for so many bytes of answers.
async fn with_room_for(bytes: usize) -> Harness {
    let adjusted =
        move |limits: &Limits| Limits { answers: bytes, answers_per_client: bytes, ..limits.clone() };
    Harness::start_with(|config| config.limits = adjusted(&config.limits)).await
}

/// Connections on which nobody reads what takes all room that there is.
async fn no_room_left(harness: &Harness) -> Vec<TcpStream> {
    let job = harness.running_job().await;
    ended(harness, &job, &["x".repeat(32 * MIB)]).await;
    let entry = harness.get(&format!("/jobs/{}/logs", job.id)).await[0]["entry"].clone();
    unread(harness, &format!("/jobs/{}/logs/{entry}/text", job.id), 400).await
}

/// A job of which all that can be told is 600 kB.
fn of_many_steps() -> JobSpec {
    let image = format!("{}/app", vec!["a".repeat(60); 8].join("/"));
    let step = |number| StepSpec {
        name: Some(format!("{}{number:04}", "n".repeat(55))),
        image: image.clone(),
        run: "true".to_owned(),
        ..StepSpec::default()
    };
    JobSpec { steps: (0..1_000).map(step).collect(), ..job() }
}

#[tokio::test]
async fn states_are_told_without_steps_and_an_end_once_there_is_room_for_it() {
    let harness = with_room_for(2 * MIB).await;
    let id = harness.submit(&of_many_steps()).await;
    harness.cancel(id).await;
    let held = no_room_left(&harness).await;
    let mut events = Events::open(&harness, id, None).await;
    let first = events.next().await.unwrap().event;
    let LogEvent::State(state) = first else { panic!("{first:?}") };
    assert_eq!((state.state, state.steps.len()), (jobs::State::Canceled, 0));
    let early = tokio::time::timeout(Duration::from_millis(300), events.next()).await;
    assert!(early.is_err(), "an end was sent for which there is no room");
    drop(held);
    let last = events.next().await.unwrap().event;
    let LogEvent::End(end) = last else { panic!("{last:?}") };
    assert_eq!((end.state, end.steps.len()), (jobs::State::Canceled, 1_000));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn what_was_done_is_told_in_short_where_there_is_no_room() {
    let harness = with_room_for(2 * MIB).await;
    let id = harness.submit(&of_many_steps()).await;
    harness.dequeue("batches").await.unwrap();
    let held = no_room_left(&harness).await;
    let cancel = format!("/jobs/{id}/cancel");
    let (status, text) = told(harness.api(Method::POST, &cancel)).await;
    assert_eq!(status, 200, "{text}");
    let told_of: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&told_of["id"], &told_of["cancelRequested"]), (&json!(id), &json!(true)));
    assert_eq!(told_of["steps"], json!([]));
    let (status, text) = told(harness.api(Method::POST, "/jobs").json(&of_many_steps())).await;
    let submitted: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &submitted["state"], &submitted["steps"]), (201, &json!("queued"), &json!([])));
    drop(held);
    let begun = Instant::now();
    loop {
        let text = told(harness.api(Method::POST, &cancel)).await.1;
        let whole: Value = serde_json::from_str(&text).unwrap();
        if whole["steps"].as_array().unwrap().len() == 1_000 {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "there is no room again");
    }
}

/// It is done, so nobody may take it for refused.
#[tokio::test]
async fn what_was_done_is_told_though_the_rest_can_not_be_read() {
    let harness = Harness::start().await;
    let id = harness.submit(&job()).await;
    let database = SqliteConnectOptions::new().filename(harness.data().join("executor.db"));
    let mut intruder = database.connect().await.unwrap();
    sqlx::query("UPDATE job_specs SET spec = '?'").execute(&mut intruder).await.unwrap();
    let (status, text) = told(harness.api(Method::POST, &format!("/jobs/{id}/cancel"))).await;
    let canceled: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &canceled["state"], &canceled["steps"]), (200, &json!("canceled"), &json!([])));
}

#[tokio::test]
async fn who_reads_no_downloads_is_given_only_some_and_keeps_no_executor_from_files() {
    let harness = with_room_for(4 * MIB).await;
    let id = uploaded_id_of(&harness, vec![b'f'; 9 * MIB]).await;
    let (job, _) = taken(&harness, &with_upload(leaving(&[("big", "big")]), "data.bin", &id)).await;
    assert_eq!(put(&harness, &job, "big/big", &"x".repeat(32 * MIB)).await.0, 200);
    let path = format!("/jobs/{}/artifacts/big", job.id);
    let held = unread(&harness, &path, 40).await;
    assert!(!held.is_empty());
    let (status, code, _) = problem(harness.api(Method::GET, &path)).await;
    assert_eq!((status, code.as_str()), (503, "busy"));
    let (status, file) = told(harness.with_job_token(Method::GET, &job, &file_path(&job, &id))).await;
    assert_eq!((status, file.len()), (200, 9 * MIB));
    drop(held);
    let begun = Instant::now();
    loop {
        let (status, text) = told(harness.api(Method::GET, &path)).await;
        if status == 200 {
            assert_eq!(text.len(), 32 * MIB);
            break;
        }
        assert!(begun.elapsed() < LIMIT, "there is no room again");
    }
}

#[tokio::test]
async fn files_that_no_executor_reads_are_only_some() {
    let harness = Harness::start_with(|config| {
        let limits = config.limits.clone();
        let file_read_queue = Duration::from_millis(50);
        config.limits = Limits { file_reads: MIB, file_reads_per_client: MIB, file_read_queue, ..limits };
    })
    .await;
    let id = uploaded_id_of(&harness, vec![b'f'; 32 * MIB]).await;
    let (job, _) = taken(&harness, &with_upload(job(), "data.bin", &id)).await;
    let file = || harness.with_job_token(Method::GET, &job, &file_path(&job, &id));
    let mut held = Vec::new();
    loop {
        let response = file().send().await.unwrap();
        if response.status() == 503 {
            break;
        }
        assert_eq!(response.status(), 200);
        held.push(response);
        assert!(held.len() < 20, "files that nobody reads are in memory");
    }
    assert!(!held.is_empty());
    drop(held);
    let begun = Instant::now();
    while told(file()).await.0 != 200 {
        assert!(begun.elapsed() < LIMIT, "there is no room again");
    }
}

/// Their entries were all told with the first piece, so nothing is to be waited for.
#[tokio::test]
async fn short_lists_of_entries_are_told_where_there_is_no_room() {
    let harness = with_room_for(64 << 10).await;
    let logged = harness.running_job().await;
    ended(&harness, &logged, &["stdout: one\n".to_owned()]).await;
    let held = no_room_left(&harness).await;
    let list = told(harness.api(Method::GET, &format!("/jobs/{}/logs", logged.id)));
    let (status, text) = tokio::time::timeout(LIMIT, list).await.expect("it waits for room");
    let entries: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, entries.as_array().unwrap().len()), (200, 1), "{text}");
    drop(held);
}

/// Texts are read from the database and from files while they are sent.
#[tokio::test]
async fn hundreds_of_texts_that_nobody_reads_keep_no_executor_waiting() {
    const QUICK: Duration = Duration::from_secs(5);
    let harness = with_room_for(192 * MIB).await;
    let job = harness.running_job().await;
    let held = no_room_left(&harness).await;
    assert!(held.len() > 200, "{}", held.len());
    for _ in 0..20 {
        let begun = Instant::now();
        let beat = json!({"executorName": EXECUTOR, "jobIds": [job.id]});
        let (status, text) = told(harness.executor("/.executors/queue/batches/heartbeat").json(&beat)).await;
        assert_eq!(status, 200, "{text}");
        assert!(harness.dequeue("batches").await.is_none());
        harness.get(&format!("/jobs/{}", job.id)).await;
        assert!(begun.elapsed() < QUICK, "{:?}", begun.elapsed());
    }
    drop(held);
}

/// What was begun waits for room, as each of its parts does.
#[tokio::test]
async fn a_log_that_is_saved_waits_for_room_and_comes_whole() {
    let harness = with_room_for(MIB).await;
    let logged = harness.running_job().await;
    ended(&harness, &logged, &["small".to_owned(), "y".repeat(200 << 10)]).await;
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let held = no_room_left(&harness).await;
    let file = visitor.request(Method::GET, &format!("/jobs/{}/log/text", logged.id)).send().await.unwrap();
    assert_eq!(file.status(), 200);
    let saved = file.text();
    tokio::pin!(saved);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut saved).await;
    assert!(early.is_err(), "there was no room for it");
    drop(held);
    let saved = tokio::time::timeout(LIMIT, saved).await.expect("there is room").expect("it breaks off");
    assert!(saved.contains("small") && saved.ends_with(&"y".repeat(200 << 10)), "{}", saved.len());
}

/// Each piece waits for room: those before it must have given theirs back.
#[tokio::test]
async fn a_page_may_read_more_than_there_is_room_for() {
    let harness = with_room_for(MIB).await;
    let job = harness.running_job().await;
    for step in 0..16 {
        let mut entry = entry(&job, &format!("step.docker.step.{step}.run"));
        entry["command"] = json!(["c".repeat(200 << 10)]);
        let logged = harness.about(&job, "batches", "addExecutionLogEntry").json(&entry);
        assert_eq!(told(logged).await.0, 200);
    }
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let page = visitor.get(&format!("/jobs/{}/log", job.id)).await;
    assert_eq!(
        (page.status, page.body.matches("<details class=\"entry\" id=").count()),
        (200, 16),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn texts_that_are_more_than_they_seem_are_followed_in_small_pieces() {
    const ODD: usize = 100_000;
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    ended(&harness, &job, &["\u{1}".repeat(ODD)]).await;
    let mut events = Events::open(&harness, job.id.0, None).await;
    let mut read = 0;
    while let Some(received) = events.next().await {
        let length = serde_json::to_vec(&received.event).unwrap().len();
        assert!(length <= 64 << 10, "{length}");
        if let LogEvent::Text { text, .. } = received.event {
            read += text.len();
        }
    }
    assert_eq!(read, ODD);
}

#[tokio::test]
async fn logs_are_followed_and_little_is_saved_where_there_is_no_room() {
    let harness = with_room_for(2 * MIB).await;
    let (job, _) = taken(&harness, &leaving(&[("small", "small")])).await;
    assert_eq!(put(&harness, &job, "small/small", "few bytes").await.0, 200);
    let large = harness.submit(&of_many_steps()).await;
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let held = no_room_left(&harness).await;
    let followed = visitor.request(Method::GET, &format!("/jobs/{large}/log/stream")).send().await.unwrap();
    assert_eq!(followed.status(), 200);
    let small = told(harness.api(Method::GET, &format!("/jobs/{}/artifacts/small", job.id))).await;
    assert_eq!(small, (200, "few bytes".to_owned()));
    drop(held);
}

/// Somebody who waits for a turn to be told of a job's end hears of nothing else, but of that.
#[tokio::test]
async fn who_waits_for_a_turn_keeps_no_server_from_its_end() {
    let harness = Harness::start_with(|config| config.limits.reads = 0).await;
    let id = harness.submit(&job()).await;
    harness.cancel(id).await;
    let mut events = Events::open(&harness, id, None).await;
    assert!(matches!(events.next().await.unwrap().event, LogEvent::State(_)));
    let begun = Instant::now();
    harness.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn pages_have_room_or_tell_that_there_is_none() {
    let harness = with_room_for(64 << 10).await;
    let logged = harness.running_job().await;
    ended(&harness, &logged, &[0, 1, 2].map(|_| "stdout: <&>\n".repeat(8_000))).await;
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let page = format!("/jobs/{}/log", logged.id);
    let shown = visitor.get(&page).await;
    assert_eq!(shown.status, 200);
    assert!(shown.body.len() > 200 << 10, "{}", shown.body.len());
    let held = no_room_left(&harness).await;
    let refused = visitor.get(&page).await;
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("5")), "{}", refused.body);
    assert!(refused.body.contains("too many large pages"), "{}", refused.body);
    assert_eq!(visitor.get("/account").await.status, 200);
    drop(held);
    let begun = Instant::now();
    while visitor.get(&page).await.status != 200 {
        assert!(begun.elapsed() < LIMIT, "there is no room again");
    }
}

#[tokio::test]
async fn pages_are_made_in_turns() {
    let harness = Harness::start_with(|config| {
        (config.limits.pages, config.limits.read_queue) = (0, Duration::from_millis(10));
    })
    .await;
    let mut visitor = Visitor::new(&harness);
    let signed_in = visitor.door(&[("token", harness.server.api_token().expose_secret())]).await;
    assert_eq!(signed_in.status, 303);
    let refused = visitor.get("/jobs").await;
    assert_eq!((refused.status, refused.retry_after.as_deref()), (503, Some("5")));
    assert!(refused.body.contains("too many pages"), "{}", refused.body);
    assert_eq!(harness.get("/jobs").await["items"], json!([]));
}

#[tokio::test]
async fn forms_have_room_of_their_own() {
    let harness = Harness::start_with(|config| {
        let limits = config.limits.clone();
        let (bodies, large_call_queue) = (128 << 10, Duration::from_millis(50));
        config.limits = Limits { bodies, bodies_per_client: bodies, large_call_queue, ..limits };
    })
    .await;
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    // One namespace has half of the room: that of one form.
    let mut slow = TcpStream::connect(harness.server.addr()).await.unwrap();
    let head = format!(
        "POST /secrets HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nCookie: {}\r\nContent-Length: 100000\r\n\r\n",
        visitor.cookie()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    slow.write_all("x".repeat(90_000).as_bytes()).await.unwrap();
    let value = "v".repeat(65_000);
    let fields = [("key", "A"), ("value", value.as_str()), ("replace", "yes"), ("more", &value[..9_000])];
    let begun = Instant::now();
    loop {
        let told = visitor.post("/secrets", &fields).await;
        if told.status == 503 {
            assert!(told.body.contains("too many requests of more than"), "{}", told.body);
            assert_eq!(told.retry_after.as_deref(), Some("5"));
            break;
        }
        assert!(begun.elapsed() < LIMIT, "forms have no room: {}", told.status);
    }
    drop(slow);
    let begun = Instant::now();
    while visitor.post("/secrets", &fields).await.status != 303 {
        assert!(begun.elapsed() < LIMIT, "there is no room again");
    }
}
