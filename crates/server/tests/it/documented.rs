//! Documents name tests: those are there.

use std::path::{Path, PathBuf};

const CONFORMANCE: &str = include_str!("../../../../docs/conformance.md");

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn in_backticks(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// A test is named by its file, which is one of this crate's unless the row names its path before it.
#[test]
fn tests_that_are_named_are_there() {
    let (_, of_ours) = CONFORMANCE.split_once("# Stock executors at a control plane of ours").unwrap();
    let here = checkout().join("crates/server/tests/it");
    let (mut seen, mut elsewhere) = (0, 0);
    for row in of_ours.lines() {
        let mut named_path: Option<PathBuf> = None;
        for name in in_backticks(row) {
            let path = checkout().join(name);
            if path.extension().is_some_and(|kind| kind == "rs") {
                assert!(path.is_file(), "{name} is named in docs/conformance.md and not there");
                named_path = Some(path);
            } else if let Some((file, test)) = name.split_once("::") {
                let other =
                    named_path.clone().filter(|path| path.file_stem().is_some_and(|stem| stem == file));
                elsewhere += usize::from(other.is_some());
                let source = other.unwrap_or_else(|| here.join(file).with_extension("rs"));
                let source = std::fs::read_to_string(source).unwrap_or_default();
                assert!(
                    source.contains(&format!("fn {test}(")),
                    "{name} is named in docs/conformance.md and not there"
                );
                seen += 1;
            }
        }
    }
    assert!(seen > 25, "{seen} tests are named");
    assert_eq!(elsewhere, 10, "tests of other files are named");
}

/// Each row of what the executor is held to is a file of tests.
#[test]
fn files_of_tests_that_are_named_are_there_and_all_of_them() {
    let (_, table) = CONFORMANCE.split_once("## What is checked\n").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let mut named: Vec<&str> = rows.filter_map(|row| in_backticks(row).next()).collect();
    named.sort_unstable();
    let files = std::fs::read_dir(checkout().join("crates/cli/tests/it/conformance")).unwrap();
    let stem = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let source = path.is_file().then(|| std::fs::read_to_string(&path).unwrap())?;
        let holds_tests = ["#[test]", "#[tokio::test]"].iter().any(|mark| source.contains(mark));
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (holds_tests && name != "mod").then_some(name)
    };
    let mut there: Vec<String> = files.filter_map(stem).collect();
    there.sort_unstable();
    assert_eq!(named, there);
}
