//! Who may call what, and what they may know of: every route with every role, in one's own namespace and with things of
//! another one.

use crate::harness::{EXECUTOR, Harness, in_api, job, told};
use crate::source::SourceRepo;
use jobs::Role;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

/// Somebody with a token.
pub(crate) struct Holder {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) namespace: &'static str,
    pub(crate) token: String,
}

impl Holder {
    pub(crate) async fn new(harness: &Harness, role: Role, namespace: &'static str) -> Self {
        let name = format!("{role}-of-{}", namespace.replace(':', "-"));
        let body = json!({"name": name, "role": role, "namespace": namespace});
        let response = harness.api(Method::POST, "/tokens").json(&body).send().await.unwrap();
        assert_eq!(response.status(), 201);
        let created: Value = response.json().await.unwrap();
        Self { name, role, namespace, token: created["token"].as_str().unwrap().to_owned() }
    }

    fn is_everywhere(&self) -> bool {
        self.namespace == "global" && self.role >= Role::Operator
    }

    pub(crate) fn call(&self, harness: &Harness, method: Method, path: &str) -> RequestBuilder {
        harness.client.request(method, harness.url(&in_api(path))).bearer_auth(&self.token)
    }
}

/// What a route is tried with.
enum Probe {
    /// Something that is there but of another namespace, and something that is not there: there must be no difference.
    Foreign { there: String, not_there: String, body: Value },
    /// Nothing of another namespace, and what is answered to who is of one. In the body, `NAME` is the caller's.
    Open { path: String, body: Value, status: u16 },
    /// What nobody of one namespace may do at all.
    Everywhere { path: String, body: Value },
}

struct Row {
    method: &'static str,
    path: &'static str,
    role: Role,
    global: bool,
    probe: Probe,
}

/// Things of `org:acme`, each with a mark in it.
struct Acme {
    job: i64,
    token: i64,
    registration: i64,
    secret: String,
    upload: i64,
}

impl Acme {
    async fn new(harness: &Harness, source: &SourceRepo) -> Self {
        let operator = Holder::new(harness, Role::Operator, "org:acme").await;
        let body = json!({"name": "acme-app", "source": source.path(), "namespace": "org:acme"});
        assert_eq!(told(harness.api(Method::POST, "/repositories").json(&body)).await.0, 201);
        let mut spec = job();
        spec.repo = Some("acme-app".to_owned());
        let submitted = operator.call(harness, Method::POST, "/jobs").json(&spec).send().await.unwrap();
        assert_eq!(submitted.status(), 201);
        let job: Value = submitted.json().await.unwrap();
        let tokens: Value = harness.list("/tokens").await;
        let body = json!({"name": "acme-rack"});
        let made = harness.api(Method::POST, "/registration-tokens").json(&body).send().await.unwrap();
        let made: Value = made.json().await.unwrap();
        let body = json!({"key": "ACME_KEY", "value": "a value", "namespace": "org:acme"});
        let kept = harness.api(Method::POST, "/secrets").json(&body).send().await.unwrap();
        assert_eq!(kept.status(), 201);
        let kept: Value = kept.json().await.unwrap();
        let upload = crate::uploads::upload_one(harness, "acme-app").await;
        let body =
            json!({"name": "acme-ann", "password": "0123456789", "role": "reader", "namespace": "org:acme"});
        assert_eq!(told(harness.api(Method::POST, "/users").json(&body)).await.0, 201);
        Self {
            job: job["id"].as_i64().unwrap(),
            token: tokens[0]["id"].as_i64().unwrap(),
            registration: made["id"].as_i64().unwrap(),
            secret: kept["id"].as_str().unwrap().to_owned(),
            upload,
        }
    }
}

