//! Completion, as the shells themselves have it.

use std::path::Path;
use std::process::{Command, Output};

fn script(shell: &str, dir: &Path) -> String {
    let printed =
        Command::new(env!("CARGO_BIN_EXE_executor")).args(["completion", shell]).env_clear().output();
    let printed = printed.unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let file = dir.join(shell);
    std::fs::write(&file, printed.stdout).unwrap();
    file.to_string_lossy().into_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn bash_completes_commands_and_options() {
    let dir = tempfile::tempdir().unwrap();
    let file = script("bash", dir.path());
    let complete = |words: &[&str]| {
        let (last, before) = words.split_last().unwrap();
        let line = format!(
            "source {file}; COMP_WORDS=({}); COMP_CWORD={}; _executor executor '{last}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
            words.len() - 1,
            before.last().unwrap()
        );
        let output = Command::new("bash").args(["--norc", "-c", &line]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        said(&output).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["executor", "job", "l"]), ["list", "logs"]);
    assert!(complete(&["executor", "serv"]).contains(&"server".to_owned()));
    assert_eq!(complete(&["executor", "server", "--tls-c"]), ["--tls-cert"]);
    assert_eq!(complete(&["executor", "completion", "z"]), ["zsh"]);
    // Values of which there are few.
    for (words, values) in [
        (&["executor", "job", "list", "--state", "c"][..], &["completed", "canceled"][..]),
        (&["executor", "token", "create", "--role", "o"], &["operator"]),
        (&["executor", "user", "create", "--role", "r"], &["reader"]),
        (&["executor", "secret", "list", "--scope", ""], &["batches", "codeintel"]),
        (&["executor", "job", "list", "--queue", "b"], &["batches"]),
        (&["executor", "job", "run", "--queue", "c"], &["codeintel"]),
        (&["executor", "audit", "--action", "secret.d"], &["secret.delete"]),
    ] {
        assert_eq!(complete(words), values, "{words:?}");
    }
}

#[test]
fn the_other_shells_can_read_theirs() {
    let dir = tempfile::tempdir().unwrap();
    for (shell, check) in [("zsh", "-n"), ("fish", "--no-execute")] {
        let file = script(shell, dir.path());
        let Ok(output) = Command::new(shell).args([check, &file]).output() else {
            testkit::missing_part("the_other_shells_can_read_theirs", shell);
            continue;
        };
        assert!(output.status.success(), "{shell}: {output:?}");
    }
}
