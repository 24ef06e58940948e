//! The documentation's links lead somewhere.

use crate::support::files_below;
use std::path::{Path, PathBuf};

/// What tests read.
const OF_TESTS: [&str; 5] = [
    "EXECUTOR_CHAOS_ENGINE_KILLS",
    "EXECUTOR_CHAOS_SERVER_KILLS",
    "EXECUTOR_CHAOS_KILLS",
    "EXECUTOR_CHAOS_SEED",
    "EXECUTOR_TEST_OUTAGE",
];

#[test]
fn every_relative_link_of_the_documentation_resolves() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root.join(name)).to_vec();
    pages.extend(files_below(&root.join("docs"), &|path| path.extension().is_some_and(|end| end == "md")));
    let mut broken = Vec::new();
    let mut count = 0;
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for link in relative_links(&text) {
            count += 1;
            let target: PathBuf = page.parent().unwrap().join(link);
            if !target.exists() {
                broken.push(format!("{} in {}", link, page.display()));
            }
        }
    }
    assert!(count > 0, "no links were found");
    assert!(broken.is_empty(), "broken links: {broken:#?}");
}

/// Where `[text](target)` leads, without the places inside a page; not what is on other hosts.
fn relative_links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|after| after.split(')').next());
    let paths = targets.filter_map(|target| target.split(['#', ' ']).next());
    paths.filter(|path| !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:"))
}

/// Names that begin as variables of ours do and are written as code.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let words = text.split(move |c: char| !is_name(c));
    words.filter(|word| word.starts_with("EXECUTOR_") && !word.ends_with('_'))
}

/// `differences.md` tells of some that never were.
#[test]
fn every_variable_that_the_documentation_names_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let known = std::fs::read_to_string(root.join("docs/reference/environment.md")).unwrap();
    let known: std::collections::BTreeSet<&str> = variables(&known).collect();
    let mut pages = files_below(&root.join("docs"), &|path| path.extension().is_some_and(|end| end == "md"));
    pages.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root.join(name)));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in pages.iter().filter(|page| !page.ends_with("differences.md")) {
        let text = std::fs::read_to_string(page).unwrap();
        for name in variables(&text) {
            count += 1;
            if !known.contains(name) && !OF_TESTS.contains(&name) {
                wrong.push(format!("{name} in {}", page.display()));
            }
        }
    }
    assert!(count > 100, "no names were found");
    assert!(wrong.is_empty(), "no variables: {wrong:#?}");
}

#[test]
fn links_are_read_out_of_a_page() {
    let page = "[a](docs/a.md) [b](https://x.y/z) [c](#here)\n![d](d.svg \"D\") [e](e.md#part)";
    assert_eq!(relative_links(page).collect::<Vec<_>>(), ["docs/a.md", "d.svg", "e.md"]);
}
