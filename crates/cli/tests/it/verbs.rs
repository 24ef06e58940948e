//! The client's verbs, as people and as programs use them.

mod json;

use crate::support::{System, http, system, text, told};
use serde_json::Value;
use std::process::{Command, Output};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const INDEX: &str = "an index of code";
const PASSWORD: &str = "correct horse battery";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|fault| panic!("{fault}: {text}"))
}

/// Runs what waits for answers.
fn wait_for<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

/// Uploads an index as job 7 does; its number and its bytes.
fn upload(system: &System, repository: &str) -> (String, Vec<u8>) {
    let mut gzip = Command::new("gzip");
    gzip.args(["--no-name", "--stdout"]);
    let packed = told(gzip, INDEX).stdout;
    let about = format!(
        "repository={repository}&commit={COMMIT}&root=sub%2F&indexerName=scip-go&indexerVersion=1&associatedIndexId=7"
    );
    let body = packed.clone();
    let sent = async {
        let request = http()
            .post(format!("{}/.executors/scip/upload?{about}", system.url()))
            .header("Authorization", format!("token-executor {}", system.shared_secret()))
            .header("Content-Type", wire::upload::SCIP);
        let response = request.body(body).send().await.unwrap();
        assert_eq!(response.status(), 202, "{}", response.text().await.unwrap());
        response.json::<Value>().await.unwrap()["id"].as_str().unwrap().to_owned()
    };
    (wait_for(sent), packed)
}

/// Whether somebody gets into the pages with this password.
fn gets_in(system: &System, name: &str, password: &str) -> bool {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let sent = async {
        // The TLS implementation of this process is chosen there.
        let _ = http();
        let request = client.build().unwrap().post(format!("{}/sign-in", system.url()));
        let request = request
            .header("Origin", system.url())
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(format!("name={name}&password={}", password.replace(' ', "+")));
        request.send().await.unwrap()
    };
    let response = wait_for(sent);
    let welcome = response.headers().contains_key("set-cookie");
    assert_eq!(welcome, response.status().is_redirection(), "{response:?}");
    welcome
}

#[test]
fn people_are_let_in_get_another_password_and_are_let_in_no_longer() {
    let test = "people_are_let_in_get_another_password_and_are_let_in_no_longer";
    let Some(system) = system(test) else { return };
    let user = |args: &[&str], input: &str| told(system.executor(&[&["user"], args].concat()), input);
    let said = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let create = ["create", "ann", "--role", "operator", "--namespace", "org:acme"];
    let short = user(&create, "short\n");
    assert!(short.status.code() == Some(2) && text(&short).contains("at least"), "{}", text(&short));
    assert!(system.ok(&["user", "list"]).starts_with("nobody yet"), "nothing was done");
    let made = user(&create, &format!("{PASSWORD}\nwhat comes after is none of it\n"));
    assert_eq!(said(&made), "ann can sign in now: operator of org:acme\n", "{}", text(&made));
    let twice = user(&create, PASSWORD);
    assert!(twice.status.code() == Some(2) && text(&twice).contains("ann"), "{}", text(&twice));
    let listed = system.ok(&["user", "list"]);
    for part in ["ann", "operator", "org:acme", "root", "never"] {
        assert!(listed.contains(part), "{part} in {listed}");
    }
    assert!(gets_in(&system, "ann", PASSWORD));

    let set = user(&["password", "ann"], "another horse battery\n");
    assert_eq!(said(&set), "ann has another password; their sessions have ended\n", "{}", text(&set));
    assert!(!gets_in(&system, "ann", PASSWORD) && gets_in(&system, "ann", "another horse battery"));
    let nobody = user(&["password", "bob"], PASSWORD);
    assert!(nobody.status.code() == Some(2) && text(&nobody).contains("bob"), "{}", text(&nobody));

    assert_eq!(system.ok(&["user", "remove", "ann"]), "ann can sign in no longer\n");
    assert!(!gets_in(&system, "ann", "another horse battery"));
    assert!(system.refused(&["user", "remove", "ann"]).contains("ann"));
    let audit = system.ok(&["audit"]);
    for part in ["user.create", "user.password", "user.delete"] {
        assert!(audit.contains(part) && !audit.contains("horse"), "{part} in {audit}");
    }
}

