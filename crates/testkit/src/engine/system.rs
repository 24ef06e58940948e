//! Engines of another system than the one that the tests run on: newer ones, out of a root file system of their own.
//!
//! `cargo xtask engines` makes such systems and says here which is meant.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory of a system that engines and Docker's client are taken from; this one if nobody says so.
const SYSTEM: &str = "EXECUTOR_TEST_ENGINE_SYSTEM";
/// What `daemon.json` says besides, a JSON object.
const SETTINGS: &str = "EXECUTOR_TEST_DOCKER_SETTINGS";
/// Docker's own: the oldest API that it is to speak.
const OLDEST_API: &str = "DOCKER_MIN_API_VERSION";

/// Where engines are taken from.
pub(super) fn other() -> Option<PathBuf> {
    said(SYSTEM).map(PathBuf::from)
}

/// What tells engines from those that other tests, or the same ones with another system, have running.
pub(super) fn key() -> String {
    let program = std::env::current_exe().expect("this program has a path");
    let mut all = Sha256::new();
    for part in [Some(program.into_os_string()), said(SYSTEM), said(SETTINGS), said(OLDEST_API)] {
        all.update(part.unwrap_or_default().as_encoded_bytes());
        all.update([0]);
    }
    hex::encode(&all.finalize()[..4])
}

/// `settings`, and what is said besides.
pub(super) fn settings(settings: &str) -> String {
    let read = |text: &str| serde_json::from_str::<Map<String, Value>>(text).expect("a JSON object");
    let mut all = read(settings);
    all.extend(said(SETTINGS).map(|more| read(&more.to_string_lossy())).unwrap_or_default());
    Value::Object(all).to_string()
}

/// Whether a program is where programs are, in the system that engines are taken from.
pub(super) fn has(program: &str) -> bool {
    has_below(&other().unwrap_or_else(|| "/".into()), program)
}

pub(super) fn has_below(root: &Path, program: &str) -> bool {
    let places = ["usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"];
    places.iter().any(|place| root.join(place).join(program).exists())
}

/// A program of the system that the keeper with that number has made its own.
pub(super) fn program(name: &str, keeper: &str) -> Command {
    if other().is_none() {
        return Command::new(name);
    }
    let mut command = Command::new("nsenter");
    command.arg(format!("--mount=/proc/{keeper}/ns/mnt")).arg(name);
    command
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says which engines are meant")]
fn said(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
