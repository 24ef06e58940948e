//! What an operator has every step see besides: directories and files of the host, and memory.
//!
//! It is mounted in the step's root file system before the OCI runtime knows of that, by a process that still has the
//! host's rights. So jobs with users of their own see the host's files with the owners that they have on the host, and need not
//! be able to reach the directories above them.

mod sources;

use crate::RuntimeError;
use serde::{Deserialize, Serialize};
pub(super) use sources::resolved;
pub use sources::unsafe_beside_others;
use std::path::{Component, Path, PathBuf};

/// Where a step sees what is ours, and nothing may be mounted on or below.
const TAKEN: [&str; 5] = ["/data", "/dev", "/etc/executor", "/proc", "/sys"];
/// Directories in which something of ours is.
const ABOVE: [&str; 2] = ["/", "/etc"];

/// Something that every step sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdditionalMount {
    /// What is seen.
    pub what: Mounted,
    /// Where; absolute.
    pub target: PathBuf,
    /// Whether nothing can be written to it.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mounted {
    /// A directory or a file of the host.
    Host {
        /// Its path.
        source: PathBuf,
        /// With what is mounted below it.
        recursive: bool,
    },
    /// Memory, which counts as the step's own.
    Memory {
        /// Bytes; `None` leaves it to the job's limit of memory.
        size: Option<u64>,
        /// The rights to its top directory; `None` gives them to everybody, as for `/tmp`.
        mode: Option<u32>,
    },
}

impl AdditionalMount {
    /// Why it can't be made, in a line, if it can't.
    pub fn why_not(&self) -> Option<String> {
        let told =
            |what: &str, path: &Path, rule: &str| format!("its {what} can't be {}: {rule}", path.display());
        let relative = match &self.what {
            Mounted::Host { source, .. } if !source.is_absolute() => Some(source),
            _ => None,
        };
        let target = || why_not(&self.target).map(|rule| told("target", &self.target, rule));
        relative.map(|source| told("source", source, "that is no absolute path")).or_else(target)
    }
}

/// Those above come before those below.
pub(super) fn in_order(mut mounts: Vec<AdditionalMount>) -> Result<Vec<AdditionalMount>, RuntimeError> {
    let alone = mounts.iter().find_map(AdditionalMount::why_not);
    if let Some(why) = alone.or_else(|| unsafe_beside_others(&mounts).into_iter().flatten().next()) {
        return Err(RuntimeError::Host(format!("an additional mount can't be made: {why}")));
    }
    mounts.sort_by_key(|mount| mount.target.components().count());
    Ok(mounts)
}

/// Why nothing can be mounted there.
pub(super) fn why_not(target: &Path) -> Option<&'static str> {
    if !target.is_absolute() {
        return Some("that is no absolute path");
    }
    if target.components().any(|part| part == Component::ParentDir) {
        return Some("that leads upwards");
    }
    if ABOVE.iter().any(|above| target == Path::new(above)) {
        return Some("what executor gives a step is in there");
    }
    TAKEN.iter().any(|taken| target.starts_with(taken)).then_some("executor mounts something there itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(target: &str) -> AdditionalMount {
        AdditionalMount {
            what: Mounted::Memory { size: None, mode: None },
            target: target.into(),
            read_only: false,
        }
    }

    #[test]
    fn what_is_ours_stays_so() {
        for (target, rule) in [
            ("relative", "absolute"),
            ("/a/../data", "upwards"),
            ("/", "in there"),
            ("//etc/.", "in there"),
            ("/data", "itself"),
            ("/data/.cache", "itself"),
            ("/proc/sys", "itself"),
            ("/etc/executor/x", "itself"),
        ] {
            let refused = in_order(vec![memory(target)]).unwrap_err().to_string();
            assert!(refused.contains(target) && refused.contains(rule), "{refused}");
        }
        let relative = Mounted::Host { source: "x".into(), recursive: true };
        let refused = in_order(vec![AdditionalMount { what: relative, ..memory("/x") }]).unwrap_err();
        assert!(refused.to_string().contains("source can't be x"), "{refused}");
        for target in ["/etc/ssl/certs", "/database", "/a..b"] {
            assert_eq!(why_not(Path::new(target)), None, "{target}");
        }
    }

    #[test]
    fn what_is_above_comes_first() {
        let mounts = in_order(["/a/b/c", "/z", "/a/b"].map(memory).to_vec()).unwrap();
        let targets: Vec<_> = mounts.iter().map(|mount| mount.target.to_str().unwrap()).collect();
        assert_eq!(targets, ["/z", "/a/b", "/a/b/c"]);
    }
}
