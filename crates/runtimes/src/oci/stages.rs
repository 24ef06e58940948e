//! When a launcher got how far: it writes that down where somebody wants to know, and the agent tells it in
//! its debug log once the step has ended. For benchmarks.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The launcher knows what to do.
pub(super) const PLAN_READ: &str = "plan read";
/// It becomes the runtime.
pub(super) const ROOT_MOUNTED: &str = "root mounted";

/// Where a launcher writes its stages, if anybody wants to know.
pub(super) fn file_beside(log: &Path) -> Option<PathBuf> {
    tracing::enabled!(tracing::Level::DEBUG).then(|| log.with_added_extension("stages"))
}

/// It is `stage` now. Failing here costs a benchmark its line.
pub(super) fn note(file: Option<&Path>, stage: &str) {
    let Some(file) = file else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let written = File::options().create(true).append(true).open(file);
    let _ = written.and_then(|mut file| writeln!(file, "{} {stage}", now.as_micros()));
}

/// Tells what was noted, each with its time since 1970 in microseconds.
pub(super) fn tell(file: Option<&Path>, sandbox: &str) {
    let Some(text) = file.and_then(|file| std::fs::read_to_string(file).ok()) else { return };
    for (at, stage) in text.lines().filter_map(|line| line.split_once(' ')) {
        let Ok(at) = at.parse().map(Duration::from_micros) else { continue };
        tracing::debug!(sandbox, stage, at_us = at.as_micros() as u64, "a launcher's stage");
    }
}
