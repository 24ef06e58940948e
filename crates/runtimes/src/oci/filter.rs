//! The system call filter, compiled once.
//!
//! crun compiles the profile anew for every container, which takes it some 3 ms, and leaves the
//! result beside the container's state while that runs. The first step's is kept and handed to
//! every later step as it is; a crun that does not know the annotation compiles again. It is kept in the
//! state directory, which no job reaches, since most jobs are the first of the process that runs them.

use super::program::{Family, Program};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::system::uname;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
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
/// Its name in the state directory.
const KEPT: &str = "filter.json";
/// How often and how long to look: a step that is over sooner leaves it to the next.
const LOOKS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(5);

/// The compiled filter, once it is known.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    /// Nothing where none is wanted.
    kept: Option<Kept>,
    compiled: Arc<OnceLock<String>>,
}

/// Where it is kept for other processes.
#[derive(Debug, Clone)]
struct Kept {
    file: PathBuf,
    /// A digest of all that it depends on.
    of: String,
}

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    of: String,
    /// As [`ANNOTATION`] takes it.
    filter: String,
}

impl Filter {
    /// Of `profile`, as `program` compiles it; kept in `state_dir`.
    pub(super) fn new(program: &Program, profile: &impl Serialize, state_dir: &Path) -> Self {
        let wanted = program.family == Family::Crun;
        // What can't be told apart is not kept.
        let of = if wanted { digest(program, profile).ok() } else { None };
        let kept = of.map(|of| Kept { file: state_dir.join(KEPT), of });
        let filter = Self { kept, compiled: Arc::default() };
        // Read now rather than when a step waits for it.
        filter.known();
        filter
    }

    /// The filter as [`ANNOTATION`] takes it.
    pub(super) fn known(&self) -> Option<&str> {
        if let (None, Some(found)) = (self.compiled.get(), self.kept.as_ref().and_then(Kept::read)) {
            // Another may have been quicker.
            let _ = self.compiled.set(found);
        }
        self.compiled.get().map(String::as_str)
    }

    /// Takes the filter of a step that has just been started, in the background.
    pub(super) fn learn(&self, state: Option<PathBuf>) {
        let (Some(kept), Some(state), None) = (self.kept.clone(), state, self.known()) else { return };
        let compiled = Arc::clone(&self.compiled);
        tokio::spawn(async move {
            for _ in 0..LOOKS {
                if let Some(filter) = read(&state) {
                    let filter = STANDARD.encode(filter);
                    // The next process compiles it again then.
                    let _ = kept.write(&filter);
                    let _ = compiled.set(filter);
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
}

impl Kept {
    fn read(&self) -> Option<String> {
        let entry: Entry = serde_json::from_slice(&std::fs::read(&self.file).ok()?).ok()?;
        let whole = STANDARD.decode(&entry.filter).is_ok_and(|filter| is_whole(&filter));
        (whole && entry.of == self.of).then_some(entry.filter)
    }

    /// Whoever reads it meanwhile finds all of it or what was there before.
    fn write(&self, filter: &str) -> io::Result<()> {
        let entry = Entry { of: self.of.clone(), filter: filter.to_owned() };
        let dir = self.file.parent().unwrap_or(Path::new("/"));
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(&serde_json::to_vec(&entry)?)?;
        file.persist(&self.file)?;
        Ok(())
    }
}

/// Of a profile, and of what compiles it: that very program on this kernel.
fn digest(program: &Program, profile: &impl Serialize) -> io::Result<String> {
    let file = std::fs::metadata(&program.path)?;
    let kernel = uname().release().to_string_lossy().into_owned();
    let all = serde_json::to_vec(&(program, file.len(), file.mtime(), file.mtime_nsec(), kernel, profile))?;
    Ok(STANDARD.encode(Sha256::digest(all)))
}

/// The whole filter, or nothing.
fn read(state: &Path) -> Option<Vec<u8>> {
    if !state.join(STATUS).exists() {
        return None;
    }
    let filter = std::fs::read(state.join(COMPILED)).ok()?;
    is_whole(&filter).then_some(filter)
}

fn is_whole(filter: &[u8]) -> bool {
    !filter.is_empty()
        && filter.len().is_multiple_of(INSTRUCTION)
        && filter.len() / INSTRUCTION <= MOST_INSTRUCTIONS
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

    #[test]
    fn what_one_process_has_learned_others_know_and_of_nothing_else() {
        let (dir, program) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let crun = |version: &str| Program {
            path: program.path().to_owned(),
            family: Family::Crun,
            version: version.to_owned(),
        };
        let filter = |version, profile| Filter::new(&crun(version), &profile, dir.path());
        let early = filter("1", "profile");
        assert_eq!(early.known(), None);
        let learned = STANDARD.encode([7; 2 * INSTRUCTION]);
        early.kept.as_ref().unwrap().write(&learned).unwrap();
        assert_eq!(early.known(), Some(learned.as_str()), "it was made before there was one");
        assert_eq!(filter("1", "profile").known(), Some(learned.as_str()));
        assert_eq!(filter("2", "profile").known(), None, "another version compiles it");
        assert_eq!(filter("1", "another").known(), None);
        std::fs::write(program.path(), "upgraded").unwrap();
        assert_eq!(filter("1", "profile").known(), None, "another program compiles it");
        let later = filter("1", "profile");
        later.kept.as_ref().unwrap().write(&STANDARD.encode([7; INSTRUCTION + 1])).unwrap();
        assert_eq!(later.known(), None, "it is no filter");
        later.kept.as_ref().unwrap().write(&learned).unwrap();
        assert_eq!(later.known(), Some(learned.as_str()), "it took the other's place");
        let files: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().flatten().map(|file| file.file_name()).collect();
        assert_eq!(files, [KEPT]);
        let runc = Program { family: Family::Runc, ..crun("1") };
        assert_eq!(Filter::new(&runc, &"profile", dir.path()).known(), None);
    }
}