fn rows(acme: &Acme) -> Vec<Row> {
    use Role::{Admin, Operator, Reader, Submitter};
    let row = |method, path, role, global, probe| Row { method, path, role, global, probe };
    let none = || Value::Null;
    let foreign = |path: &str, body| Probe::Foreign {
        there: path.replace("ID", &acme.job.to_string()),
        not_there: path.replace("ID", "987654"),
        body,
    };
    let open = |path: &str, body, status| Probe::Open { path: path.to_owned(), body, status };
    let everywhere = |path: &str, body| Probe::Everywhere { path: path.to_owned(), body };
    let token = Probe::Foreign {
        there: format!("/tokens/{}", acme.token),
        not_there: "/tokens/987654".to_owned(),
        body: none(),
    };
    let repository = Probe::Foreign {
        there: "/repositories/acme-app".to_owned(),
        not_there: "/repositories/none".to_owned(),
        body: none(),
    };
    let upload = |below: &str| Probe::Foreign {
        there: format!("/uploads/{}{below}", acme.upload),
        not_there: format!("/uploads/987654{below}"),
        body: none(),
    };
    let secret = |below: &str| Probe::Foreign {
        there: format!("/secrets/{}{below}", acme.secret),
        not_there: format!("/secrets/00000000000000000000000000{below}"),
        body: none(),
    };
    let new_secret = json!({"key": "not-a-key", "value": "x", "namespace": "user:mallory"});
    let user = |below: &str, body| Probe::Foreign {
        there: format!("/users/acme-ann{below}"),
        not_there: format!("/users/nobody{below}"),
        body,
    };
    let new_user = json!({"name": "of-NAME", "password": "0123456789", "role": "reader"});
    let registration = format!("/registration-tokens/{}", acme.registration);
    let spec = json!({"steps": [{"image": "a", "run": "b"}]});
    let several = json!({"jobs": [{"job": spec, "idempotencyKey": "of-NAME"}, {"job": spec}]});
    let new_token = json!({"name": "of-NAME", "role": "reader"});
    let on_server = json!({"name": "x", "source": "/etc"});
    vec![
        row("POST", "/jobs", Submitter, false, open("/jobs", spec, 201)),
        row("GET", "/jobs", Reader, false, open("/jobs", none(), 200)),
        row("POST", "/jobs/batch", Submitter, false, open("/jobs/batch", several, 201)),
        row("GET", "/jobs/{id}", Reader, false, foreign("/jobs/ID", none())),
        row("GET", "/jobs/{id}/explain", Reader, false, foreign("/jobs/ID/explain", none())),
        row("POST", "/jobs/{id}/cancel", Submitter, false, foreign("/jobs/ID/cancel", none())),
        row("GET", "/jobs/{id}/logs", Reader, false, foreign("/jobs/ID/logs", none())),
        row("GET", "/jobs/{id}/logs/stream", Reader, false, foreign("/jobs/ID/logs/stream", none())),
        row("GET", "/jobs/{id}/logs/{entry}/text", Reader, false, foreign("/jobs/ID/logs/1/text", none())),
        row("GET", "/jobs/{id}/results", Reader, false, foreign("/jobs/ID/results", none())),
        row("GET", "/jobs/{id}/artifacts", Reader, false, foreign("/jobs/ID/artifacts", none())),
        row("GET", "/jobs/{id}/artifacts/{*file}", Reader, false, foreign("/jobs/ID/artifacts/app", none())),
        row("POST", "/files", Submitter, false, open("/files?name=NAME", none(), 201)),
        row("GET", "/repositories", Reader, false, open("/repositories", none(), 200)),
        row("POST", "/repositories", Operator, false, open("/repositories", on_server, 422)),
        row("DELETE", "/repositories/{*name}", Operator, false, repository),
        row("GET", "/queues", Reader, false, open("/queues", none(), 200)),
        row("GET", "/queues/{name}", Reader, false, open("/queues/batches", none(), 200)),
        row(
            "PATCH",
            "/queues/{name}",
            Operator,
            true,
            everywhere("/queues/batches", json!({"maxRunning": 0})),
        ),
        row("GET", "/executors", Reader, true, everywhere("/executors", none())),
        row(
            "PATCH",
            "/executors/{name}",
            Operator,
            true,
            everywhere(&format!("/executors/{EXECUTOR}"), json!({"maintenance": false})),
        ),
        row("GET", "/whoami", Reader, false, open("/whoami", none(), 200)),
        row("GET", "/tokens", Admin, false, open("/tokens", none(), 200)),
        row("POST", "/tokens", Admin, false, open("/tokens", new_token, 201)),
        row("DELETE", "/tokens/{id}", Admin, false, token),
        row("GET", "/registration-tokens", Admin, true, everywhere("/registration-tokens", none())),
        row(
            "POST",
            "/registration-tokens",
            Admin,
            true,
            everywhere("/registration-tokens", json!({"name": "x"})),
        ),
        row("DELETE", "/registration-tokens/{id}", Admin, true, everywhere(&registration, none())),
        row("GET", "/identities", Operator, true, everywhere("/identities", none())),
        row("DELETE", "/identities/{name}", Operator, true, everywhere("/identities/exec-7", none())),
        row("GET", "/audit", Admin, false, open("/audit", none(), 200)),
        row("GET", "/secrets", Reader, false, open("/secrets", none(), 200)),
        row("POST", "/secrets", Submitter, false, open("/secrets", new_secret.clone(), 422)),
        row("PUT", "/secrets", Submitter, false, open("/secrets", new_secret, 422)),
        row("GET", "/secrets/{id}", Reader, false, secret("")),
        row("DELETE", "/secrets/{id}", Submitter, false, secret("")),
        row("GET", "/secrets/{id}/access", Reader, false, secret("/access")),
        row("GET", "/uploads", Reader, false, open("/uploads", none(), 200)),
        row("GET", "/uploads/{id}", Reader, false, upload("")),
        row("GET", "/uploads/{id}/content", Reader, false, upload("/content")),
        row("GET", "/users", Admin, false, open("/users", none(), 200)),
        row("POST", "/users", Admin, false, open("/users", new_user, 201)),
        row("DELETE", "/users/{name}", Admin, false, user("", none())),
        row(
            "PUT",
            "/users/{name}/password",
            Admin,
            false,
            user("/password", json!({"password": "0123456789"})),
        ),
        row("GET", "/version", Reader, false, open("/version", none(), 200)),
        row("GET", "/openapi.json", Reader, false, open("/openapi.json", none(), 200)),
        row("GET", "/metrics", Reader, true, everywhere("/metrics", none())),
        row("GET", "/metrics/queues", Reader, false, open("/metrics/queues", none(), 200)),
    ]
}

