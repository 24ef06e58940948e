//! What one start of an agent has made, remembered where the next start looks.
//!
//! Each start has a directory with a locked file: the kernel drops the lock with the process, whoever
//! killed it. Containers carry its name; workspaces are linked from it.

use crate::RuntimeError;
use crate::oci::remove::remove_tree;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const INCARNATIONS: &str = "incarnations";
const OWNER: &str = "owner";
const LOCK: &str = "lock";
const WORKSPACES: &str = "workspaces";
/// Bytes of randomness in a name.
const NAME_BYTES: usize = 4;
const OWNER_BYTES: usize = 8;

/// One start of an agent.
#[derive(Debug)]
pub(super) struct Incarnation {
    pub(super) id: String,
    dir: PathBuf,
    _lock: File,
}

impl Incarnation {
    pub(super) fn create(state_dir: &Path) -> io::Result<Self> {
        // Between making a directory and locking it, nobody may judge it to be a dead one's.
        let _gate = gate(state_dir)?;
        let id = random_hex(NAME_BYTES)?;
        let dir = state_dir.join(INCARNATIONS).join(&id);
        fs::create_dir(&dir)?;
        fs::create_dir(dir.join(WORKSPACES))?;
        let lock = File::create(dir.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { id, dir, _lock: lock })
    }

    /// Remembers a workspace before it is made.
    pub(super) fn remember(&self, number: u64, workspace: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(workspace, self.link(number))
    }

    /// Forgets a workspace that is gone.
    pub(super) fn forget(&self, number: u64) -> io::Result<()> {
        fs::remove_file(self.link(number))
    }

    fn link(&self, number: u64) -> PathBuf {
        self.dir.join(WORKSPACES).join(number.to_string())
    }
}

/// What all starts on this state directory go by, and nobody else: made once, at random. Engines are
/// shared by hosts, so a path says too little.
pub(super) fn owner(state_dir: &Path) -> io::Result<String> {
    let _gate = gate(state_dir)?;
    let path = state_dir.join(OWNER);
    match fs::read_to_string(&path) {
        Ok(owner) if owner.len() == 2 * OWNER_BYTES => return Ok(owner),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // Not there, or cut off by a full disk: containers under a name that is lost can't be found.
        _ => {}
    }
    let owner = random_hex(OWNER_BYTES)?;
    let new = state_dir.join(format!("{OWNER}.new"));
    fs::write(&new, &owner)?;
    File::open(&new)?.sync_all()?;
    fs::rename(new, path)?;
    Ok(owner)
}

/// One start of an agent that is no more. While this lives, nobody else buries it.
#[derive(Debug)]
pub(super) struct Dead {
    dir: PathBuf,
    _lock: Option<File>,
}

impl Dead {
    /// Takes hold of `id` unless it lives.
    pub(super) fn find(state_dir: &Path, id: &str) -> io::Result<Option<Self>> {
        let _gate = gate(state_dir)?;
        let dir = state_dir.join(INCARNATIONS).join(id);
        let lock = match File::open(dir.join(LOCK)) {
            Ok(lock) => Some(lock),
            // Somebody has just removed it, or it died before it had a lock.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match lock.as_ref().map(|lock| flock(lock, FlockOperation::NonBlockingLockExclusive)) {
            Some(Err(rustix::io::Errno::WOULDBLOCK)) => Ok(None),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(())) | None => Ok(Some(Self { dir, _lock: lock })),
        }
    }

    /// Whether something of a job may be left.
    pub(super) fn had_jobs(&self) -> bool {
        !entries(&self.dir.join(WORKSPACES)).is_empty()
    }

    /// Removes its workspaces, and then what remembers it. Returns how many there were.
    pub(super) fn bury(&self) -> Result<usize, RuntimeError> {
        let mut workspaces = 0;
        for link in entries(&self.dir.join(WORKSPACES)) {
            let Ok(workspace) = fs::read_link(&link) else { continue };
            remove_tree(&workspace).map_err(RuntimeError::io(format!("remove {}", workspace.display())))?;
            let _ = fs::remove_file(link);
            workspaces += 1;
        }
        remove_tree(&self.dir).map_err(RuntimeError::io(format!("remove {}", self.dir.display())))?;
        Ok(workspaces)
    }
}

/// All starts that have left something in `state_dir`, also those that live.
pub(super) fn all(state_dir: &Path) -> Vec<String> {
    let names = entries(&state_dir.join(INCARNATIONS)).into_iter();
    names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
}

/// Whether there is still something of that start.
pub(super) fn exists(state_dir: &Path, id: &str) -> bool {
    state_dir.join(INCARNATIONS).join(id).exists()
}

/// Makes the directory if need be, and holds it while this lives.
fn gate(state_dir: &Path) -> io::Result<File> {
    let dir = state_dir.join(INCARNATIONS);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    let gate = File::open(dir)?;
    flock(&gate, FlockOperation::LockExclusive)?;
    Ok(gate)
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
}

fn random_hex(bytes: usize) -> io::Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(hex::encode(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_stays_the_same_and_is_made_anew_when_it_was_cut_off() {
        let state = tempfile::tempdir().unwrap();
        let first = owner(state.path()).unwrap();
        assert_eq!(owner(state.path()).unwrap(), first);
        fs::write(state.path().join(OWNER), &first[..3]).unwrap();
        let second = owner(state.path()).unwrap();
        assert!(second.len() == first.len() && second != first);
    }

    #[test]
    fn a_start_that_lives_is_not_taken_for_a_dead_one() {
        let (state, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let living = Incarnation::create(state.path()).unwrap();
        let workspace = work.path().join("workspace-1");
        living.remember(1, &workspace).unwrap();
        fs::create_dir_all(workspace.join("deep/er")).unwrap();
        assert!(Dead::find(state.path(), &living.id).unwrap().is_none());
        let id = living.id.clone();
        drop(living);
        assert_eq!(all(state.path()), [id.as_str()]);
        let dead = Dead::find(state.path(), &id).unwrap().unwrap();
        assert!(Dead::find(state.path(), &id).unwrap().is_none(), "it is being buried");
        assert_eq!(dead.bury().unwrap(), 1);
        assert!(!workspace.exists() && !exists(state.path(), &id));
        drop(dead);
        let again = Dead::find(state.path(), &id).unwrap().unwrap();
        assert_eq!(again.bury().unwrap(), 0, "it can be buried twice");
    }
}
