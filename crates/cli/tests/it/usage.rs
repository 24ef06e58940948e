//! Faults of the command line are one line, and exit codes tell whose they are.

use crate::support::text;
use std::process::{Command, Output};

/// Runs `executor` without anything in its environment.
fn bare(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_executor")).args(args).env_clear().output().unwrap()
}

#[test]
fn a_fault_of_usage_is_one_line() {
    for (args, parts) in [
        (&["job", "run"][..], &["--image <IMG>", "executor job run --help"][..]),
        (&["job", "show", "abc"], &["abc", "<ID>", "executor job show --help"]),
        (&["up", "--listen", "nowhere"], &["nowhere", "--listen", "executor up --help"]),
        (&["server", "--listen", "127.0.0.1"], &["127.0.0.1", "--listen"]),
        (&["job"], &["executor job --help"]),
        (&["job", "fly"], &["fly", "executor job --help"]),
        (&["--fly"], &["--fly", "executor --help"]),
    ] {
        let output = bare(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("executor: ") && said.lines().count() == 1, "{args:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}

#[test]
fn an_unknown_command_is_told_with_the_documented_words() {
    let output = bare(&["fly"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "Unknown command fly. Use executor help to learn more.\n"
    );
}

#[test]
fn help_and_version_are_no_faults() {
    for args in
        [&["--help"][..], &["help"], &["job", "run", "--help"], &["--version"], &["run", "--help-env"]]
    {
        let output = bare(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{}", text(&output));
    }
}

#[test]
fn no_command_at_all_is_run() {
    let (none, run) = (bare(&[]), bare(&["run"]));
    assert_eq!(none.status.code(), Some(1), "{}", text(&none));
    assert!(text(&none).contains("4 errors occurred:"), "{}", text(&none));
    assert_eq!(text(&none), text(&run));
}