#[tokio::test]
async fn every_route_is_held_to_roles_and_namespaces() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    let acme = Acme::new(&harness, &source).await;
    let rows = rows(&acme);
    let served: Vec<(String, String)> =
        server::routes().into_iter().map(|route| (route.method, route.path)).collect();
    let tried: Vec<_> = rows.iter().map(|row| (row.method.to_owned(), in_api(row.path))).collect();
    assert_eq!(tried, served, "a route that is served must be tried here, in the same order");

    let mut holders = Vec::new();
    for role in Role::ALL {
        holders.push(Holder::new(&harness, role, "user:mallory").await);
    }
    for role in Role::ALL {
        holders.push(Holder::new(&harness, role, "global").await);
    }
    for row in &rows {
        for holder in &holders {
            try_row(&harness, row, holder).await;
        }
        let (Probe::Open { path, .. } | Probe::Everywhere { path, .. } | Probe::Foreign { there: path, .. }) =
            &row.probe;
        let anybody = harness.client.request(method(row), harness.url(&in_api(path)));
        assert_eq!(told(anybody).await.0, 401, "{} {path}", row.method);
    }
}

fn method(row: &Row) -> Method {
    row.method.parse().unwrap()
}

async fn try_row(harness: &Harness, row: &Row, holder: &Holder) {
    let what = format!("{} {} as {}", row.method, row.path, holder.name);
    let answer = async |path: &str, body: &Value| {
        let mut request = holder.call(harness, method(row), &path.replace("NAME", &holder.name));
        if !body.is_null() {
            let body: Value = serde_json::from_str(&body.to_string().replace("NAME", &holder.name)).unwrap();
            request = request.json(&body);
        }
        told(request).await
    };
    let may = holder.role >= row.role && (!row.global || holder.namespace == "global");
    let (path, body) = match &row.probe {
        Probe::Open { path, body, .. } | Probe::Everywhere { path, body } => (path, body),
        Probe::Foreign { there, body, .. } => (there, body),
    };
    if row.path.ends_with("/stream") && holder.is_everywhere() {
        // It ends with its job.
        return;
    }
    let (status, answered) = answer(path, body).await;
    if !may {
        assert_eq!(status, 403, "{what}: {answered}");
        assert!(answered.contains(r#""forbidden""#) && !answered.contains("acme"), "{what}: {answered}");
        return;
    }
    if row.path.starts_with("/secrets") && row.method != "GET" && holder.namespace == "global" {
        // Of what a namespace keeps secret, others' jobs get nothing, and nobody but an admin of all changes it.
        let there_for_it = row.method != "DELETE" || holder.is_everywhere();
        let expected = if holder.role == Role::Admin {
            [204, 404, 422]
        } else if there_for_it {
            [403; 3]
        } else {
            [404; 3]
        };
        assert!(expected.contains(&status), "{what}: {status} {answered}");
        return;
    }
    if holder.is_everywhere() {
        assert!(![401, 403].contains(&status), "{what}: {status} {answered}");
        return;
    }
    match &row.probe {
        Probe::Foreign { there, not_there, body } => {
            assert_eq!(status, 404, "{what}: {answered}");
            let of_nothing = answer(not_there, body).await.1;
            let name = |path: &str| path.split('/').nth(2).unwrap().to_owned();
            assert_eq!(answered.replace(&name(there), &name(not_there)), of_nothing, "{what}");
        }
        Probe::Open { status: expected, .. } => {
            assert_eq!(status, *expected, "{what}: {answered}");
            assert!(!answered.contains("acme"), "{what}: {answered}");
        }
        Probe::Everywhere { .. } => {
            assert!(status < 300, "{what}: {status} {answered}");
        }
    }
}

#[tokio::test]
async fn a_job_uses_only_what_is_of_its_namespace() {
    let harness = Harness::start().await;
    let source = SourceRepo::new();
    Acme::new(&harness, &source).await;
    harness.add_repository("shared", &source.path()).await;
    let acme = Holder::new(&harness, Role::Submitter, "org:acme").await;
    let mallory = Holder::new(&harness, Role::Submitter, "user:mallory").await;
    let upload = acme.call(&harness, Method::POST, "/files?name=f").body("text").send().await.unwrap();
    let file: Value = upload.json().await.unwrap();
    let with_file =
        json!({"steps": [{"image": "a", "run": "b"}], "files": [{"path": "f", "upload": file["id"]}]});
    let with_repo = |name: &str| json!({"steps": [{"image": "a", "run": "b"}], "repo": name});
    let submit = async |holder: &Holder, spec: &Value| {
        told(holder.call(&harness, Method::POST, "/jobs").json(spec)).await
    };
    assert_eq!(submit(&acme, &with_file).await.0, 201);
    assert_eq!(submit(&acme, &with_repo("acme-app")).await.0, 201);
    for (holder, spec, code) in [
        (&mallory, with_file, "unknown_file"),
        (&mallory, with_repo("acme-app"), "unknown_repository"),
        (&mallory, with_repo("shared"), "unknown_repository"),
        (&acme, with_repo("shared"), "unknown_repository"),
    ] {
        let (status, answered) = submit(holder, &spec).await;
        assert_eq!(status, 422, "{answered}");
        assert!(answered.contains(code), "{answered}");
    }
    let listed = told(acme.call(&harness, Method::GET, "/jobs")).await.1;
    assert!(listed.contains(r#""namespace":"org:acme""#), "{listed}");
    let foreign = told(mallory.call(&harness, Method::GET, "/jobs?namespace=org:acme")).await;
    assert_eq!(foreign.0, 403, "{}", foreign.1);
    let of_acme = harness.get("/jobs?namespace=org:acme").await;
    assert_eq!(of_acme["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_job_token_opens_its_own_namespaces_repository_of_that_name() {
    let harness = Harness::start().await;
    let (acmes, globals) = (SourceRepo::new(), SourceRepo::new());
    let acmes_head = acmes.git(&["rev-parse", "HEAD"]);
    let globals_head = globals.commit("of-global", "x\n");
    let body = json!({"name": "app", "source": acmes.path(), "namespace": "org:acme"});
    assert_eq!(told(harness.api(Method::POST, "/repositories").json(&body)).await.0, 201);
    harness.add_repository("app", &globals.path()).await;
    let acme = Holder::new(&harness, Role::Submitter, "org:acme").await;
    let mut spec = job();
    spec.repo = Some("app".to_owned());
    assert_eq!(told(acme.call(&harness, Method::POST, "/jobs").json(&spec)).await.0, 201);
    let job = harness.dequeue("batches").await.unwrap();
    let refs = "/.executors/git/app/info/refs?service=git-upload-pack";
    let (status, advertised) = told(harness.with_job_token(Method::GET, &job, refs)).await;
    assert_eq!(status, 200, "{advertised}");
    assert!(advertised.contains(&acmes_head) && !advertised.contains(&globals_head), "{advertised}");
}
