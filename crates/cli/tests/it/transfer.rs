//! A server's database, moved as a whole.

use crate::support::{GATE, system, text};
use std::os::unix::fs::PermissionsExt;
use testkit::Postgres;

/// Out of the file beside it into PostgreSQL, with a job that runs and one that is done.
#[test]
fn a_server_moves_into_postgresql_and_its_jobs_go_on() {
    let test = "a_server_moves_into_postgresql_and_its_jobs_go_on";
    let Some(postgres) = Postgres::start(test) else { return };
    let Some(mut system) = system(test) else { return };
    let secrets = tempfile::tempdir().unwrap();
    let url_file = secrets.path().join("database-url");
    std::fs::write(&url_file, postgres.url()).unwrap();
    let url_file = url_file.to_str().unwrap();
    let data_dir = system.server_dir();
    let of_server = ["--data-dir", data_dir.to_str().unwrap()];
    let agent = system.agent();
    let done = system.submit("echo done before");
    system.wait_for_state(&done, "completed");
    let running = system.submit(&format!("echo before; {GATE}; echo after"));
    system.wait_for_log(&running, "before");

    // While the server is there: nothing may be put into its database.
    let export = secrets.path().join("all.jsonl");
    let export = export.to_str().unwrap();
    let early = secrets.path().join("early.jsonl");
    let early = early.to_str().unwrap();
    system.ok(&[&["server", "export", early], &of_server[..]].concat());
    let late = secrets.path().join("late.jsonl");
    for kept_out in
        [&["server", "import", early][..], &["server", "export", late.to_str().unwrap(), "--retire"]]
    {
        let in_use = system.run(&[kept_out, &of_server[..]].concat());
        assert!(in_use.status.code() == Some(3) && text(&in_use).contains("in use"), "{}", text(&in_use));
    }
    assert!(!late.exists());
    let noted = |system: &crate::support::System, action: &str| {
        let acts = system.ok(&["audit", "--json", "--action", action]);
        let acts: serde_json::Value = serde_json::from_str(&acts).unwrap();
        let acts = acts["items"].as_array().unwrap().iter();
        acts.map(|act| act["detail"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let exports = noted(&system, "database.export");
    assert!(
        exports.len() == 1 && exports[0].starts_with(&format!("into {early}, by the host's user ")),
        "{exports:?}"
    );

    system.server.kill();
    let told = system.ok(&[&["server", "migrate"], &of_server[..]].concat());
    assert!(told.starts_with("the schema is up to date"), "{told}");
    let told = system.ok(&[&["server", "export", export, "--json", "--retire"], &of_server[..]].concat());
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["rows"]["jobs"], 2, "{told}");
    let mode = std::fs::metadata(export).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "digests and seals are nobody else's business");
    let again = system.refused(&[&["server", "export", export], &of_server[..]].concat());
    assert!(again.contains("all.jsonl can't be written: File exists"), "{again}");

    let into_postgres = ["--database-url-file", url_file];
    let table = system.ok(&[&["server", "import", export], &into_postgres[..]].concat());
    assert!(table.contains("jobs") && table.contains("log_entries"), "{table}");
    let twice = system.refused(&[&["server", "import", export], &into_postgres[..]].concat());
    assert!(twice.contains("import into one that no server has used yet"), "{twice}");

    system.restart_server_with(&into_postgres);
    let exports = noted(&system, "database.export");
    assert!(exports.len() == 2 && exports[0].contains(export), "{exports:?}");
    let imports = noted(&system, "database.import");
    assert!(imports.len() == 1 && imports[0].starts_with(&format!("from {export}, by")), "{imports:?}");
    assert_eq!(noted(&system, "database.migrate"), [""; 0], "nothing was changed");
    system.open_gates(&agent);
    let job = system.wait_for_state(&running, "completed");
    assert_eq!(job["attempt"], 1, "it went on: {job}");
    let log = system.ok(&["job", "logs", &running]);
    assert!(log.contains("before") && log.contains("after"), "{log}");
    assert!(system.ok(&["job", "logs", &done]).contains("done before"));
    let next = system.submit("true");
    assert!(next.parse::<i64>().unwrap() > running.parse::<i64>().unwrap());
    system.wait_for_state(&next, "completed");
}

/// A database that a server has not made was made by somebody.
#[test]
fn who_makes_or_changes_a_schema_is_noted() {
    let Some(mut system) = system("who_makes_or_changes_a_schema_is_noted") else { return };
    system.server.kill();
    let data = system.server_dir();
    for entry in ["executor.db", "executor.db-wal", "executor.db-shm"] {
        let _ = std::fs::remove_file(data.join(entry));
    }
    for _ in 0..2 {
        system.ok(&["server", "migrate", "--data-dir", data.to_str().unwrap()]);
    }
    system.restart_server_with(&[]);
    let acts = system.ok(&["audit", "--action", "database.migrate"]);
    assert_eq!(acts.matches("to the schema ").count(), 1, "the second one changed nothing: {acts}");
}

/// Two servers on two copies of one queue would give the same jobs out.
#[test]
fn nobody_goes_on_with_a_database_that_was_moved() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_executor"));
        let output = command.env("XDG_CONFIG_HOME", dir.path()).args(args).output().unwrap();
        (output.status.code(), text(&output))
    };
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (data, export, again) = (path("data"), path("all.jsonl"), path("again.jsonl"));
    let mark = format!("{data}/executor.db.retired");
    let nothing = run(&["server", "export", &export, "--retire", "--data-dir", &data]);
    assert!(nothing.0 == Some(3) && !dir.path().join("data").exists(), "{nothing:?}");
    assert_eq!(run(&["server", "migrate", "--data-dir", &data]).0, Some(0));
    let with_url = ["--database-url-file", "/nonexistent"];
    let elsewhere = run(&[&["server", "export", &export, "--retire"], &with_url[..]].concat());
    assert!(elsewhere.0 == Some(2) && elsewhere.1.contains("--retire"), "{elsewhere:?}");
    let moved = run(&["server", "export", &export, "--retire", "--data-dir", &data]);
    assert_eq!(moved.0, Some(0), "{moved:?}");
    for refused in [
        &["server", "--listen", "127.0.0.1:0", "--data-dir", &data][..],
        &["up", "--listen", "127.0.0.1:0", "--data-dir", &data],
        &["server", "migrate", "--data-dir", &data],
        &["server", "import", &export, "--data-dir", &data],
        &["server", "export", &again, "--retire", "--data-dir", &data],
    ] {
        let (code, told) = run(refused);
        assert!(
            code == Some(3) && told.contains("was moved elsewhere") && told.contains(&mark),
            "{refused:?}: {told}"
        );
        let last = told.lines().last().unwrap();
        assert!(last.contains(&mark), "one line tells it: {told}");
    }
    // To read it harms nobody.
    assert_eq!(run(&["server", "export", &again, "--data-dir", &data]).0, Some(0));
    std::fs::remove_file(mark).unwrap();
    assert_eq!(run(&["server", "migrate", "--data-dir", &data]).0, Some(0), "it is taken back");
}

