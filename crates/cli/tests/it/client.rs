//! What the client needs, and what it does without.

use crate::support::{Process, System, system, text};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `executor` where the client's settings at `config` are broken.
fn beside_broken_settings(config: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let file = config.join("executor/client.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "{").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
    command.args(args).env_clear().env("XDG_CONFIG_HOME", config).envs(env.iter().copied());
    command.output().unwrap()
}

#[test]
fn broken_settings_stop_nobody_who_needs_none() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data").to_string_lossy().into_owned();
    let run = |args: &[&str], env: &[(&str, &str)]| beside_broken_settings(dir.path(), args, env);
    let env = [("EXECUTOR_SERVER_URL", "http://127.0.0.1:1"), ("EXECUTOR_API_TOKEN", "x")];
    let asked = run(&["job", "list"], &env);
    assert_eq!(asked.status.code(), Some(3), "it asks, and nobody is there: {}", text(&asked));
    let by_option = run(&["image", "list", "--data-dir", &data_dir], &[]);
    assert_eq!(by_option.status.code(), Some(0), "{}", text(&by_option));
    let by_env = run(&["image", "list"], &[("EXECUTOR_DATA_DIR", &data_dir)]);
    assert_eq!(by_env.status.code(), Some(0), "{}", text(&by_env));
    for looks in [&["image", "gc"][..], &["image", "remove", "busybox"]] {
        run(looks, &[("EXECUTOR_DATA_DIR", &data_dir)]);
    }
    assert!(!std::path::Path::new(&data_dir).exists(), "who only looks makes no directory");
}

#[test]
fn broken_settings_are_told_with_what_helps() {
    let dir = tempfile::tempdir().unwrap();
    for (args, env, parts) in [
        (&["job", "list"][..], None, &["EXECUTOR_SERVER_URL", "EXECUTOR_API_TOKEN"][..]),
        (
            &["repo", "list"],
            Some(("EXECUTOR_SERVER_URL", "http://127.0.0.1:1")),
            &["EXECUTOR_SERVER_URL", "EXECUTOR_API_TOKEN"],
        ),
        (&["image", "list"], None, &["EXECUTOR_DATA_DIR"]),
    ] {
        let output = beside_broken_settings(dir.path(), args, env.as_slice());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.lines().count(), 1, "{said}");
        for part in [&["client.json", "remove the file"], parts].concat() {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}

#[test]
fn an_agent_needs_no_settings_of_a_client() {
    let Some(mut system) = system("an_agent_needs_no_settings_of_a_client") else { return };
    let command = system.agent_command();
    let file = system.dir.path().join("config/executor/client.json");
    let settings = std::fs::read(&file).unwrap();
    std::fs::write(&file, "{").unwrap();
    let agent = Process::start(command, "agent ");
    std::fs::write(&file, settings).unwrap();
    // One that leaves before it ever reached its control plane has failed.
    assert_eq!(system.job("true").status.code(), Some(0));
    agent.stop();
}

/// A call as it came; its body is all that has a length here.
fn call_to(listener: &TcpListener) -> (TcpStream, Value) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = String::new();
    let mut reader = BufReader::new(&mut stream);
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0);
    }
    let length =
        head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap()];
    reader.read_exact(&mut body).unwrap();
    (stream, serde_json::from_slice(&body).unwrap())
}

#[test]
fn a_key_that_was_made_up_outlives_whoever_made_it_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jobs.ndjson");
    let job = r#"{"steps": [{"image": "busybox", "run": "true"}]}"#;
    // The first of two calls is answered, and the process ends in the second; returns what was said, and the key.
    let cut_off = |options: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
        command.args(["job", "submit"]).arg(&file).args(options).env("XDG_CONFIG_HOME", dir.path());
        command.env("EXECUTOR_SERVER_URL", &url).env("EXECUTOR_API_TOKEN", "x");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (mut stream, first) = call_to(&listener);
        let ids: Vec<usize> = (1..=first["jobs"].as_array().unwrap().len()).collect();
        let body = serde_json::json!({ "ids": ids }).to_string();
        let head =
            format!("HTTP/1.1 201 Created\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).unwrap();
        drop(stream);
        let (_unanswered, second) = call_to(&listener);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), ids.len());
        let key = |call: &Value| call["jobs"][0]["idempotencyKey"].as_str().unwrap().to_owned();
        let (first, second) = (key(&first), key(&second));
        let key = first.strip_suffix("-1").unwrap();
        assert_eq!(second, format!("{key}-{}", ids.len() + 1));
        (String::from_utf8_lossy(&output.stderr).into_owned(), key.to_owned())
    };
    std::fs::write(&file, format!("{job}\n").repeat(1_001)).unwrap();
    let (said, key) = cut_off(&[]);
    assert_eq!(said, format!("submitting as --idempotency-key {key}: say it again if this is cut off\n"));
    assert_eq!(cut_off(&["--idempotency-key", "mine"]), (String::new(), "mine".to_owned()));
}

