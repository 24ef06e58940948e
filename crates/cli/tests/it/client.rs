//! What the client needs, and what it does without.

use crate::support::{Process, system, text};
use std::path::Path;
use std::process::{Command, Output};

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
    std::fs::write(system.dir.path().join("config/executor/client.json"), "{").unwrap();
    Process::start(command, "agent ").stop();
}