#[test]
fn an_invitation_that_is_revoked_lets_no_agent_in() {
    let Some(mut system) = system("an_invitation_that_is_revoked_lets_no_agent_in") else { return };
    assert!(system.ok(&["agent", "invite", "list"]).starts_with("no registration tokens"));
    let made = json(&system.ok(&["agent", "invite", "create", "rack-7", "--uses", "3", "--json"]));
    system.ok(&["agent", "invite", "create", "rack-8"]);
    let token = made["token"].as_str().unwrap();
    let listed = system.ok(&["agent", "invite", "list"]);
    for part in ["rack-7", "0 of 3", "rack-8", "0 of 1", "in "] {
        assert!(listed.contains(part) && !listed.contains(token), "{part} in {listed}");
    }
    let number = made["id"].to_string();
    assert_eq!(
        system.ok(&["agent", "invite", "revoke", &number]),
        format!("revoked registration token {number}\n")
    );
    let listed = system.ok(&["agent", "invite", "list"]);
    assert!(!listed.contains("rack-7") && listed.contains("rack-8"), "{listed}");
    assert!(system.refused(&["agent", "invite", "revoke", &number]).contains(&number));
    let mut agent = system.agent_command();
    agent.env_remove("EXECUTOR_FRONTEND_PASSWORD").env("EXECUTOR_REGISTRATION_TOKEN", token);
    let refused = agent.output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused));
    assert!(system.ok(&["agent", "identities"]).starts_with("no agent has an identity"));
}

#[test]
fn one_thing_is_shown_and_one_submission_is_one_job() {
    let Some(system) = system("one_thing_is_shown_and_one_submission_is_one_job") else { return };
    let status = system.ok(&["server", "status"]);
    let version = format!("answers, and is version {}\n", env!("CARGO_PKG_VERSION"));
    assert!(status.contains(&system.url()) && status.ends_with(&version), "{status}");
    let queue = system.ok(&["queue", "show", "batches"]);
    for part in ["queue ", "batches", "open", "waiting", "0 within an hour of those that ran"] {
        assert!(queue.contains(part), "{part} in {queue}");
    }
    assert!(system.refused(&["queue", "show", "bulk"]).contains("bulk"));
    let set = told(system.executor(&["secret", "set", "KEPT"]), "a value of some length\n");
    assert!(set.status.success(), "{}", text(&set));
    let shown = system.ok(&["secret", "show", "KEPT"]);
    let id = shown.lines().find_map(|line| line.strip_prefix("id ")).unwrap().trim().to_owned();
    assert_eq!(system.ok(&["secret", "show", &id]), shown);
    assert!(shown.contains("root") && !shown.contains("a value"), "{shown}");
    assert!(system.refused(&["secret", "show", "OTHER"]).contains("there is no secret OTHER"));

    let run = |key: &str, script: &str| {
        let args = [
            "job",
            "run",
            "--detach",
            "--retries",
            "2",
            "--idempotency-key",
            key,
            "--image",
            "busybox",
            "--step",
        ];
        told(system.executor(&[&args[..], &[script]].concat()), "")
    };
    let id = |output: &Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let (first, again) = (run("k1", "true"), run("k1", "true"));
    assert!(!id(&first).is_empty() && id(&first) == id(&again), "{}", text(&again));
    assert_ne!(id(&run("k2", "true")), id(&first));
    let other = run("k1", "false");
    assert!(other.status.code() == Some(2) && text(&other).contains("k1"), "{}", text(&other));
    assert_eq!(run("a b", "true").status.code(), Some(2));
    let later = [
        "job",
        "run",
        "--detach",
        "--delay",
        "1h",
        "--idempotency-key",
        "k3",
        "--image",
        "busybox",
        "--",
        "true",
    ];
    assert_eq!(system.ok(&later), system.ok(&later), "a delay is the same an instant later");
    let job = system.ok(&["job", "show", &id(&first)]);
    assert!(job.contains("0 of 2 used"), "{job}");
    assert!(system.ok(&["job", "list", "--executor", "nobody"]).starts_with("no such jobs"));
}

