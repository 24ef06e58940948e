//! What one agent keeps on this host while it lives, and how it is removed when it died.
//!
//! Each start of an agent has a directory with a locked file: the kernel drops the lock with the
//! process, whoever killed it. Everything of that start carries its number.

use super::own_processes;
use super::remove::remove_tree;
use super::users;
use crate::cgroup::{Directories, Group, Hierarchies};
use crate::{HostPrograms, Reaped, RuntimeError, user_namespace};
use rustix::fs::{FlockOperation, flock};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const INSTANCES: &str = "instances";
const LOCK: &str = "lock";
const VOLUMES: &str = "volumes";
const SANDBOXES: &str = "sandboxes";
/// Names the groups that hold those of its sandboxes.
const GROUPS: &str = "groups";
/// Bytes of randomness in a name.
const ID_BYTES: usize = 4;
/// How often it is looked whether somebody else is done.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The group that holds those of all sandboxes of `owner`.
pub(super) fn parent_group(owner: &str) -> String {
    format!("executor-{owner}")
}

/// One start of an agent.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) id: String,
    dir: PathBuf,
    lock: Arc<File>,
}

impl Instance {
    /// The name of another one.
    pub(super) fn new_id() -> io::Result<String> {
        let mut random = [0; ID_BYTES];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        Ok(hex::encode(random))
    }

