//! The system call filter, compiled once.
//!
//! crun compiles the profile anew for every container, which takes it some 3 ms, and leaves the
//! result beside the container's state while that runs. The first step's is kept and handed to
//! every later step of this agent as it is; a crun that does not know the annotation compiles again.

use super::program::Family;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The annotation by which crun takes a compiled filter.
pub(super) const ANNOTATION: &str = "run.oci.seccomp_bpf_data";

/// Written by crun once the container is made, and so after the filter.
const STATUS: &str = "status";
const COMPILED: &str = "seccomp.bpf";
/// The size of one instruction.
const INSTRUCTION: usize = 8;
/// The kernel takes no more.
const MOST_INSTRUCTIONS: usize = 4_096;
/// How often and how long to look: a step that is over sooner leaves it to the next.
const LOOKS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// The compiled filter, once it is known.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    wanted: bool,
    compiled: Arc<OnceLock<String>>,
}

impl Filter {
    pub(super) fn new(family: Family) -> Self {
        Self { wanted: family == Family::Crun, compiled: Arc::default() }
    }

    /// The filter as [`ANNOTATION`] takes it.
    pub(super) fn known(&self) -> Option<&str> {
        self.compiled.get().map(String::as_str)
    }

    /// Takes the filter of a step that has just been started, in the background.
    pub(super) fn learn(&self, state: Option<PathBuf>) {
        let Some(state) = state.filter(|_| self.wanted && self.known().is_none()) else { return };
        let compiled = Arc::clone(&self.compiled);
        tokio::spawn(async move {
            for _ in 0..LOOKS {
                if let Some(filter) = read(&state) {
                    let _ = compiled.set(STANDARD.encode(filter));
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
}

/// The whole filter, or nothing.
fn read(state: &Path) -> Option<Vec<u8>> {
    if !state.join(STATUS).exists() {
        return None;
    }
    let filter = std::fs::read(state.join(COMPILED)).ok()?;
    let whole = !filter.is_empty()
        && filter.len().is_multiple_of(INSTRUCTION)
        && filter.len() / INSTRUCTION <= MOST_INSTRUCTIONS;
    whole.then_some(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_filter_is_taken() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(read(state.path()), None);
        std::fs::write(state.path().join(COMPILED), [1; 16]).unwrap();
        assert_eq!(read(state.path()), None, "the container is not made yet");
        std::fs::write(state.path().join(STATUS), "{}").unwrap();
        assert_eq!(read(state.path()), Some(vec![1; 16]));
        for broken in [0, 7, INSTRUCTION * (MOST_INSTRUCTIONS + 1)] {
            std::fs::write(state.path().join(COMPILED), vec![1; broken]).unwrap();
            assert_eq!(read(state.path()), None, "{broken} bytes");
        }
    }
}