#[test]
fn the_api_is_described_whatever_the_environment_is() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
    command.args(["server", "openapi"]).env_clear().env("EXECUTOR_ALLOCATIONS", "{");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let document = json(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(document["openapi"], "3.1.0");
    let jobs = document["paths"]["/api/v1/jobs"]["get"]["parameters"].as_array().unwrap();
    assert!(jobs.iter().any(|parameter| parameter["name"] == "text"), "{jobs:?}");
}

#[test]
fn an_uploaded_index_is_listed_shown_and_saved() {
    let Some(system) = system("an_uploaded_index_is_listed_shown_and_saved") else { return };
    assert_eq!(system.ok(&["upload", "list"]), "nothing was uploaded yet\n");
    let (path, _) = system.git_repository();
    system.ok(&["repo", "add", "app", &path]);
    let (first, packed) = upload(&system, "app");
    let (second, _) = upload(&system, "app");

    let page = system.ok(&["upload", "list", "--repo", "app", "--limit", "1"]);
    for part in ["app", &COMMIT[..12], "sub/", "scip", "scip-go 1"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    let next = page.lines().last().unwrap().strip_prefix("there is more: --before ").unwrap();
    assert_eq!(next, second);
    let rest = json(&system.ok(&["upload", "list", "--before", next, "--json"]));
    assert_eq!((rest["items"][0]["id"].to_string(), &rest["nextCursor"]), (first.clone(), &Value::Null));
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);

    let of_a_job = |job: &str| system.ok(&["upload", "list", "--job", job]);
    assert_eq!(of_a_job("987654"), "no such uploads\n");
    assert!(of_a_job("7").contains("scip-go 1") && of_a_job("7").lines().count() == 3, "{}", of_a_job("7"));

    let shown = system.ok(&["upload", "show", &first]);
    for part in ["repository  app", COMMIT, "root        sub/", "kind        scip", "indexer     scip-go 1"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(system.refused(&["upload", "show", "987654"]).contains("987654"));

    let file = system.dir.path().join("saved.gz");
    let at = file.to_str().unwrap();
    let saved = system.ok(&["upload", "download", &first, "-o", at]);
    assert_eq!(saved, format!("{at}: {} B\n", packed.len()));
    assert_eq!(std::fs::read(&file).unwrap(), packed);
    assert!(system.refused(&["upload", "download", &first, "-o", at]).contains("is there already"));
    let saved = json(&system.ok(&["upload", "download", &first, "-o", at, "--force", "--json"]));
    assert_eq!((saved["file"].as_str(), saved["size"].as_u64()), (Some(at), Some(packed.len() as u64)));
}

#[test]
fn many_jobs_are_submitted_from_a_file_and_none_twice() {
    let Some(system) = system("many_jobs_are_submitted_from_a_file_and_none_twice") else { return };
    let file = system.dir.path().join("jobs.ndjson");
    let at = file.to_str().unwrap();
    let line = r#"{"steps": [{"image": "busybox", "run": "true"}]}"#;
    std::fs::write(&file, format!("{line}\n").repeat(1_500)).unwrap();
    let ids = system.ok(&["job", "submit", at, "--idempotency-key", "k"]);
    assert_eq!(ids.lines().count(), 1_500);
    assert_eq!(system.ok(&["job", "submit", at, "--idempotency-key", "k"]), ids);
    assert_eq!(system.show(ids.lines().last().unwrap())["state"], "queued");
    let piped = told(system.executor(&["job", "submit", "-"]), line);
    let id = String::from_utf8_lossy(&piped.stdout).trim().to_owned();
    assert!(!ids.lines().any(|other| other == id) && system.newest()["id"] == json(&id), "{id}");

    // Beyond the first call: what was submitted stays, and the command can be said again.
    let of_no_repository = r#"{"steps": [{"image": "busybox", "run": "true"}], "repo": "none"}"#;
    let many = format!("{line}\n").repeat(1_200);
    std::fs::write(&file, format!("{many}{of_no_repository}\n")).unwrap();
    let refused = system.refused(&["job", "submit", at, "--idempotency-key", "k2"]);
    for part in ["line 1201", "none", "before 1001", "--idempotency-key k2"] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    std::fs::write(&file, format!("{many}{{\n")).unwrap();
    let newest = system.newest()["id"].to_string();
    assert!(system.refused(&["job", "submit", at]).contains("line 1201: EOF"));
    assert_eq!(system.newest()["id"].to_string(), newest, "nothing was submitted");
    assert!(system.refused(&["job", "submit", "nowhere"]).contains("nowhere"));
    std::fs::write(&file, format!("{many}{line}\n")).unwrap();
    assert_eq!(system.ok(&["job", "submit", at, "--idempotency-key", "k2"]).lines().count(), 1_201);
}

#[test]
fn lists_are_read_page_by_page_and_jobs_found_by_a_text() {
    let Some(mut system) = system("lists_are_read_page_by_page_and_jobs_found_by_a_text") else { return };
    let ids = ["true", "true", "true"].map(|script| system.submit(script));
    for id in [&ids[0], &ids[2]] {
        system.ok(&["job", "cancel", id]);
    }
    let found = |text: &str| -> Vec<String> {
        let found = json(&system.ok(&["job", "list", "--text", text, "--json"]));
        found["items"].as_array().unwrap().iter().map(|job| job["id"].to_string()).collect()
    };
    assert_eq!(found("Canceled"), [ids[2].clone(), ids[0].clone()]);
    assert_eq!(found("nowhere"), [""; 0]);
    assert_eq!(system.ok(&["job", "list", "--text", "nowhere & such"]), "no such jobs\n");
    let page = system.ok(&["job", "list", "--limit", "2"]);
    let next = page.lines().last().unwrap().strip_prefix("there is more: --before ").unwrap();
    assert_eq!(next, ids[1]);
    let page = json(&system.ok(&["job", "list", "--limit", "2", "--json"]));
    assert_eq!(page["nextCursor"], *next, "programs go on as people do");
    let rest = system.ok(&["job", "list", "--limit", "2", "--before", next]);
    assert!(rest.lines().count() == 2 && !rest.contains("there is more"), "{rest}");

    let _agent = system.agent();
    told(system.executor(&["secret", "set", "KEPT"]), "a value of some length\n");
    let mut jobs = Vec::new();
    for _ in 0..3 {
        let run = ["job", "run", "--image", "busybox", "--stored-secret", "KEPT", "--step", "echo said"];
        system.ok(&run);
        jobs.push(system.newest()["id"].to_string());
    }
    let page = system.ok(&["secret", "log", "KEPT", "--limit", "2"]);
    let next = page.lines().last().unwrap().strip_prefix("there is more: --before ").unwrap();
    let page = json(&system.ok(&["secret", "log", "KEPT", "--limit", "2", "--json"]));
    assert_eq!(page["nextCursor"], *next);
    let rest = json(&system.ok(&["secret", "log", "KEPT", "--before", next, "--json"]));
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["nextCursor"]), (1, &Value::Null));
    assert_eq!(rest["items"][0]["job"].to_string(), jobs[0]);
    let rest = system.ok(&["secret", "log", "KEPT", "--before", next]);
    assert!(!rest.contains("there is more"), "{rest}");

    let latest = system.ok(&["job", "logs", &jobs[0]]);
    assert!(latest.contains("said"), "{latest}");
    assert_eq!(system.ok(&["job", "logs", &jobs[0], "--attempt", "1"]), latest);
    let none = system.refused(&["job", "logs", &jobs[0], "--attempt", "9"]);
    assert!(none.contains("no log of attempt 9"), "{none}");
    assert!(system.refused(&["job", "logs", &jobs[0], "--attempt", "1", "-f"]).contains("--follow"));
}
