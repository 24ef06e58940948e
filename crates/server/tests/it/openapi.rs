//! What the server answers, against what it says that it answers.

use crate::harness::{EXECUTOR, Harness, in_api, job};
use crate::source::SourceRepo;
use jobs::JobSpec;
use reqwest::{Method, Response};
use serde_json::{Value, json};

/// What stands in a path.
struct Filled {
    job: i64,
    secret: String,
    upload: String,
}

/// Things of all kinds, and a job that was tried, cancelled and waited for.
async fn fill(harness: &Harness, source: &SourceRepo) -> Filled {
    harness.add_repository("app", &source.path()).await;
    let secret = harness.set_secret("KEPT", "v4lue").await;
    for body in [json!({"name": "ci", "role": "reader", "expiresAt": "2100-01-01T00:00:00Z"})] {
        assert_eq!(harness.api(Method::POST, "/tokens").json(&body).send().await.unwrap().status(), 201);
    }
    let invite = json!({"name": "rack"});
    let made = harness.api(Method::POST, "/registration-tokens").json(&invite).send().await.unwrap();
    let made: Value = made.json().await.unwrap();
    let token = made["token"].as_str().unwrap();
    let registered = harness
        .client
        .post(harness.url(wire::additions::REGISTER))
        .header("Authorization", wire::headers::Credentials::Shared(token).to_header())
        .json(&json!({"executorName": "exec-7", "identity": format!("{}{}", wire::additions::IDENTITY_PREFIX, "a".repeat(64))}))
        .send();
    let _ = registered.await.unwrap();
    let spec = JobSpec { repo: Some("app".to_owned()), stored_secrets: vec!["KEPT".to_owned()], ..job() };
    let id = harness.submit(&spec).await;
    let held = harness.dequeue("batches").await.unwrap();
    let entry = harness.add_log(&held, "step.docker.0").await;
    harness.append(&held, entry, 0, "stdout: hello\n").await;
    let why = json!({"errorMessage": "no", "end": {"reason": "image_unavailable", "class": "network"}});
    assert_eq!(harness.mark(&held, "markErrored", why).await.status(), 204);
    let mut waiting = job();
    waiting.needs.memory = Some(1 << 40);
    waiting.not_before = Some("2100-01-01T00:00:00Z".parse().unwrap());
    harness.submit(&waiting).await;
    harness.cancel(id).await;
    let beat = json!({"version": "V2", "executorName": EXECUTOR, "jobIds": [], "os": "linux"});
    let beat = harness.executor("/.executors/queue/batches/heartbeat").json(&beat).send().await.unwrap();
    assert_eq!(beat.status(), 200);
    let upload = crate::uploads::upload_one(harness, "app").await.to_string();
    Filled { job: id, secret, upload }
}

/// Judges a document by a schema of this API's.
fn check(document: &Value, schema: &Value, answered: &Value, what: &str) {
    // Whatever JSON it is.
    if schema.is_boolean() {
        return;
    }
    let mut whole = schema.clone();
    whole["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&whole).unwrap();
    let faults: Vec<String> =
        validator.iter_errors(answered).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{what}: {faults:?} in {answered}");
}

async fn judge(document: &Value, (method, path): (&str, &str), response: Response) {
    let told = &document["paths"][path.replace("{*", "{")][method];
    let (status, kind) = (response.status().as_u16(), response.headers().get("content-type").cloned());
    let answer = &told["responses"][status.to_string()];
    assert!(answer.is_object(), "{method} {path}: {status} is not told of");
    let Some(kind) = kind else { return assert!(answer.get("content").is_none(), "{path}") };
    let kind = kind.to_str().unwrap().split(';').next().unwrap().to_owned();
    let content = &answer["content"][&kind];
    assert!(content.is_object(), "{method} {path}: {kind} is not told of with {status}");
    if kind.ends_with("json") {
        check(document, &content["schema"], &response.json().await.unwrap(), &format!("{method} {path}"));
    }
}

#[tokio::test]
async fn every_get_answers_as_it_is_told() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    let filled = fill(&harness, &source).await;
    let document = harness.get("/openapi.json").await;
    assert_eq!(document["openapi"], "3.1.0");
    let mut judged = 0;
    for route in server::routes() {
        if route.method != "GET" || route.path.ends_with("/stream") {
            continue;
        }
        let path =
            route.path.trim_start_matches("/api/v1").replace("{entry}", "1").replace("{name}", "batches");
        let id = match path.split('/').nth(1) {
            Some("secrets") => filled.secret.clone(),
            Some("uploads") => filled.upload.clone(),
            _ => filled.job.to_string(),
        };
        // The job has left nothing, and has no execution.
        let there = !path.contains("{*file}") && !path.ends_with("/results");
        let path = path.replace("{*file}", "report/a.txt");
        for (id, good) in [(&*id, true), ("987654", false)] {
            let has_id = path.contains("{id}");
            if !good && !has_id {
                continue;
            }
            let response = harness.api(Method::GET, &path.replace("{id}", id)).send().await.unwrap();
            // What was handed out of a secret outlives it, so that it may be unknown.
            assert_eq!(response.status().is_success(), good && there, "{path} {id}");
            judge(&document, ("get", &route.path), response).await;
            judged += 1;
        }
        let anybody =
            harness.client.get(harness.url(&in_api(&path.replace("{id}", "1")))).send().await.unwrap();
        assert_eq!(anybody.status(), 401);
        judge(&document, ("get", &route.path), anybody).await;
    }
    assert!(judged > 20, "{judged}");
}

