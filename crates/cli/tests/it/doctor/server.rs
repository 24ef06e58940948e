//! What the doctor finds of a control plane.

use crate::support::{SOON, System, executor, text, told, wait};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use testkit::Postgres;
use testkit::tls::Authority;

/// Its findings, and its exit code.
fn doctor(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> (Vec<Value>, Option<i32>) {
    let mut command = executor(dir);
    command.args(["server", "doctor", "--json", "--data-dir"]).arg(dir.join("server-data")).args(args);
    let output = command.envs(env.iter().copied()).output().unwrap();
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
    (report["findings"].as_array().unwrap().clone(), output.status.code())
}

/// The findings of one check, as severity and what was seen.
fn of<'f>(findings: &'f [Value], id: &str) -> Vec<(&'f str, &'f str)> {
    let of = findings.iter().filter(|finding| finding["id"] == id);
    of.map(|finding| (finding["severity"].as_str().unwrap(), finding["seen"].as_str().unwrap())).collect()
}

#[test]
fn a_control_plane_that_was_never_started_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let (findings, code) = doctor(dir.path(), &["--listen", "127.0.0.1:1"], &[]);
    assert_eq!(code, Some(0), "{findings:?}");
    for (id, severity) in [
        ("server.environment", "ok"),
        ("server.data-dir", "info"),
        ("server.database", "info"),
        ("server.site-config", "info"),
        ("server.keys", "info"),
        ("server.listen", "ok"),
        ("server.git", "ok"),
        ("server.running", "info"),
    ] {
        assert_eq!(of(&findings, id).first().map(|found| found.0), Some(severity), "{id}: {findings:?}");
    }
    assert_eq!(of(&findings, "server.fsync").len(), 1);
    assert!(!dir.path().join("server-data").exists(), "it changes nothing");
}

