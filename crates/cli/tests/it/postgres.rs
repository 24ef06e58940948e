//! A control plane that keeps its jobs in PostgreSQL.

use crate::support::{GATE, System, text};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};
use testkit::Postgres;

/// Whole jobs, one of them while the server is killed and another while the database is.
#[test]
fn jobs_survive_the_death_of_server_and_database() {
    let test = "jobs_survive_the_death_of_server_and_database";
    let Some(mut postgres) = Postgres::start(test) else { return };
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("database-url");
    std::fs::write(&file, format!("{}\n", postgres.url())).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let args = ["--database-url-file", file.to_str().unwrap()];
    let Some(mut system) = System::serving(test, &args, &[]) else { return };
    let agent = system.agent();

    let job = system.job("echo hello from here");
    assert!(job.status.success() && text(&job).contains("hello from here"), "{}", text(&job));
    assert!(!system.server_dir().join("executor.db").exists(), "nothing is kept in a file");

    let running = system.submit(&format!("echo before; {GATE}; echo after"));
    system.wait_for_log(&running, "before");
    system.restart_server();
    system.open_gates(&agent);
    assert_eq!(system.wait_for_state(&running, "completed")["attempt"], 1);
    assert!(system.ok(&["job", "logs", &running]).contains("after"));

    let running = system.submit(&format!("echo before; {GATE}; echo after"));
    system.wait_for_log(&running, "before");
    postgres.crash();
    let refused = system.run(&["job", "list"]);
    assert!(!refused.status.success(), "{}", text(&refused));
    postgres.restart();
    system.open_gates(&agent);
    let ended = crate::support::wait(crate::support::SOON, "the job's end", || {
        // While connections are found dead a call may be refused.
        let shown = system.run(&["job", "show", &running, "--json"]);
        let job: serde_json::Value = serde_json::from_slice(&shown.stdout).ok()?;
        (job["state"] == "completed").then_some(job)
    });
    assert_eq!(ended["attempt"], 1);
    let log = system.ok(&["job", "logs", &running]);
    assert!(log.contains("before") && log.contains("after"), "{log}");
}

#[test]
fn a_database_that_can_not_be_used_is_told_without_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("database-url");
    let start = |url: Option<&str>| {
        match url {
            Some(url) => std::fs::write(&file, url).unwrap(),
            None => drop(std::fs::remove_file(&file)),
        }
        let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_executor"));
        server.env("XDG_CONFIG_HOME", dir.path()).args(["server", "--listen", "127.0.0.1:0", "--data-dir"]);
        let output =
            server.arg(dir.path().join("data")).arg("--database-url-file").arg(&file).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("hunter2"), "{said}");
        (output.status.code(), said)
    };
    let told = |(code, said): (Option<i32>, String), expected: i32, what: &str| {
        assert!(code == Some(expected) && said.contains(what), "{code:?}: {said}");
    };
    told(start(None), 2, "database-url: there is no such file");
    told(start(Some(" \n")), 2, "is empty: write postgres://");
    told(start(Some("host=db password=hunter2")), 2, "URL can't be read: it is written as postgres://");
    // Nobody listens there.
    told(
        start(Some("postgres://executor:hunter2@localhost/jobs?host=/nonexistent")),
        3,
        "/nonexistent:5432/jobs",
    );
}

/// Both may be started at once, so a server waits; an operator who looks on need not guess for what.
#[test]
fn a_server_says_at_once_which_database_it_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("database-url");
    // Nobody listens where somebody has just been.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::write(&file, format!("postgres://executor:hunter2@127.0.0.1:{port}/jobs")).unwrap();
    let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_executor"));
    server.env("XDG_CONFIG_HOME", dir.path()).args(["server", "--listen", "127.0.0.1:0", "--data-dir"]);
    server.arg(dir.path().join("data")).arg("--database-url-file").arg(&file);
    let begun = Instant::now();
    let mut server = server.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut said = Vec::new();
    for line in lines {
        let is_it = line.contains("waiting up to 30 s for the database");
        said.push(line);
        if is_it {
            break;
        }
    }
    let after = begun.elapsed();
    server.kill().unwrap();
    server.wait().unwrap();
    let told = said.last().unwrap();
    assert!(told.contains(&format!("127.0.0.1:{port}/jobs")) && told.contains("refused"), "{said:?}");
    assert!(after < Duration::from_secs(20) && !told.contains("hunter2"), "{after:?}: {said:?}");
}