#[tokio::test]
async fn what_is_answered_without_a_token_is_told_as_well() {
    let harness = Harness::start().await;
    let document = harness.get("/openapi.json").await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(document["paths"][path]["get"]["security"], json!([]), "{path}");
        let response = harness.client.get(harness.url(path)).send().await.unwrap();
        assert_eq!(response.status(), 200);
        judge(&document, ("get", path), response).await;
    }
}

#[test]
fn the_document_that_comes_with_the_documentation_is_the_one_that_is_served() {
    let kept = include_str!("../../../../docs/reference/openapi.json");
    let served = format!("{:#}\n", server::openapi(env!("CARGO_PKG_VERSION")));
    let differs = kept.lines().zip(served.lines()).position(|(kept, served)| kept != served);
    assert!(kept == served, "line {differs:?}: run `executor server openapi > docs/reference/openapi.json`");
}

#[tokio::test]
async fn what_is_asked_for_is_told_and_so_is_what_comes_of_it() {
    let harness = Harness::start().await;
    let document = harness.get("/openapi.json").await;
    let schema_of = |path: &str, method: &str| {
        document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"].clone()
    };
    let whole = json!({
        "queue": "batches", "env": {"CI": "1"}, "secrets": {"A": "b"}, "priority": 2,
        "notBefore": "2031-01-01T06:00:00Z", "concurrency": {"key": "deploy", "limit": 1},
        "needs": {"cpus": 4, "memory": "8G", "disk": 1024, "isolation": "vm", "labels": ["gpu"]},
        "files": [{"path": "a", "content": "b"}],
        "steps": [{"name": "build", "image": "debian:12", "run": "make", "env": {"V": "1"}}],
    });
    let submit = schema_of("/api/v1/jobs", "post");
    check(&document, &submit, &whole, "a whole job");
    check(&document, &submit, &serde_json::to_value(job()).unwrap(), "as clients write it");
    let delayed = serde_json::to_value(JobSpec { delay_seconds: Some(600), ..job() }).unwrap();
    check(&document, &submit, &delayed, "with a delay");
    let mut with_components = submit.clone();
    with_components["components"] = document["components"].clone();
    let validator = jsonschema::draft202012::new(&with_components).unwrap();
    for wrong in [json!({"steps": [{"image": "a"}]}), json!({"stepz": []}), json!({"steps": [], "other": 1})]
    {
        assert!(!validator.is_valid(&wrong), "{wrong}");
    }
    for (method, path, body) in
        [(Method::POST, "/api/v1/jobs", whole), (Method::POST, "/api/v1/jobs", json!({"steps": []}))]
    {
        let to = path.trim_start_matches("/api/v1");
        let response = harness.api(method.clone(), to).json(&body).send().await.unwrap();
        judge(&document, (&method.as_str().to_lowercase(), path), response).await;
    }
}