    /// The one called `id`, whose sandboxes have their groups in `groups`.
    pub(super) fn create(state_dir: &Path, id: String, groups: &Directories) -> io::Result<Self> {
        let instances = state_dir.join(INSTANCES);
        private_dirs(&instances)?;
        // Between these two a directory is there that nobody has locked.
        let gate = gate(state_dir)?;
        // Half of one, as on a disk that is full, goes again.
        let whole = tempfile::Builder::new().prefix(&id).rand_bytes(0).tempdir_in(&instances)?;
        let dir = whole.path().to_owned();
        let lock = File::create(dir.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        drop(gate);
        let made = Self { id, dir, lock: Arc::new(lock) };
        fs::write(made.dir.join(GROUPS), groups.to_record())?;
        for path in [made.volumes(), made.sandboxes(), made.runtime_state(), made.here()] {
            fs::create_dir(path)?;
        }
        // A mount of its own, so that a step's namespace can let go of all jobs' disks at once.
        mount_bind(made.volumes(), made.volumes())?;
        mount_change(made.volumes(), MountPropagationFlags::PRIVATE)?;
        let _ = whole.keep();
        Ok(made)
    }

    /// How programs on this host are started for its sandboxes.
    pub(super) fn programs(&self) -> HostPrograms {
        HostPrograms::holding(&self.lock)
    }

    /// Gone when nothing of it runs any more.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where volumes are mounted.
    pub(super) fn volumes(&self) -> PathBuf {
        self.dir.join(VOLUMES)
    }

    /// Where bundles are kept, by sandbox.
    pub(super) fn sandboxes(&self) -> PathBuf {
        self.dir.join(SANDBOXES)
    }

    /// The OCI runtime's own state.
    pub(super) fn runtime_state(&self) -> PathBuf {
        self.dir.join("runtime")
    }

    /// Where each step sees its volume, in its own mount namespace.
    pub(super) fn here(&self) -> PathBuf {
        self.dir.join("here")
    }

    /// The name of sandbox number `number`, unique on this host.
    pub(super) fn sandbox_id(&self, number: u64) -> String {
        format!("{}.{number}", self.id)
    }
}

/// Held while an instance's directory is made or judged to be nobody's. Given back by dropping.
fn gate(state_dir: &Path) -> io::Result<File> {
    let gate = File::open(state_dir.join(INSTANCES))?;
    flock(&gate, FlockOperation::LockExclusive)?;
    Ok(gate)
}

fn private_dirs(path: &Path) -> io::Result<()> {
    // Set-user-id files of jobs lie below: nobody else on this host may reach them.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes what dead agents left. Agents that live, and `own`, are left alone.
pub(super) async fn reap(
    state_dir: &Path,
    owner: &str,
    host: &Hierarchies,
    own: Option<&str>,
) -> Result<Reaped, RuntimeError> {
    let mut reaped = Reaped::default();
    let entries = match fs::read_dir(state_dir.join(INSTANCES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(reaped),
        result => result.map_err(RuntimeError::io(format!("list {}", state_dir.display())))?,
    };
    for entry in entries.filter_map(Result::ok) {
        let Ok(id) = entry.file_name().into_string() else { continue };
        if own == Some(&id) {
            continue;
        }
        reaped.sandboxes += remove(state_dir, owner, &id, host).await?;
    }
    Ok(reaped)
}

/// Removes everything of one start of an agent, unless that agent lives. Returns how many
/// sandboxes there were.
pub(super) async fn remove(
    state_dir: &Path,
    owner: &str,
    id: &str,
    host: &Hierarchies,
) -> Result<usize, RuntimeError> {
    let dir = state_dir.join(INSTANCES).join(id);
    let gate = gate(state_dir).map_err(RuntimeError::io(format!("lock {}", state_dir.display())))?;
    let _lock = match File::open(dir.join(LOCK)) {
        Ok(lock) if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() => return Ok(0),
        Ok(lock) => Some(lock),
        // Another has just removed it, or the agent died before it had a lock.
        Err(_) => None,
    };
    drop(gate);
    let context = || RuntimeError::io(format!("remove {}", dir.display()));
    let Some(_turn) = turn(&dir).await.map_err(context())? else { return Ok(0) };
    if user_namespace::is_inside() {
        own_processes::end_all_of(&dir);
    }
    let bundles = fs::read_dir(dir.join(SANDBOXES)).map_or(0, Iterator::count);
    let mut sandboxes = 0;
    let prefix = format!("{id}.");
    // It may have been of another unit, and one of an earlier release did not write down where its groups are.
    let written = fs::read_to_string(dir.join(GROUPS)).ok().map(|text| Directories::of_record(&text));
    for parent in written.into_iter().chain([host.below(&parent_group(owner))]) {
        for (name, group) in Group::existing(&parent) {
            if name.starts_with(&prefix) {
                let context = || RuntimeError::io(format!("end the sandbox {name} of a dead agent"));
                group.kill().await.map_err(context())?;
                group.remove().await.map_err(context())?;
                sandboxes += 1;
            }
        }
        Group::remove_parent(&parent);
    }
    // Mounted only where the dead agent's mounts are still seen, as in its guardian.
    let _ = unmount(dir.join(VOLUMES), UnmountFlags::DETACH);
    remove_tree(&dir).map_err(context())?;
    users::give_back_all(&dir);
    // Where there are no control groups.
    Ok(sandboxes.max(bundles))
}

/// Waits until nobody else removes `dir`, as a guardian and the next agent may at the same time; `None` if it is
/// gone then.
async fn turn(dir: &Path) -> io::Result<Option<File>> {
    let turn = match File::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    while flock(&turn, FlockOperation::NonBlockingLockExclusive).is_err() {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(dir.exists().then_some(turn))
}

/// How many starts have left something in `state_dir` and live no more. Changes nothing.
pub fn dead(state_dir: &Path) -> usize {
    let entries = fs::read_dir(state_dir.join(INSTANCES)).into_iter().flatten().filter_map(Result::ok);
    let is_dead = |lock: File| flock(&lock, FlockOperation::NonBlockingLockShared).is_ok();
    entries.filter(|entry| File::open(entry.path().join(LOCK)).is_ok_and(is_dead)).count()
}

/// Whether there is still something of that start.
pub(super) fn exists(state_dir: &Path, id: &str) -> bool {
    state_dir.join(INSTANCES).join(id).exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    /// A guardian, and the agents that come after its own, see the same directory.
    #[test]
    fn those_that_remove_the_same_do_not_hinder_each_other() {
        let state = tempfile::tempdir().unwrap();
        let host = Hierarchies::detect().unwrap();
        let dir = state.path().join(INSTANCES).join("dead");
        for round in 0..5 {
            for number in 0..50 {
                fs::create_dir_all(dir.join(SANDBOXES).join(format!("{round}.{number}"))).unwrap();
            }
            std::thread::scope(|scope| {
                let remove = || {
                    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    tokio.block_on(remove(state.path(), "nobody-at-all", "dead", &host)).unwrap();
                };
                for _ in 0..3 {
                    scope.spawn(remove);
                }
            });
            assert!(!dir.exists());
        }
    }

    #[tokio::test]
    async fn the_groups_of_an_agent_of_another_unit_are_found() {
        let test = "oci::instance::tests::the_groups_of_an_agent_of_another_unit_are_found";
        let host = Hierarchies::detect().unwrap();
        let unit = format!("executor-of-another-unit-{}", std::process::id());
        let (Ok(dead), Ok(alive)) =
            (Group::create(&host, &unit, "dead.0"), Group::create(&host, &unit, "alive.0"))
        else {
            return testkit::missing_part(test, "the right to make control groups");
        };
        let mut process = Command::new("sleep").arg("600").spawn().unwrap();
        for group in dead.directories() {
            fs::write(group.join("cgroup.procs"), process.id().to_string()).unwrap();
        }
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join(INSTANCES).join("dead");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(GROUPS), host.below(&unit).to_record()).unwrap();
        let removed = remove(state.path(), "nobody-at-all", "dead", &host).await;
        let (groups, others) = (dead.directories(), alive.directories());
        alive.remove().await.unwrap();
        Group::remove_parent(&host.below(&unit));
        assert_eq!(removed.unwrap(), 1);
        assert_eq!(process.wait().unwrap().signal(), Some(9));
        assert!(!groups.iter().any(|group| group.exists()) && !dir.exists());
        assert!(!others.iter().any(|group| group.exists()), "nothing of the test stays either");
    }
}
