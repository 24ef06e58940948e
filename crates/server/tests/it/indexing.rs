//! Jobs that make an index: what executors are given for them, and what the index is uploaded with.

use crate::access::Holder;
use crate::harness::{EXECUTOR, Harness, problem, told};
use crate::source::SourceRepo;
use crate::uploads::{COMMIT, packed};
use jobs::Role;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

pub(crate) const REPOSITORY: &str = "github.com/acme/app";
const SECRET: &str = "a-shared-secret-of-executors";
const UPLOAD: &str = "/.executors/lsif/upload";

/// A server with a repository, and `more` in its site configuration.
async fn server(more: &Value) -> (Harness, SourceRepo) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site-config.jsonc");
    let mut site = json!({"executors.accessToken": SECRET});
    site.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    std::fs::write(&file, site.to_string()).unwrap();
    let harness = Harness::start_in(dir, |config| config.site_config = Some(file)).await;
    let source = SourceRepo::new();
    harness.add_repository(REPOSITORY, &source.path()).await;
    (harness, source)
}

fn small() -> Value {
    json!({"indexer": "sourcegraph/scip-go", "indexerArgs": ["scip-go"]})
}

/// Submits a job that makes an index of [`REPOSITORY`]; its id.
pub(crate) async fn submit(harness: &Harness, index: Value) -> i64 {
    let mut body = json!({"queue": "codeintel", "repo": REPOSITORY});
    body["index"] = index;
    let (status, text) = told(harness.api(Method::POST, "/jobs").json(&body)).await;
    assert_eq!(status, 201, "{text}");
    serde_json::from_str::<Value>(&text).unwrap()["id"].as_i64().unwrap()
}

/// The answer to a stock executor that says so much of itself besides.
async fn dequeued(harness: &Harness, more: &Value) -> Value {
    answered(harness.executor("/.executors/queue/codeintel/dequeue"), more).await
}

