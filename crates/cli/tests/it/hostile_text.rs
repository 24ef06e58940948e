//! Text of executors, repositories and control planes that would have terminals do something, in all that people are shown.

use crate::support::{System, executor, git, http, system, text};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpListener;

/// Clears the screen, sets the title, turns text around, hides some, and begins a line that looks like one of ours.
const EVIL: &str = "e\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}1m\u{202e}lo\u{200b}\r\nforged\tline";

/// A branch that git allows.
const BRANCH: &str = "e\u{202e}lo";

/// Whether there is nothing that a terminal obeys, and no line that somebody else began.
fn assert_clean(args: &[&str], shown: &str) {
    let obeyed = |c: &char| (c.is_control() && *c != '\n') || matches!(c, '\u{202e}' | '\u{200b}');
    assert_eq!(shown.chars().find(obeyed), None, "{args:?}: {shown:?}");
    assert!(!shown.lines().any(|line| line.starts_with("forged")), "{args:?}: {shown}");
}

/// What a command tells on both streams, which is clean.
fn shown(system: &System, args: &[&str]) -> String {
    let output = system.run(args);
    let told = [output.stdout, output.stderr].map(|stream| String::from_utf8(stream).unwrap()).concat();
    assert_clean(args, &told);
    told
}

/// An executor that means no good. It speaks the protocol by hand.
struct Executor<'a> {
    system: &'a System,
    runtime: tokio::runtime::Runtime,
}

impl Executor<'_> {
    fn post(&self, path: &str, credentials: &str, job: &str, body: &Value) -> Value {
        let sent = http()
            .post(format!("{}/.executors/queue/batches/{path}", self.system.url()))
            .header("Authorization", credentials)
            .header("X-Sourcegraph-Job-ID", job)
            .header("X-Sourcegraph-Executor-Name", "evil")
            .json(body)
            .send();
        self.runtime.block_on(async {
            let answer = sent.await.unwrap();
            let (status, told) = (answer.status(), answer.text().await.unwrap());
            assert!(status.is_success(), "{path}: {status}: {told}");
            serde_json::from_str(&told).unwrap_or(Value::Null)
        })
    }

    fn says_who_it_is(&self) {
        let telemetry = json!({
            "version": "V2", "executorName": "evil", "jobIds": null, "os": EVIL, "architecture": EVIL,
            "dockerVersion": EVIL, "executorVersion": EVIL, "gitVersion": EVIL, "igniteVersion": EVIL,
            "srcCliVersion": EVIL, "prometheusMetrics": "",
        });
        self.post("heartbeat", &self.secret(), "", &telemetry);
    }

    /// Takes the next job and ends it.
    fn ends_one(&self, mark: &str) -> String {
        let asked = json!({ "executorName": "evil", "version": "5.9.0" });
        let job = self.post("dequeue", &self.secret(), "", &asked);
        let token = format!("Bearer {}", job["token"].as_str().unwrap());
        let id = job["id"].to_string();
        let end = json!({ "reason": "out_of_memory", "step": EVIL, "path": EVIL, "class": EVIL, "by": EVIL });
        let how = json!({ "executorName": "evil", "jobId": job["id"], "errorMessage": EVIL, "end": end });
        self.post(mark, &token, &id, &how);
        id
    }

    fn secret(&self) -> String {
        format!("token-executor {}", self.system.shared_secret())
    }
}

#[test]
fn nothing_that_others_say_is_obeyed_by_the_terminal_of_who_asks() {
    let test = "nothing_that_others_say_is_obeyed_by_the_terminal_of_who_asks";
    let Some(system) = system(test) else { return };
    let (path, _) = system.git_repository();
    git(path.as_ref(), &["branch", BRANCH]);
    system.ok(&["repo", "add", "app", &path]);
    let submit =
        ["job", "run", "--detach", "--repo", "app", "--rev", BRANCH, "--image", "busybox", "--", "true"];
    for _ in 0..2 {
        system.ok(&submit);
    }
    let evil = Executor { system: &system, runtime: tokio::runtime::Runtime::new().unwrap() };
    evil.says_who_it_is();
    let (failed, errored) = (evil.ends_one("markFailed"), evil.ends_one("markErrored"));
    system.wait_for_state(&failed, "failed");

    let told = shown(&system, &["job", "show", &failed]);
    for part in [
        r"e\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}1m\u{202e}lo\u{200b}",
        "\n            forged line",
        r"e\u{202e}lo",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    let told = shown(&system, &["job", "show", &errored]);
    assert!(told.contains("next try") || told.contains("attempt"), "{told}");
    assert!(shown(&system, &["job", "explain", &failed]).contains("\n    forged line"));
    assert!(shown(&system, &["agent", "list"]).contains(r"\u{202e}lo\u{200b} forged line"));
    for args in [
        &["job", "explain", &errored][..],
        &["job", "list"],
        &["job", "list", "--executor", EVIL],
        &["job", "list", "--text", EVIL],
        &["job", "logs", &failed],
        &["job", "logs", "--follow", &failed],
        &["job", "artifacts", &failed],
        &["job", "artifacts", &failed, "--download", EVIL],
        &["job", "results", &failed],
        &["job", "cancel", &errored],
        &["job", "run", "--image", EVIL, "--", "true"],
        &["job", "run", "--image", "busybox", "--repo", EVIL, "--", "true"],
        &["agent", "drain", "evil"],
        &["agent", "resume", "evil"],
        &["agent", "drain", EVIL],
        &["agent", "identities"],
        &["agent", "invite", "list"],
        &["queue", "list"],
        &["queue", "show", "batches"],
        &["queue", "show", EVIL],
        &["repo", "list"],
        &["repo", "remove", EVIL],
        &["upload", "list"],
        &["token", "list"],
        &["token", "whoami"],
        &["user", "list"],
        &["user", "remove", EVIL],
        &["secret", "list"],
        &["secret", "show", EVIL],
        &["audit"],
        &["server", "status"],
        &[EVIL],
    ] {
        shown(&system, args);
    }
    let whole: Value = serde_json::from_str(&system.ok(&["job", "show", &failed, "--json"])).unwrap();
    assert_eq!(
        (&whole["message"], &whole["rev"]),
        (&EVIL.into(), &BRANCH.into()),
        "programs get it as it is"
    );
    let events = shown(&system, &["job", "logs", "--follow", &failed, "--json"]);
    let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert!(last.to_string().contains("failed"), "{events}");
}

/// Answers all requests alike: whatever stands in a control plane's place.
fn says(status: &str, body: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8 << 10]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[test]
fn a_refusal_is_one_line_whatever_a_control_plane_says() {
    let dir = tempfile::tempdir().unwrap();
    let problem =
        json!({ "type": "about:blank", "title": EVIL, "status": 400, "code": EVIL, "detail": EVIL });
    let version = json!({ "version": EVIL });
    for (status, body) in [
        ("400 Bad Request", problem.to_string()),
        ("500 Internal Server Error", EVIL.to_owned()),
        ("200 OK", version.to_string()),
        ("200 OK", EVIL.to_owned()),
    ] {
        let mut command = executor(dir.path());
        command.env("EXECUTOR_SERVER_URL", says(status, &body)).env("EXECUTOR_API_TOKEN", "token");
        let output = command.args(["server", "status"]).output().unwrap();
        let told = [&output.stdout[..], &output.stderr].concat();
        let told = String::from_utf8(told).unwrap();
        assert_clean(&[status, &body], &told);
        assert_eq!(told.lines().count(), 1, "{}", text(&output));
    }
}
