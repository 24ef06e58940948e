//! The agent against a scripted control plane and a scripted runtime.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod certificates;
mod files;
mod flow;
mod full_disks;
mod git;
mod heartbeats;
mod lifecycle;
mod logs;
mod messages;
mod monitoring;
mod outages;
mod support;
mod timeline;
mod traces;

/// Every file here is a module above.
#[test]
fn no_file_is_forgotten() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = include_str!("main.rs");
    for file in std::fs::read_dir(dir).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || main.contains(&format!("mod {module};")), "{name}");
    }
}