#[test]
fn what_is_wrong_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("server-data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(data.join("site-config.jsonc"), r#"{"executors.accessToken": "h4lf"}"#).unwrap();
    std::fs::write(data.join("secret-keys"), "nonsense-key").unwrap();
    let (one, other) =
        (Authority::new("ours").server(&["x.test"]), Authority::new("ours").server(&["x.test"]));
    std::fs::write(dir.path().join("cert.pem"), one.certificate).unwrap();
    std::fs::write(dir.path().join("key.pem"), other.key).unwrap();
    std::fs::write(dir.path().join("url"), "postgres://executor:hunter2@localhost/jobs?host=/nonexistent")
        .unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let args = [
        "--listen",
        "0.0.0.0:1",
        "--tls-cert",
        &at("cert.pem"),
        "--tls-key",
        &at("key.pem"),
        "--database-url-file",
        &at("url"),
    ];
    let (findings, code) = doctor(dir.path(), &args, &[("EXECUTOR_METRIC_AWS_REGION", "eu-west-1")]);
    assert_eq!(code, Some(1));
    for (id, severity, what) in [
        ("server.environment", "fatal", "EXECUTOR_METRIC_AWS_ACCESS_KEY_ID"),
        ("server.data-dir", "warning", "mode 755"),
        ("server.site-config", "fatal", "4 characters"),
        ("server.keys", "fatal", "keys for secrets"),
        ("server.tls", "fatal", "does not belong"),
        ("server.database", "fatal", ""),
    ] {
        let found = of(&findings, id);
        assert!(found.iter().any(|(bad, seen)| *bad == severity && seen.contains(what)), "{id}: {found:?}");
    }
    let all = serde_json::to_string(&findings).unwrap();
    for secret in ["hunter2", "h4lf", "nonsense-key"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    let bad = findings
        .iter()
        .filter(|finding| ["warning", "fatal"].contains(&finding["severity"].as_str().unwrap()));
    assert!(
        bad.clone().count() > 5 && bad.clone().all(|finding| finding["remedy"].is_string()),
        "{findings:?}"
    );
    let (findings, _) = doctor(dir.path(), &["--listen", "203.0.113.7:1"], &[]);
    assert_eq!(of(&findings, "server.listen")[0].0, "warning");
}

/// Neither a key that was lost nor another one under its id, nor an import without it, may look well: no server starts so.
#[test]
fn a_key_that_the_databases_secrets_need_and_that_is_not_there_is_named() {
    let test = "a_key_that_the_databases_secrets_need_and_that_is_not_there_is_named";
    let Some(mut system) = System::serving(test, &[], &[]) else { return };
    let kept = told(system.executor(&["secret", "set", "API_KEY"]), "hunter2-and-more");
    assert!(kept.status.success(), "{}", text(&kept));
    system.server.kill();
    let data = system.server_dir();
    let root = data.parent().unwrap();
    let file = data.join("secret-keys");
    let keys = std::fs::read_to_string(&file).unwrap();
    let id = keys.lines().last().unwrap().split_once(':').unwrap().0.to_owned();
    let looked = |data: &Path| doctor(data.parent().unwrap(), &["--listen", "127.0.0.1:1"], &[]);
    let (findings, code) = looked(&data);
    assert!(
        code == Some(0) && of(&findings, "server.keys").iter().any(|found| found.0 == "ok"),
        "{findings:?}"
    );

    let export = root.join("all.jsonl");
    let moved = root.join("moved/server-data");
    std::fs::create_dir_all(&moved).unwrap();
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    system.ok(&["server", "export", &at(&export), "--data-dir", &at(&data)]);
    system.ok(&["server", "import", &at(&export), "--data-dir", &at(&moved)]);
    let other = format!("other:{}\n", "11".repeat(32));
    let same_id = format!("{id}:{}\n", "11".repeat(32));
    std::fs::write(&file, &other).unwrap();
    let named = |data: &Path, what: &str| {
        let (findings, code) = looked(data);
        let bad: Vec<&Value> = findings.iter().filter(|found| found["id"] == "server.keys").collect();
        let bad = bad.iter().find(|found| found["severity"] == "fatal");
        let bad = bad.unwrap_or_else(|| panic!("{what}: {findings:?}"));
        let (seen, remedy) = (bad["seen"].as_str().unwrap(), bad["remedy"].as_str().unwrap());
        assert!(code == Some(1) && seen.contains(&id) && seen.contains(what), "{bad}");
        assert!(remedy.contains(&format!("{id}:KEY")) && remedy.contains("secret-keys"), "{bad}");
    };
    named(&data, "which is not in");
    std::fs::write(&file, &same_id).unwrap();
    named(&data, "is not the one");
    named(&moved, "which is not in");
    assert!(!moved.join("secret-keys").exists(), "it makes none");
    std::fs::write(moved.join("secret-keys"), &keys).unwrap();
    assert!(of(&looked(&moved).0, "server.keys").iter().all(|found| found.0 != "fatal"));
}

#[test]
fn a_control_plane_that_runs_tells_of_its_queues() {
    let test = "a_control_plane_that_runs_tells_of_its_queues";
    let Some(postgres) = Postgres::start(test) else { return };
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("database-url");
    std::fs::write(&file, postgres.url()).unwrap();
    let database = ["--database-url-file", file.to_str().unwrap()];
    let Some(mut system) = System::serving(test, &database, &[]) else { return };
    let listen = system.url().strip_prefix("http://").unwrap().to_owned();
    let looked = |system: &System| {
        let root = system.server_dir();
        doctor(root.parent().unwrap(), &["--listen", &listen, database[0], database[1]], &[]).0
    };
    system.submit("true");
    let findings = looked(&system);
    assert!(of(&findings, "server.database")[0].1.contains("of this version"), "{findings:?}");
    assert_eq!(of(&findings, "server.clock")[0].0, "ok");
    assert!(
        of(&findings, "server.keys").iter().any(|found| found.1.contains("can be opened")),
        "{findings:?}"
    );
    let results = of(&findings, "server.results");
    assert!(results[0].0 == "warning" && results[0].1.contains("another server"), "{results:?}");
    assert_eq!(of(&findings, "server.running")[0].0, "ok");
    assert_eq!(of(&findings, "server.executors")[0].0, "info");
    let unserved =
        |findings: &[Value]| of(findings, "server.queues").iter().any(|(bad, _)| *bad == "warning");
    assert!(unserved(&findings), "{findings:?}");
    assert_eq!(of(&findings, "server.old-secret")[0].0, "ok");
    let _agent = system.agent();
    let findings = wait(SOON, "an executor", || {
        let findings = looked(&system);
        (!unserved(&findings)).then_some(findings)
    });
    assert_eq!(of(&findings, "server.executors")[0].0, "ok", "{findings:?}");
}