async fn answered(request: RequestBuilder, more: &Value) -> Value {
    let mut body = json!({"executorName": EXECUTOR, "version": "5.2.0"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, text) = told(request.json(&body)).await;
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn header(job: &Value) -> String {
    let steps = job["dockerSteps"].as_array().unwrap();
    let env = steps.last().unwrap()["env"].as_array().unwrap();
    let variable =
        env.iter().filter_map(Value::as_str).find_map(|text| text.strip_prefix("SRC_HEADER_AUTHORIZATION="));
    variable.unwrap().to_owned()
}

#[tokio::test]
async fn the_whole_answer_for_an_index_is_the_documented_one() {
    let (harness, source) = server(&json!({"executors.frontendURL": "https://ci.example.com/"})).await;
    let set = json!({"key": "NPM_TOKEN", "value": "hunter2-hunter2", "scope": "codeintel"});
    assert_eq!(told(harness.api(Method::POST, "/secrets").json(&set)).await.0, 201);
    let login = json!({"key": "DOCKER_AUTH_CONFIG", "scope": "codeintel", "value": r#"{"auths":{"ghcr.io":{"auth":"dTpwYXNzd29yZA=="}}}"#});
    assert_eq!(told(harness.api(Method::POST, "/secrets").json(&login)).await.0, 201);
    let id = submit(
        &harness,
        json!({
            "dockerSteps": [
                {"root": "web", "image": "node:20", "commands": ["npm ci", "npm run gen"]},
                {"image": "alpine:3", "commands": ["true"]},
            ],
            "localSteps": ["go mod download"], "root": "cmd/x", "indexer": "sourcegraph/lsif-go:v1.9",
            "indexerArgs": ["lsif-go", "--name", "a b"], "outfile": "out.scip", "requestedEnvVars": ["NPM_TOKEN"],
        }),
    )
    .await;
    let mut job = dequeued(&harness, &json!({"numCPUs": 4, "memory": "12G", "diskSpace": "20G"})).await;
    assert_eq!(job["token"].take().as_str().map(str::len), Some(40));
    // Executors that look for nothing but what they are told are told other forms of secrets besides.
    let redacted = job["redactedValues"].take();
    for (text, shown) in [
        (format!("token-executor {SECRET}"), "token-executor REDACTED"),
        (SECRET.to_owned(), "PASSWORD_REMOVED"),
        ("hunter2-hunter2".to_owned(), "${{ secrets.NPM_TOKEN }}"),
    ] {
        assert_eq!(redacted[&text], shown, "{redacted}");
    }
    let commit = source.git(&["rev-parse", "HEAD"]);
    let env = json!([
        "VM_CPUS=4",
        "VM_MEM=12.0 GB",
        "VM_MEM_GB=12",
        "VM_MEM_MB=12288",
        "VM_DISK=20.0 GB",
        "VM_DISK_GB=20",
        "VM_DISK_MB=20480",
        "NPM_TOKEN=hunter2-hunter2"
    ]);
    let upload = format!(
        "src code-intel upload -no-progress -repo {REPOSITORY} -commit {commit} -root cmd/x -upload-route {UPLOAD} \
         -file out.scip -associated-index-id {id}"
    );
    let expected = json!({
        "version": 2, "id": id, "token": null, "repositoryName": REPOSITORY, "repositoryDirectory": "",
        "commit": commit, "fetchTags": true, "shallowClone": true, "sparseCheckout": null, "files": {},
        "dockerSteps": [
            {"key": "pre-index.0", "image": "node:20", "commands": ["npm ci", "npm run gen"], "dir": "web", "env": env},
            {"key": "pre-index.1", "image": "alpine:3", "commands": ["true"], "dir": "", "env": env},
            {"key": "indexer", "image": "sourcegraph/lsif-go:v1.9",
             "commands": ["go mod download", "lsif-go --name 'a b'"], "dir": "cmd/x", "env": env},
            {"key": "upload", "image": "sourcegraph/src-cli:5.5.0", "commands": [upload], "dir": "cmd/x",
             "env": ["SRC_ENDPOINT=https://ci.example.com",
                     format!("SRC_HEADER_AUTHORIZATION=token-executor {SECRET}")]},
        ],
        "cliSteps": null, "redactedValues": null,
        "dockerAuthConfig": {"auths": {"ghcr.io": {"auth": "dTpwYXNzd29yZA=="}}},
    });
    assert_eq!(job, expected);
    // People see the steps before any has run.
    let shown = harness.get(&format!("/jobs/{id}")).await;
    let keys: Vec<_> = shown["steps"].as_array().unwrap().iter().map(|step| &step["key"]).collect();
    assert_eq!(keys, ["pre-index.0", "pre-index.1", "indexer", "upload"]);
    assert_eq!(shown["steps"][3]["image"], "sourcegraph/src-cli:5.5.0");
}

#[tokio::test]
async fn what_is_not_said_has_the_documented_default_and_the_site_configuration_counts() {
    let (harness, source) = server(&json!({
        "executors.srcCLIImage": "mirror:5000/src", "executors.srcCLIImageTag": "6.1.0", "executors.lsifGoImage": "mirror:5000/go"
    }))
    .await;
    let commit = source.git(&["rev-parse", "HEAD"]);
    for (said, told) in [
        (
            json!({}),
            "VM_MEM=12.0 GB,VM_MEM_GB=12,VM_MEM_MB=12288,VM_DISK=20.0 GB,VM_DISK_GB=20,VM_DISK_MB=20480",
        ),
        (json!({"numCPUs": 0, "memory": "0", "diskSpace": "much"}), ""),
        (
            json!({"numCPUs": 2, "memory": "512M", "diskSpace": "0"}),
            "VM_CPUS=2,VM_MEM=512.0 MB,VM_MEM_GB=0,VM_MEM_MB=512",
        ),
        (json!({"memory": "0", "diskSpace": "1T"}), "VM_DISK=1024.0 GB,VM_DISK_GB=1024,VM_DISK_MB=1048576"),
    ] {
        let id = submit(&harness, small()).await;
        let job = dequeued(&harness, &said).await;
        let expected: Vec<&str> = told.split(',').filter(|text| !text.is_empty()).collect();
        let upload = format!(
            "src code-intel upload -no-progress -repo {REPOSITORY} -commit {commit} -root . -upload-route {UPLOAD} -file \
             dump.lsif -associated-index-id {id}"
        );
        let steps = json!([
            {"key": "indexer", "image": "sourcegraph/scip-go", "commands": ["scip-go"], "dir": "", "env": expected},
            {"key": "upload", "image": "mirror:5000/src:6.1.0", "commands": [upload], "dir": "",
             "env": [format!("SRC_ENDPOINT={}", harness.url("")),
                     format!("SRC_HEADER_AUTHORIZATION=token-executor {SECRET}")]},
        ]);
        assert_eq!((&job["dockerSteps"], &job["fetchTags"]), (&steps, &json!(false)), "{said}");
    }
    submit(&harness, json!({"indexer": "mirror:5000/go:1", "localSteps": ["x"]})).await;
    assert_eq!(dequeued(&harness, &json!({})).await["fetchTags"], true);
    // Without an indexer there are the steps before it, and the upload.
    submit(&harness, json!({"dockerSteps": [{"image": "a", "commands": ["make index"]}]})).await;
    let job = dequeued(&harness, &json!({"version": ""})).await;
    let keys: Vec<_> = job["dockerSteps"].as_array().unwrap().iter().map(|step| &step["key"]).collect();
    assert_eq!((keys, job.get("version")), (vec![&json!("pre-index.0"), &json!("upload")], None));
}

#[tokio::test]
async fn an_index_that_can_not_be_made_is_refused() {
    let (harness, _source) = server(&json!({})).await;
    for (body, code, part) in [
        (json!({"queue": "batches", "repo": REPOSITORY, "index": small()}), "invalid_job", "queue codeintel"),
        (json!({"queue": "codeintel", "index": small()}), "invalid_job", "no repository"),
        (json!({"queue": "codeintel", "repo": REPOSITORY, "index": {}}), "invalid_job", "runs nothing"),
        (
            json!({"queue": "codeintel", "repo": REPOSITORY, "index": {"indxer": "x"}}),
            "invalid_job",
            "indxer",
        ),
        (
            json!({"queue": "codeintel", "repo": REPOSITORY, "index": {"indexer": "a", "localSteps": ["x"], "requestedEnvVars": ["NONE"]}}),
            "unknown_secret",
            "no secret NONE is kept for codeintel jobs",
        ),
        (json!({"queue": "codeintel", "repo": REPOSITORY}), "invalid_job", "no steps"),
    ] {
        let (status, told, detail) = problem(harness.api(Method::POST, "/jobs").json(&body)).await;
        assert_eq!((status, told.as_str()), (422, code), "{detail}");
        assert!(detail.contains(part), "{detail}");
    }
}

/// Who may not be given the secret of all executors uploads with the job's own token, and that opens nothing else.
#[tokio::test]
async fn the_shared_secret_is_given_only_to_whom_it_is_documented_for() {
    let (harness, _source) = server(&json!({})).await;
    let path = "/.executors/queue/codeintel/dequeue";
    let bearer = |job: &Value| format!("Bearer {}", job["token"].as_str().unwrap());

    submit(&harness, small()).await;
    let ours = answered(harness.executor(path).header("Prefer", "lease-term"), &json!({})).await;
    assert_eq!(header(&ours), bearer(&ours));
    assert!(!ours.to_string().contains(SECRET));
    assert_eq!(ours["redactedValues"][header(&ours)], "Bearer REDACTED");

    // One with an identity of its own has never known the secret.
    let body = json!({"name": "rack-7", "uses": 1});
    let invitation: Value = harness
        .api(Method::POST, "/registration-tokens")
        .json(&body)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let identity = format!("executor_id_{}", hex::encode([7; 32]));
    let shown = |path: &str, secret: &str| {
        harness.client.post(harness.url(path)).header("Authorization", format!("token-executor {secret}"))
    };
    let register = shown("/.executors/register", invitation["token"].as_str().unwrap());
    assert_eq!(told(register.json(&json!({"executorName": "e-7", "identity": identity}))).await.0, 204);
    submit(&harness, small()).await;
    let named = answered(shown(path, &identity), &json!({"executorName": "e-7"})).await;
    assert_eq!(header(&named), bearer(&named));
    assert!(!named.to_string().contains(SECRET) && !named.to_string().contains(&identity));

    // A tenant's job could send it anywhere, and with it go to the other tenants' jobs.
    let tenant = Holder::new(&harness, Role::Admin, "org:acme").await;
    let source = SourceRepo::new();
    let added = json!({"name": "theirs", "source": source.path(), "namespace": "org:acme"});
    assert_eq!(told(harness.api(Method::POST, "/repositories").json(&added)).await.0, 201);
    let body = json!({"queue": "codeintel", "repo": "theirs", "index": small()});
    assert_eq!(told(tenant.call(&harness, Method::POST, "/jobs").json(&body)).await.0, 201);
    let theirs = dequeued(&harness, &json!({})).await;
    assert_eq!(header(&theirs), bearer(&theirs));
    assert!(!theirs.to_string().contains(SECRET));
}

#[tokio::test]
async fn a_jobs_token_uploads_that_jobs_index_and_nothing_else() {
    let (harness, _source) = server(&json!({})).await;
    harness.add_repository("other", &SourceRepo::new().path()).await;
    let mut jobs = Vec::new();
    for _ in 0..2 {
        submit(&harness, small()).await;
        let request = harness.executor("/.executors/queue/codeintel/dequeue").header("Prefer", "lease-term");
        jobs.push(answered(request, &json!({})).await);
    }
    let (job, next) = (&jobs[0], &jobs[1]);
    let commit = job["commit"].as_str().unwrap();
    let call = |of: &Value, query: &str| {
        let request = harness.client.post(harness.url(&format!("{UPLOAD}?{query}")));
        told(request.header("Authorization", header(of)).body(packed(b"an index")))
    };
    let own = format!("repository={REPOSITORY}&commit={commit}");
    for (query, part) in [
        (format!("repository=other&commit={commit}"), "repository"),
        (format!("repository={REPOSITORY}&commit={COMMIT}"), "commit"),
        (format!("{own}&root=beside"), "root"),
        (format!("{own}&root=beside&multiPart=true&numParts=1"), "root"),
        (format!("{own}&associatedIndexId={}", next["id"]), "id"),
        (format!("{own}&associatedIndexId={}&multiPart=true&numParts=1", next["id"]), "id"),
    ] {
        let (status, text) = call(job, &query).await;
        assert_eq!((status, text.contains(part)), (403, true), "{query}: {text}");
    }
    // Whose index it is need not be said.
    let (status, text) = call(job, &own).await;
    assert_eq!(status, 202, "{text}");
    let id: Value = serde_json::from_str(&text).unwrap();
    let shown = harness.get(&format!("/uploads/{}", id["id"].as_str().unwrap())).await;
    assert_eq!((&shown["associatedIndexId"], &shown["repository"]), (&job["id"], &json!(REPOSITORY)));

    let (status, text) = call(job, &format!("{own}&multiPart=true&numParts=1")).await;
    assert_eq!(status, 202, "{text}");
    let id: Value = serde_json::from_str(&text).unwrap();
    let id = id["id"].as_str().unwrap();
    for query in [format!("uploadId={id}&index=0"), format!("uploadId={id}&done=true")] {
        assert_eq!(call(next, &query).await.0, 404, "another job's: {query}");
        assert_eq!(call(job, &query).await.0, 204, "{query}");
    }
    // One is to be made; a few more may come of tries.
    let mut taken = 2;
    let refused = loop {
        let (status, text) = call(job, &own).await;
        if status != 202 {
            break (status, text);
        }
        taken += 1;
    };
    assert_eq!((refused.0, taken), (403, 20), "{}", refused.1);
    assert!(refused.1.contains("20 indexes by its token"), "{}", refused.1);
    assert_eq!(call(next, &own).await.0, 202, "another job's own");
    let done = json!({"executorName": EXECUTOR, "jobId": job["id"]});
    let mark = harness.executor("/.executors/queue/codeintel/markComplete").json(&done);
    assert_eq!(told(mark).await.0, 204);
    assert_eq!(call(job, &own).await.0, 401, "its token has died with the job");
}
