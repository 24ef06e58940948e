//! What is checked before an agent takes jobs, and what is said of it.

use crate::leftovers::nothing_is_left;
use crate::support::{Process, System, system, text};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// `executor validate` with the environment that `agent` would have.
fn validate(agent: &Command, changes: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
    for (name, value) in agent.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.arg("validate").envs(changes.iter().copied()).output().unwrap()
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    said.trim_end().strip_prefix("executor: ").unwrap_or_else(|| panic!("{said}")).to_owned()
}

/// `executor ARGS` where `git` is this script, and nothing else is on the path.
fn with_git(script: Option<&str>, args: &[&str]) -> Output {
    let dir = TempDir::new().unwrap();
    if let Some(script) = script {
        let git = dir.path().join("git");
        std::fs::write(&git, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&git, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    Command::new(env!("CARGO_BIN_EXE_executor"))
        .args(args)
        .env_clear()
        .env("PATH", dir.path())
        .env("EXECUTOR_DATA_DIR", dir.path().join("data"))
        .env("XDG_CONFIG_HOME", dir.path().join("config"))
        .env("EXECUTOR_FRONTEND_URL", "http://127.0.0.1:1")
        .env("EXECUTOR_FRONTEND_PASSWORD", "a-password-of-many-letters")
        .env("EXECUTOR_QUEUE_NAME", "batches")
        .output()
        .unwrap()
}

#[test]
fn all_is_well_beside_an_agent_that_works() {
    let Some(mut system) = system("all_is_well_beside_an_agent_that_works") else { return };
    let command = system.agent_command();
    let agent = system.agent();
    let output = validate(&command, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.lines().last(), Some("All checks passed!"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("runtime oci: ")), "{said}");
    let output = system.job("echo still-works");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    agent.stop();
    nothing_is_left(system.dir.path());
}

#[test]
fn a_wrong_secret_is_told_with_the_documented_words() {
    let Some(mut system) = system("a_wrong_secret_is_told_with_the_documented_words") else { return };
    let command = system.agent_command();
    let output = validate(&command, &[("EXECUTOR_FRONTEND_PASSWORD", "another-password-of-many-letters")]);
    assert_eq!(
        refused(&output),
        "failed to authorize with frontend, is executors.accessToken set correctly in the site-config?"
    );
    nothing_is_left(system.dir.path());
}

#[test]
fn another_answer_is_told_by_its_code() {
    let Some(mut system) = system("another_answer_is_told_by_its_code") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/base", listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        let read = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let command = system.agent_command();
    // It has one answer, which is not for the question after src.
    let output = validate(&command, &[("EXECUTOR_FRONTEND_URL", &url), ("EXECUTOR_SRC_STEPS", "false")]);
    assert_eq!(refused(&output), "failed to validate authorization token: unexpected status code 503");
    let head = answering.join().unwrap();
    assert!(head.starts_with("GET /base/.executors/test/auth HTTP/1.1\r\n"), "{head}");
    let expected = format!("token-executor {}", system.shared_secret());
    assert!(head.contains(&expected), "the agent's own credentials are shown");
}

#[test]
fn a_control_plane_that_is_not_there_is_named() {
    let Some(mut system) = system("a_control_plane_that_is_not_there_is_named") else { return };
    let command = system.agent_command();
    let output = validate(&command, &[("EXECUTOR_FRONTEND_URL", "http://127.0.0.1:1")]);
    let said = refused(&output);
    let clause = "127.0.0.1:1 can't be reached: Connection refused (os error 111)";
    assert_eq!(said, format!("failed to validate authorization token: {clause}"));
}

#[test]
fn git_is_judged_first_and_with_the_documented_words() {
    for args in [&["validate"][..], &["run", "--verify"]] {
        for (script, said) in [
            (
                None,
                "git not found in PATH, is it installed?\nUse your package manager, or build from source.",
            ),
            (Some("echo broken >&2; exit 1"), "getting git version: 'git version': broken: exit status 1"),
            (Some("echo git version two"), "failed to semver parse git version: two"),
            (
                Some("echo git version 2.25.1"),
                "git version is too old, install at least git 2.26, current version: 2.25.1",
            ),
        ] {
            assert_eq!(refused(&with_git(script, args)), said, "{args:?}");
        }
    }
}

#[test]
fn the_configuration_is_judged_before_everything_else() {
    let bare = |command: &str| {
        Command::new(env!("CARGO_BIN_EXE_executor")).arg(command).env_clear().output().unwrap()
    };
    let (validated, ran) = (bare("validate"), bare("run"));
    assert_eq!(
        refused(&validated),
        "4 errors occurred:\
         \n\t* invalid value \"\" for EXECUTOR_FRONTEND_URL: no value supplied\
         \n\t* invalid value \"\" for EXECUTOR_FRONTEND_PASSWORD: no value supplied\
         \n\t* neither EXECUTOR_QUEUE_NAME or EXECUTOR_QUEUE_NAMES is set\
         \n\t* EXECUTOR_FRONTEND_URL must be in the format scheme://host (and optionally :port)"
    );
    assert_eq!(text(&validated), text(&ran));
}

#[test]
fn what_is_set_without_effect_is_told_at_start_and_strictly_refused() {
    let never = ("EXECUTOR_MAX_NUM_JOBS", "8");
    let other = ("KUBERNETES_KEEP_JOBS", "true");
    let test = "what_is_set_without_effect_is_told_at_start_and_strictly_refused";
    let Some(mut system) = System::with(test, &[never, other]) else { return };
    let warning =
        "EXECUTOR_MAX_NUM_JOBS is set, but there never was such a variable: set EXECUTOR_MAXIMUM_NUM_JOBS";
    let strict = system.agent_command().env("EXECUTOR_STRICT", "true").output().unwrap();
    assert_eq!(refused(&strict), format!("refused under EXECUTOR_STRICT: {warning}"));

    let agent = Process::start(system.agent_command(), "agent ");
    let lines = agent.lines();
    let place = |wanted: &str| lines.iter().position(|line| line == wanted);
    let told = [
        place(&format!("warning: {warning}")),
        place("note: set, but of no effect with the runtime oci: KUBERNETES_KEEP_JOBS"),
    ];
    let ready = lines.iter().position(|line| line.starts_with("agent "));
    assert!(told.iter().all(|place| place.is_some() && *place < ready), "{lines:?}");
    // It leaves in good order once it has reached its control plane.
    let output = system.job("echo runs-nevertheless");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    agent.stop();
}

#[test]
fn the_table_is_there_for_programs() {
    let output = Command::new(env!("CARGO_BIN_EXE_executor"))
        .args(["run", "--help-env", "--json"])
        .env_clear()
        .env("EXECUTOR_JOB_MEMORY_executor", "1G")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = told["variables"].as_array().unwrap();
    let memory = rows.iter().find(|row| row["name"] == "EXECUTOR_JOB_MEMORY").unwrap();
    assert_eq!(memory["olderName"], "EXECUTOR_FIRECRACKER_MEMORY");
    assert_eq!(memory["default"], "12G");
    assert_eq!(memory["value"], "1G", "a variable of this program's name counts");
}

#[test]
fn verbs_that_fetch_what_is_not_needed_say_so() {
    let install = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_executor")).arg("install").args(args).env_clear().output().unwrap()
    };
    for (args, part) in [
        (&["ignite", "--bin-dir", "/nowhere"][..], "ignite is not needed"),
        (&["cni"], "CNI plugins are not needed"),
        (&["src-cli", "--bin-dir", "/nowhere"], "src is not fetched"),
        (&["iptables-rules", "--recreate-chain"], "firewall rules are not needed"),
        (&["image", "Executor-VM"], "the image executor-vm is not needed"),
        (&["all"], "the image kernel is not needed"),
    ] {
        let output = install(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output));
        assert!(String::from_utf8_lossy(&output.stdout).contains(part), "{args:?}: {}", text(&output));
    }
    assert!(!Path::new("/nowhere").exists());
    let help = install(&["--help"]);
    assert!(text(&help).contains("Say where `src`"), "the help says the same: {}", text(&help));
    for (args, said) in [
        (&["image"][..], "no image specified"),
        (&["image", "kernel", "sandbox"], "too many arguments"),
        (&["image", "x"], "invalid image provided \"x\", expected one of executor-vm, sandbox, kernel"),
    ] {
        assert_eq!(refused(&install(args)), said);
    }
}

#[test]
fn a_machine_to_test_is_refused_while_there_is_none() {
    let test_vm = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_executor")).arg("test-vm").args(args).env_clear().output().unwrap()
    };
    assert_eq!(refused(&test_vm(&["--repo", "x"])), "must specify revision when setting --repo");
    assert!(refused(&test_vm(&["--name-only"])).contains("no runtime firecracker yet"));
}
