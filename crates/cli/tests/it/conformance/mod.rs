//! The executor against a stock instance: the real binary, a real OCI runtime and real git on one side, on the
//! other a scripted instance that knows the documented protocol and nothing else.
//!
//! `docs/conformance.md` lists what is checked here.

pub(crate) mod bench;
mod checks;
mod clones;
mod dequeues;
mod engine;
mod files;
pub(crate) mod gate;
mod golden;
mod heartbeats;
mod leaving;
mod logs;
mod lost;
mod outages;
mod payloads;
mod registries;
mod repeats;
pub(crate) mod repository;
mod restarts;
mod skipping;
mod src_steps;
mod storms;
mod untold_ends;
mod waiting;
mod whole_jobs;

/// Every file here is a module above.
#[test]
fn no_file_is_forgotten() {
    let dir = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/conformance"));
    let modules = include_str!("mod.rs");
    for file in std::fs::read_dir(dir).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let Some(module) = name.strip_suffix(".rs") else { continue };
        assert!(module == "mod" || modules.contains(&format!("mod {module};")), "{name}");
    }
}