/// The newest job's, which failed: what a step wrote comes between its beginning and its end.
fn the_log_of_a_job_that_ended_reads_as_when_it_is_followed(system: &System) {
    let id = system.newest()["id"].to_string();
    let followed = system.ok(&["job", "logs", &id, "--follow"]);
    let read = system.ok(&["job", "logs", &id]);
    let order = ["── step.docker.0\n", "\nsaid\n", "\nstep.docker.0 ended with exit code 7\n── teardown"];
    let places: Vec<_> = order.iter().map(|part| read.find(part)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {read}");
    assert!(followed.contains(&read), "{read} and {followed}");
    let events = |more: &[&str]| -> Vec<Value> {
        let all = json_lines(&system.ok(&[&["job", "logs", &id, "--json"], more].concat()));
        let of_the_log = |event: &Value| ["entry", "text"].contains(&event["type"].as_str().unwrap());
        all.into_iter().filter(of_the_log).collect()
    };
    assert_eq!(events(&[]), events(&["--follow"]));
}

/// Every line of `text` as JSON.
fn json_lines(text: &str) -> Vec<Value> {
    let parse =
        |line| serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line:?} in {text}"));
    let lines: Vec<Value> = text.lines().map(parse).collect();
    assert!(!lines.is_empty());
    lines
}

#[test]
fn every_verb_speaks_json() {
    let Some(mut system) = system("every_verb_speaks_json") else { return };
    let _agent = system.agent();
    let (path, _) = system.git_repository();
    let archive = system.dir.path().join("busybox.tar").to_string_lossy().into_owned();
    let data_dir = system.agent_dir();
    let json = |args: &[&str]| -> Value {
        let text = system.ok(args);
        serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{args:?}: {fault}: {text}"))
    };

    assert_eq!(json(&["repo", "add", "app", &path, "--json"])["name"], "app");
    assert_eq!(json(&["repo", "list", "--json"])[0]["source"], *path);

    let image = |verb: &[&str]| json(&[&["image"], verb, &["--data-dir", &data_dir, "--json"]].concat());
    assert_eq!(image(&["import", "other:1", &archive])["name"], "other:1");
    assert_eq!(image(&["list"]).as_array().unwrap().len(), 2);
    assert_eq!(image(&["remove", "other:1"])["name"], "other:1");
    assert_eq!(image(&["gc"])["layers"], 0, "the other name still needs it");

    let run = |more: &[&'static str]| -> Vec<&'static str> {
        [&["job", "run", "--image", "busybox", "--repo", "app", "--json"], more].concat()
    };
    let job = json(&run(&["--detach", "--", "true"]));
    let id = job["id"].to_string();
    system.wait_for_state(&id, "completed");
    let events = json_lines(&system.ok(&run(&["--", "echo", "hello"])));
    let last = events.last().unwrap();
    assert!(last.to_string().contains("completed"), "{last}");
    assert!(events.iter().any(|event| event.to_string().contains("hello")), "{events:?}");
    let failed = system.run(&run(&["--step", "echo said; exit 7"]));
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed));
    json_lines(std::str::from_utf8(&failed.stdout).unwrap());
    assert!(failed.stderr.is_empty(), "{}", text(&failed));

    assert_eq!(json(&["job", "list", "--json"])["items"].as_array().unwrap().len(), 3);
    let none = serde_json::json!({"items": [], "nextCursor": null});
    assert_eq!(json(&["job", "list", "--state", "queued", "--json"]), none);
    assert_eq!(json(&["job", "show", &id, "--json"])["state"], "completed");
    json_lines(&system.ok(&["job", "logs", &id, "--json"]));
    json_lines(&system.ok(&["job", "logs", &id, "--follow", "--json"]));
    the_log_of_a_job_that_ended_reads_as_when_it_is_followed(&system);
    let long = json(&run(&["--detach", "--", "sleep", "600"]))["id"].to_string();
    assert_eq!(json(&["job", "cancel", &long, "--json"])["id"].to_string(), long);
    system.wait_for_state(&long, "canceled");

    assert_eq!(json(&["repo", "remove", "app", "--json"])["name"], "app");
    assert_eq!(json(&["repo", "list", "--json"]), serde_json::json!([]));
}

#[test]
fn exit_codes_tell_what_was_asked_from_what_the_machine_can_not_do() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    std::fs::write(at("site.jsonc"), r#"{"executors.accessToken": "short"}"#).unwrap();
    std::fs::write(at("a-file"), "no image").unwrap();
    for (args, code) in [
        (
            &[
                "server",
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
                &at("d"),
                "--site-config",
                &at("site.jsonc"),
            ][..],
            2,
        ),
        (&["server", "--listen", "192.0.2.1:1", "--data-dir", &at("d")], 2),
        (&["image", "import", "x:1", &at("not-there"), "--data-dir", &at("d")], 2),
        (&["image", "import", "x:1", &at("a-file"), "--data-dir", &at("d")], 2),
        (&["image", "remove", "x:1", "--data-dir", &at("d")], 2),
        (&["image", "import", "x:1", &at("a-file"), "--data-dir", "/proc/nowhere"], 3),
        (&["server", "--listen", "127.0.0.1:0", "--data-dir", "/proc/nowhere"], 3),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
        command.args(args).env_remove("EXECUTOR_DATA_DIR");
        let output = command.env("XDG_CONFIG_HOME", dir.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // What a server logs comes before.
        assert!(said.lines().last().is_some_and(|line| line.starts_with("executor: ")), "{said}");
    }
}

#[test]
fn a_server_says_what_a_server_does_when_it_is_told_to_leave() {
    let Some(mut system) = system("a_server_says_what_a_server_does_when_it_is_told_to_leave") else {
        return;
    };
    system.server.signal("TERM");
    system.server.wait_for_line("stopping: ");
    assert!(system.server.wait_exit().success());
    assert!(!system.server.lines().iter().any(|line| line.starts_with("draining")));
}
