//! What the doctor finds, on a host that is well and on such as are not.

mod agents;
mod broken;
mod certificates;
mod frontend;
mod server;
mod services;

use crate::leftovers::nothing_is_left;
use crate::support::{system, text};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What the doctor may take, whatever does not answer.
const LIMIT: Duration = Duration::from_secs(5);
const SECRET: &str = "a-password-of-many-letters";

/// A patient: an environment of its own, that calls nobody outside unless a test says so.
struct Patient {
    dir: TempDir,
    env: Vec<(String, String)>,
}

impl Patient {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("executor-doctor-it-").tempdir().unwrap();
        let scratch = dir.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let env = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("HOME", at("home")),
            ("XDG_CONFIG_HOME", at("config")),
            ("EXECUTOR_DATA_DIR", at("data")),
            ("TMPDIR", at("scratch")),
            ("EXECUTOR_FRONTEND_URL", "http://127.0.0.1:1".to_owned()),
            ("EXECUTOR_FRONTEND_PASSWORD", SECRET.to_owned()),
            ("EXECUTOR_QUEUE_NAME", "batches".to_owned()),
            // Nobody: no registry outside is called.
            ("EXECUTOR_DOCKER_REGISTRY_MIRROR_URL", "http://127.0.0.1:1".to_owned()),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value)).into();
        Self { dir, env }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.retain(|(known, _)| known != name);
        self.env.push((name.to_owned(), value.into()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
        command.arg("doctor").args(args).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn examined(&self) -> Examined {
        Examined::of(&mut self.command(&["--json"]))
    }
}

/// What the doctor said.
struct Examined {
    output: Output,
    json: Value,
    took: Duration,
}

impl Examined {
    fn of(command: &mut Command) -> Self {
        let begun = Instant::now();
        let output = command.output().unwrap();
        let took = begun.elapsed();
        let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
        let examined = Self { output, json, took };
        assert!(!examined.text().contains(SECRET), "{}", examined.text());
        examined
    }

    fn text(&self) -> String {
        text(&self.output)
    }

    fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    /// The findings of one check.
    fn found(&self, id: &str) -> Vec<&Value> {
        self.json["findings"].as_array().unwrap().iter().filter(|finding| finding["id"] == id).collect()
    }

    /// The one finding of a check, which has this severity and, if it is bad, says what to do.
    #[track_caller]
    fn one(&self, id: &str, severity: &str) -> &Value {
        let [finding] = self.found(id)[..] else { panic!("not one {id}: {}", self.text()) };
        assert_eq!(finding["severity"], severity, "{finding}");
        let is_bad = ["warning", "fatal"].contains(&severity);
        assert_eq!(finding["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), is_bad, "{finding}");
        finding
    }

    fn fatal(&self) -> BTreeSet<&str> {
        let all = self.json["findings"].as_array().unwrap().iter();
        all.filter(|finding| finding["severity"] == "fatal")
            .map(|found| found["id"].as_str().unwrap())
            .collect()
    }
}

fn seen(finding: &Value) -> &str {
    finding["seen"].as_str().unwrap()
}

/// All paths below `dir`.
fn paths(dir: &Path) -> BTreeSet<PathBuf> {
    crate::support::files_below(dir, &|_| true).into_iter().collect()
}

#[test]
fn a_healthy_host_is_told_so_and_left_as_it_was() {
    let Some(mut system) = system("a_healthy_host_is_told_so_and_left_as_it_was") else { return };
    let agent = system.agent_command();
    let mut patient = Patient::new();
    for (name, value) in agent.get_envs().filter_map(|(name, value)| Some((name.to_str()?, value?.to_str()?)))
    {
        patient = patient.with(name, value);
    }
    let before = paths(system.dir.path());
    let examined = patient.examined();
    assert_eq!(examined.code(), Some(0), "{}", examined.text());
    assert_eq!(examined.json["healthy"], true);
    for (id, severity) in [
        ("config.variables", "ok"),
        ("config.secret", "ok"),
        ("oci.users", "ok"),
        ("frontend.reach", "ok"),
        ("frontend.answer", "ok"),
        ("frontend.token", "ok"),
        ("frontend.clock", "ok"),
        ("frontend.tls", "ok"),
        ("frontend.version", "info"),
        ("git.version", "ok"),
        ("oci.runtime", "info"),
        ("oci.mounts", "ok"),
        ("disk.limit", "ok"),
        ("disk.room", "ok"),
        ("disk.state", "ok"),
        ("registry.config", "ok"),
    ] {
        examined.one(id, severity);
    }
    let mut keys: BTreeSet<&str> = BTreeSet::new();
    for finding in examined.json["findings"].as_array().unwrap() {
        keys.extend(finding.as_object().unwrap().keys().map(String::as_str));
    }
    assert_eq!(keys, BTreeSet::from(["group", "id", "remedy", "seen", "severity"]));
    assert!(!examined.text().contains(&system.shared_secret()), "{}", examined.text());

    assert_eq!(paths(system.dir.path()), before, "nothing was changed");
    assert_eq!(std::fs::read_dir(patient.path("scratch")).unwrap().count(), 0, "nothing is left");
    nothing_is_left(system.dir.path());
    nothing_is_left(patient.dir.path());

    let output = patient.command(&[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = said.lines().last().unwrap();
    assert!(output.status.success() && last.contains(": 0 fatal, "), "{}", text(&output));
}

#[test]
fn every_check_is_listed() {
    let output = Patient::new().command(&["--list"]).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    let examined = Patient::new().examined();
    for finding in examined.json["findings"].as_array().unwrap() {
        let id = finding["id"].as_str().unwrap();
        assert!(page.contains(&format!("| `{id}` | ")), "{id}");
    }
}