/// Every call that changes something: when it does, and when it is refused.
#[tokio::test]
async fn every_change_is_answered_as_it_is_told() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    let filled = fill(&harness, &source).await;
    let document = harness.get("/openapi.json").await;
    let waiting = harness.submit(&job()).await.to_string();
    let id_in = async |path: &str| {
        let listed = harness.list(path).await;
        listed.pointer("/0/id").unwrap_or_else(|| panic!("{path}: {listed}")).to_string()
    };
    let (token, invite) = (id_in("/tokens").await, id_in("/registration-tokens").await);
    let (waiting, token, invite, secret) = (&*waiting, &*token, &*invite, &*filled.secret);
    let at = source.path().display().to_string();
    let password = "correct horse battery";
    let mut judged = std::collections::BTreeSet::new();
    for (method, path, of, body, status) in [
        ("POST", "/jobs", "", json!({"steps": [{"run": "true", "image": "a"}]}), 201),
        ("POST", "/jobs", "", json!({"steps": []}), 422),
        (
            "POST",
            "/jobs/batch",
            "",
            json!({"jobs": [{"job": {"steps": [{"run": "true", "image": "a"}]}}]}),
            201,
        ),
        ("POST", "/jobs/batch", "", json!({"jobs": [{"job": {"steps": []}}]}), 422),
        ("POST", "/jobs/{id}/cancel", waiting, Value::Null, 200),
        ("POST", "/jobs/{id}/cancel", waiting, Value::Null, 409),
        ("POST", "/jobs/{id}/cancel", "987654", Value::Null, 404),
        ("PATCH", "/queues/{name}", "batches", json!({"paused": true}), 200),
        ("PATCH", "/queues/{name}", "batches", json!({"paused": 1}), 422),
        ("PATCH", "/queues/{name}", "other", json!({"paused": true}), 404),
        ("PATCH", "/executors/{name}", EXECUTOR, json!({"maintenance": true}), 200),
        ("PATCH", "/executors/{name}", "nobody", json!({"maintenance": true}), 404),
        ("POST", "/tokens", "", json!({"name": "x", "role": "reader"}), 201),
        ("POST", "/tokens", "", json!({"name": "x", "role": "reader"}), 409),
        ("DELETE", "/tokens/{id}", token, Value::Null, 204),
        ("DELETE", "/tokens/{id}", token, Value::Null, 404),
        ("POST", "/registration-tokens", "", json!({"name": "x"}), 201),
        ("POST", "/registration-tokens", "", json!({"name": "x", "uses": 0}), 422),
        ("DELETE", "/registration-tokens/{id}", invite, Value::Null, 204),
        ("DELETE", "/registration-tokens/{id}", invite, Value::Null, 404),
        ("DELETE", "/identities/{name}", "exec-7", Value::Null, 204),
        ("DELETE", "/identities/{name}", "nobody", Value::Null, 404),
        ("PUT", "/secrets", "", json!({"key": "A", "value": "b"}), 201),
        ("PUT", "/secrets", "", json!({"key": "A", "value": "c"}), 200),
        ("POST", "/secrets", "", json!({"key": "A", "value": "d"}), 409),
        ("POST", "/secrets", "", json!({"key": "B", "value": "d"}), 201),
        ("DELETE", "/secrets/{id}", secret, Value::Null, 204),
        ("DELETE", "/secrets/{id}", secret, Value::Null, 404),
        ("POST", "/users", "", json!({"name": "ann", "role": "reader", "password": password}), 201),
        ("POST", "/users", "", json!({"name": "ann", "role": "reader", "password": password}), 409),
        ("POST", "/users", "", json!({"name": "bob", "role": "reader", "password": "short"}), 422),
        ("PUT", "/users/{name}/password", "ann", json!({"password": "another horse battery"}), 200),
        ("PUT", "/users/{name}/password", "bob", json!({"password": "another horse battery"}), 404),
        ("DELETE", "/users/{name}", "ann", Value::Null, 204),
        ("DELETE", "/users/{name}", "ann", Value::Null, 404),
        ("POST", "/files", "", Value::Null, 400),
        ("POST", "/repositories", "", json!({"name": "y", "source": at}), 201),
        ("POST", "/repositories", "", json!({"name": "y", "source": at}), 409),
        ("POST", "/repositories", "", json!({"name": "x", "source": "/nowhere"}), 422),
        ("DELETE", "/repositories/{*name}", "y", Value::Null, 204),
        ("DELETE", "/repositories/{*name}", "y", Value::Null, 404),
    ] {
        let to = path.replace("{*name}", of).replace("{name}", of).replace("{id}", of);
        let request = harness.api(method.parse().unwrap(), &to);
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path} {of}");
        let path = in_api(path);
        judge(&document, (&method.to_lowercase(), &path), response).await;
        judged.insert((method.to_owned(), path));
    }
    let sent = harness.api(Method::POST, "/files?name=a.txt").body("content").send().await.unwrap();
    assert_eq!(sent.status(), 201);
    judge(&document, ("post", "/api/v1/files"), sent).await;
    let routes = server::routes().into_iter().filter(|route| route.method != "GET");
    let changes: std::collections::BTreeSet<_> = routes.map(|route| (route.method, route.path)).collect();
    assert_eq!(judged, changes, "every call that changes something is judged");
}

/// Whoever is refused a parameter is told which ones there are: those that the document has.
#[tokio::test]
async fn every_call_takes_the_parameters_that_it_is_told_to_take() {
    let harness = Harness::start().await;
    let document = harness.get("/openapi.json").await;
    let mut told = 0;
    for route in server::routes() {
        let method = route.method.to_lowercase();
        let parameters = &document["paths"][route.path.replace("{*", "{")][&method]["parameters"];
        let in_query = parameters.as_array().unwrap().iter().filter(|parameter| parameter["in"] == "query");
        let mut declared: Vec<&str> = in_query.map(|parameter| parameter["name"].as_str().unwrap()).collect();
        declared.sort_unstable();
        let path = route.path.replace("{*file}", "a/b").replace("{*name}", "a").replace("{name}", "a");
        let path = path.trim_start_matches("/api/v1").replace("{id}", "1").replace("{entry}", "1");
        let asked = harness.api(route.method.parse().unwrap(), &format!("{path}?frobnicate=1"));
        let response = asked.send().await.unwrap();
        assert_eq!(response.status(), 400, "{method} {path}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["code"], "invalid_query", "{method} {path}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("frobnicate"), "{method} {path}: {detail}");
        let taken = detail.split_once("expected").map_or("", |(_, names)| names);
        let mut taken: Vec<&str> = taken.split('`').skip(1).step_by(2).collect();
        taken.sort_unstable();
        assert_eq!(declared, taken, "{method} {path}: {detail}");
        told += declared.len();
    }
    assert!(told > 20, "{told}");
}
