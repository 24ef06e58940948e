//! What one start of an agent has made, remembered where the next start looks.
//!
//! Each start has a directory with a locked file: the kernel drops the lock with the process, whoever
//! killed it. Containers carry its name; workspaces are linked from it.

use super::cleaner::Cleaner;
use crate::oci::remove::remove_tree;
use crate::{HostPrograms, RuntimeError};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const INCARNATIONS: &str = "incarnations";
const OWNER: &str = "owner";
const LOCK: &str = "lock";
const WORKSPACES: &str = "workspaces";
const CLEANERS: &str = "cleaners";
/// Bytes of randomness in a name.
const NAME_BYTES: usize = 4;
const OWNER_BYTES: usize = 8;

/// One start of an agent.
#[derive(Debug)]
pub(super) struct Incarnation {
    pub(super) id: String,
    dir: PathBuf,
    lock: Arc<File>,
}

impl Incarnation {
    /// The name of another one.
    pub(super) fn new_id() -> io::Result<String> {
        random_hex(NAME_BYTES)
    }

    /// The one called `id`.
    pub(super) fn create(state_dir: &Path, id: String) -> io::Result<Self> {
        // Between making a directory and locking it, nobody may judge it to be a dead one's.
        let _gate = gate(state_dir)?;
        let dir = state_dir.join(INCARNATIONS).join(&id);
        fs::create_dir(&dir)?;
        fs::create_dir(dir.join(WORKSPACES))?;
        fs::create_dir(dir.join(CLEANERS))?;
        let lock = File::create(dir.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { id, dir, lock: Arc::new(lock) })
    }

    /// How programs on this host are started for its sandboxes.
    pub(super) fn programs(&self) -> HostPrograms {
        HostPrograms::holding(&self.lock)
    }

    /// Remembers a workspace before it is made.
    pub(super) fn remember(&self, number: u64, workspace: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(workspace, self.link(number))
    }

    /// Remembers what a workspace can be emptied with.
    pub(super) fn remember_cleaner(&self, number: u64, cleaner: &Cleaner) -> io::Result<()> {
        fs::write(self.dir.join(CLEANERS).join(number.to_string()), serde_json::to_vec(cleaner)?)
    }

    /// Forgets a workspace that is gone.
    pub(super) fn forget(&self, number: u64) -> io::Result<()> {
        let _ = fs::remove_file(self.dir.join(CLEANERS).join(number.to_string()));
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

    /// Its workspaces, and what each can be emptied with if that is known.
    pub(super) fn workspaces(&self) -> Vec<(PathBuf, Option<Cleaner>)> {
        let links = entries(&self.dir.join(WORKSPACES)).into_iter();
        let known = links.filter_map(|link| {
            let cleaner = fs::read(self.dir.join(CLEANERS).join(link.file_name()?));
            let cleaner = cleaner.ok().and_then(|json| serde_json::from_slice(&json).ok());
            Some((fs::read_link(&link).ok()?, cleaner))
        });
        known.collect()
    }

    /// Removes what remembers it.
    pub(super) fn bury(&self) -> Result<(), RuntimeError> {
        remove_tree(&self.dir).map_err(RuntimeError::io(format!("remove {}", self.dir.display())))
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
        let living = Incarnation::create(state.path(), Incarnation::new_id().unwrap()).unwrap();
        let workspace = work.path().join("workspace-1");
        living.remember(1, &workspace).unwrap();
        let cleaner = Cleaner { image: "sha256:1".into(), directory: "/w".into() };
        living.remember_cleaner(1, &cleaner).unwrap();
        assert!(Dead::find(state.path(), &living.id).unwrap().is_none());
        let id = living.id.clone();
        drop(living);
        assert_eq!(all(state.path()), [id.as_str()]);
        let dead = Dead::find(state.path(), &id).unwrap().unwrap();
        assert!(Dead::find(state.path(), &id).unwrap().is_none(), "it is being buried");
        assert!(dead.had_jobs());
        assert_eq!(dead.workspaces(), [(workspace, Some(cleaner))]);
        dead.bury().unwrap();
        assert!(!exists(state.path(), &id));
        drop(dead);
        let again = Dead::find(state.path(), &id).unwrap().unwrap();
        assert!(!again.had_jobs());
        again.bury().unwrap();
    }
}
