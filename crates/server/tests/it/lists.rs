//! Lists that have nothing to ask for but the next page.

use crate::harness::{Harness, job, problem, told};
use crate::pages::{Visitor, user};
use jobs::JobSpec;
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// Three of everything, and where it is listed, with what tells one from another.
async fn fill(harness: &Harness) -> [(&'static str, &'static str); 5] {
    let registration = json!({"name": "rack", "uses": 3});
    let made = harness.api(Method::POST, "/registration-tokens").json(&registration).send().await.unwrap();
    let invite: Value = made.json().await.unwrap();
    let invite = invite["token"].as_str().unwrap();
    for n in 0..3_u8 {
        user(harness, &format!("ann-{n}"), "reader", "org:acme").await;
        let token = json!({"name": format!("ci-{n}"), "role": "reader"});
        assert_eq!(told(harness.api(Method::POST, "/tokens").json(&token)).await.0, 201);
        let beat = json!({"executorName": format!("exec <{n}>"), "jobIds": []});
        assert_eq!(told(harness.executor("/.executors/queue/batches/heartbeat").json(&beat)).await.0, 200);
        let identity = format!("executor_id_{}", hex::encode([n; 32]));
        let own = json!({"executorName": format!("own-{n}"), "identity": identity});
        let register = harness.client.post(harness.url("/.executors/register")).json(&own);
        assert_eq!(told(register.header("Authorization", format!("token-executor {invite}"))).await.0, 204);
        if n > 0 {
            let more = harness.api(Method::POST, "/registration-tokens").json(&registration);
            assert_eq!(told(more).await.0, 201);
        }
    }
    [
        ("/users", "name"),
        ("/tokens", "name"),
        ("/executors", "name"),
        ("/identities", "name"),
        ("/registration-tokens", "id"),
    ]
}

#[tokio::test]
async fn every_list_comes_a_page_at_a_time() {
    let harness = Harness::start().await;
    for (path, key) in fill(&harness).await {
        let whole = harness.list(path).await;
        let of = |items: &Value| {
            items.as_array().unwrap().iter().map(|item| item[key].clone()).collect::<Vec<_>>()
        };
        let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
        loop {
            let page = harness.get(&format!("{path}{query}")).await;
            seen.extend(of(&page["items"]));
            let Some(next) = page["nextCursor"].as_str() else { break };
            assert_eq!(page["items"].as_array().unwrap().len(), 2, "{path}");
            let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
            query = format!("?limit=2&cursor={next}");
        }
        assert_eq!((seen.len(), &seen), (3, &of(&whole)), "{path}");
        assert_eq!(told(harness.api(Method::GET, &format!("{path}?limit=501"))).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn pages_of_long_lists_lead_to_the_next_one() {
    let harness = Harness::start().await;
    for n in 0..101 {
        let token = json!({"name": format!("ci-{n:03}"), "role": "reader"});
        assert_eq!(told(harness.api(Method::POST, "/tokens").json(&token)).await.0, 201);
    }
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let first = visitor.get("/tokens").await.body;
    assert!(first.contains("ci-099") && !first.contains("ci-100"));
    let (_, link) = first.split_once("<nav class=\"pager\"").unwrap_or_else(|| panic!("{first}"));
    let (_, href) = link.split_once("href=\"").unwrap();
    let href = href.split('"').next().unwrap().replace("&amp;", "&");
    let second = visitor.get(&href).await.body;
    assert!(second.contains("ci-100") && !second.contains("ci-099") && second.contains("First"), "{second}");
}

/// Hundreds of long messages, and each character of them six in JSON, would be hundreds of megabytes.
#[tokio::test]
async fn lists_have_the_beginning_of_a_message_and_jobs_all_of_it() {
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let message = "\u{1}".repeat(65_000);
    assert_eq!(harness.mark(&job, "markFailed", json!({"errorMessage": message})).await.status(), 204);
    for query in ["", "&state=failed", "&text=batches-is-nowhere", "&namespace=global"] {
        let listed = harness.get(&format!("/jobs?limit=500{query}")).await;
        assert!(listed.to_string().len() < 8_000, "{query}: {} bytes", listed.to_string().len());
        if !query.contains("text") {
            assert_eq!(listed["items"][0]["message"], format!("{}…", "\u{1}".repeat(512)), "{query}");
        }
    }
    assert_eq!(harness.get(&format!("/jobs/{}", job.id)).await["message"], message);
}

/// Whoever asks for many lists at one time has turns, and all else goes on.
#[tokio::test]
async fn lists_that_cost_much_have_turns() {
    let harness = Harness::start_with(|config| {
        (config.limits.reads, config.limits.read_queue) = (0, std::time::Duration::from_millis(10));
    })
    .await;
    let job = harness.running_job().await;
    let of_job = [format!("/jobs/{}/logs", job.id), format!("/jobs/{}/artifacts", job.id)];
    let lists = [
        "/jobs",
        "/jobs?text=x",
        "/audit",
        "/uploads",
        "/repositories",
        "/executors",
        "/queues",
        "/queues/batches",
        "/tokens",
        "/registration-tokens",
        "/identities",
        "/secrets",
        "/users",
    ];
    for path in lists.into_iter().map(str::to_owned).chain(of_job) {
        let answer = harness.api(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status(), 503, "{path}");
        assert_eq!(answer.headers()["retry-after"], "5", "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "too_many_reads", "{path}");
    }
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let saved = visitor.request(Method::GET, &format!("/jobs/{}/log/text", job.id)).send().await.unwrap();
    assert_eq!(saved.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(saved.headers()["retry-after"], "5");
    assert_eq!(harness.get(&format!("/jobs/{}", job.id)).await["state"], "processing");
    let beat = json!({"executorName": "exec-7", "jobIds": []});
    assert_eq!(told(harness.executor("/.executors/queue/batches/heartbeat").json(&beat)).await.0, 200);
}

/// Why a job waits takes counting its whole queue where some of many are held back: those who ask take turns.
#[tokio::test]
async fn counting_a_long_queue_has_its_turn() {
    let harness = Harness::start_with(|config| {
        (config.limits.reads, config.limits.read_queue) = (0, std::time::Duration::from_millis(10));
    })
    .await;
    let later = JobSpec { delay_seconds: Some(3_600), ..job() };
    let id = harness.submit(&later).await;
    let explained = format!("/jobs/{id}/explain");
    assert_eq!(harness.get(&explained).await["obstacles"][0]["code"], "not_before");
    let many = json!({"jobs": vec![json!({"job": job()}); 1_000]});
    let (status, text) = told(harness.api(Method::POST, "/jobs/batch").json(&many)).await;
    assert_eq!(status, 201, "{text}");
    let (status, code, _) = problem(harness.api(Method::GET, &explained)).await;
    assert_eq!((status, code.as_str()), (503, "too_many_reads"));
}