/// What is wrong for a server that runs is no reason not to save what one has.
#[test]
fn a_broken_environment_keeps_nobody_from_an_export() {
    let Some(system) = system("a_broken_environment_keeps_nobody_from_an_export") else { return };
    let data = system.server_dir().to_string_lossy().into_owned();
    let file = |name: &str| system.dir.path().join(name).to_string_lossy().into_owned();
    let (export, moved) = (file("all.jsonl"), file("moved"));
    std::fs::create_dir(&moved).unwrap();
    for args in [
        &["server", "export", &export, "--data-dir", &data][..],
        &["server", "import", &export, "--data-dir", &moved],
        &["server", "migrate", "--data-dir", &moved],
        &["server", "rotate-key", "--data-dir", &data, "--standby"],
    ] {
        let mut command = system.executor(args);
        command.env("EXECUTOR_ALLOCATIONS", "{").env("EXECUTOR_SERVER_S3_CREDENTIALS", "no colon");
        command.env("EXECUTOR_METRIC_GCP_PROJECT_ID", "p");
        command.env("EXECUTOR_METRIC_GOOGLE_APPLICATION_CREDENTIALS_FILE", "/nonexistent");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output));
    }
    // The keys are not in the file then.
    let mut rotate = system.executor(&["server", "rotate-key", "--data-dir", &data]);
    let refused = rotate.env("EXECUTOR_SERVER_SECRET_KEYS", "a:b").output().unwrap();
    assert!(refused.status.code() == Some(2) && text(&refused).contains("EXECUTOR_SERVER_SECRET_KEYS"));
}

#[test]
fn what_is_no_export_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_executor"));
        let output = command.env("XDG_CONFIG_HOME", dir.path()).args(args).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "PK something else\n").unwrap();
    let file = file.to_str().unwrap();
    let (code, told) = run(&["server", "import", file, "--data-dir", data]);
    assert!(
        code == Some(2) && told.contains("this is no export: `executor server export` writes one"),
        "{told}"
    );
    let (code, told) = run(&["server", "import", "/nonexistent", "--data-dir", data]);
    assert!(code == Some(2) && told.contains("/nonexistent can't be read"), "{told}");
    let out = dir.path().join("out");
    let nowhere = dir.path().join("nowhere");
    let (code, told) =
        run(&["server", "export", out.to_str().unwrap(), "--data-dir", nowhere.to_str().unwrap()]);
    assert!(code == Some(3) && told.lines().count() == 1, "{told}");
    assert!(!out.exists() && !nowhere.exists(), "nothing is made");
}
