//! From the agent to the OCI runtime: a process that gets ready before there is anything to do.
//!
//! Entering a control group, and mounting the first of its file systems, can cost the kernel ten
//! milliseconds each. So a process of our own goes to the job's [`Place`] ahead, into its control
//! groups and into a mount namespace that ends with the step, and waits there for a [`Plan`] on its
//! standard input. Then it mounts the step's root file system and becomes the OCI runtime, or
//! [keeps](super::keeper) a step whose runtime leaves. Its standard output and error are the step's.
//!
//! It is started as a program, which is told its place as an argument; or it is a copy of a process that
//! had one thread, [made ahead](LauncherAhead), and hears of its place on its standard input before all else.

mod additional;
mod plan;

pub(super) use plan::{Entered, Place, Plan, Shown};

use super::idmap::mount_mapped;
use super::own_processes::Inside;
use super::root::WORKSPACE;
use super::{Helper, cwd, keeper, own_processes, stages};
use crate::fork::{copy_for, heed_requests, settle};
use crate::private_mounts::sealed_mounts;
use rustix::fs::{FsWord, Mode, OFlags, open, statfs};
use rustix::io::ioctl_fionread;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ffi::{CStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

/// What the kernel calls version 2 of control groups among file systems.
const CGROUP2_SUPER_MAGIC: FsWord = 0x6367_7270;
/// What [`super::helper_main`] calls this.
pub(super) const ROLE: &str = "launch";
/// A copy's name among processes.
const NAME: &CStr = c"launcher";
/// Bytes of what a copy is told of its place: some paths.
const LONGEST_PLACE: u32 = 32 << 10;
/// What the launcher ends with when it could not become the runtime.
pub(super) const FAILED: u8 = 125;
/// A launcher that was made ahead has nothing left to do but to read its plan. One that does not in
/// this time is stopped, or stuck on its way to its place.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// A process that waits for a plan.
#[derive(Debug)]
pub(super) struct Launcher {
    child: Child,
}

/// A launcher that was made while there was one thread, for the first who needs one. All clones are the same.
#[derive(Debug, Clone, Default)]
pub struct LauncherAhead(Arc<Mutex<Option<Launcher>>>);

impl LauncherAhead {
    /// Makes one, as a copy of this process: call it in a tokio runtime, while there is one thread, and after this
    /// process has got [mounts of its own](crate::private_mounts). Without one, launchers are started as programs,
    /// which costs some memory and time more. It leaves with this process.
    pub fn copy() -> io::Result<Self> {
        let mut command = Command::new("a copy");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        copy_for(command.as_std_mut(), live_as_copy)?;
        Ok(Self(Arc::new(Mutex::new(Some(Launcher { child: command.spawn()? })))))
    }

    fn take(&self) -> Option<Launcher> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Launcher {
    /// One that goes to its place by itself: the one that was made ahead, or a new one.
    pub(super) fn go(helper: &Helper, place: &Place) -> io::Result<Self> {
        // One that splits is known by its arguments to whoever has to end it.
        let ahead = if place.own_processes { None } else { helper.launcher.take() };
        match ahead.map(|ahead| ahead.send_to(place)) {
            Some(Ok(sent)) => Ok(sent),
            _ => Self::spawn(helper, place),
        }
    }

    fn send_to(self, place: &Place) -> io::Result<Self> {
        let place = serde_json::to_vec(place)?;
        let length = u32::try_from(place.len()).ok().filter(|length| *length <= LONGEST_PLACE);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        let told = [length.to_ne_bytes().as_slice(), &place].concat();
        let stdin = self.child.stdin.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        // An empty pipe takes it at once.
        if rustix::io::write(stdin, &told)? == told.len() {
            Ok(self)
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn spawn(helper: &Helper, place: &Place) -> io::Result<Self> {
        let child = Command::new(&helper.program)
            .args(&helper.args)
            .arg(ROLE)
            .arg(serde_json::to_string(place)?)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child })
    }

    /// Lets it go. From now on it is the step.
    pub(super) async fn start(mut self, plan: &Plan) -> io::Result<Started> {
        // As text of its form, this holds no other line's end.
        let mut line = serde_json::to_vec(plan)?;
        line.push(b'\n');
        let mut pipe =
            self.child.stdin.take().ok_or_else(|| io::Error::other("the launcher was started before"))?;
        // What does not fit the pipe needs a reader; whether there is one is seen later.
        let written = tokio::time::timeout(PATIENCE, pipe.write_all(&line)).await;
        written.unwrap_or(Ok(()))?;
        Ok(Started { child: self.child, pipe })
    }
}

/// A launcher that was given its plan.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) child: Child,
    pipe: ChildStdin,
}

impl Started {
    /// Whether the plan was read. If it was not, nothing of it has happened.
    pub(super) fn has_plan(&self) -> bool {
        has_read(&self.pipe)
    }

    /// The process, and what ends if it has not read its plan in time and nobody wants it to `stop`.
    pub(super) fn parts(&mut self, stop: &CancellationToken) -> (&mut Child, impl Future<Output = ()>) {
        let (pipe, process) = (&self.pipe, self.child.id());
        let deaf = async move {
            tokio::time::sleep(PATIENCE).await;
            let wanted = !stop.is_cancelled();
            if wanted && has_read(pipe) {
                // It may have begun and can't be replaced any more. If somebody stopped it, it goes on.
                let inside = process.and_then(Inside::of).map(|inside| inside.first());
                process.into_iter().chain(inside).for_each(continue_stopped);
            }
            if !wanted || has_read(pipe) {
                std::future::pending::<()>().await;
            }
        };
        (&mut self.child, deaf)
    }
}

/// Whether nothing is left in the pipe.
fn has_read(pipe: &ChildStdin) -> bool {
    ioctl_fionread(pipe).is_ok_and(|unread| unread == 0)
}

/// Lets a child that was stopped go on.
fn continue_stopped(child: u32) {
    let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    let is_stopped = stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'));
    if let Some(pid) = Pid::from_raw(child.cast_signed()).filter(|_| is_stopped) {
        tracing::warn!(process = child, "a process that starts a step was stopped; it is told to go on");
        let _ = kill_process(pid, Signal::CONT);
    }
}

/// The life of a launcher that was started as a program. Returns only when it did not become the runtime.
pub(super) fn main(mut args: impl Iterator<Item = OsString>) -> u8 {
    let place = args.next().and_then(|place| serde_json::from_slice(place.as_encoded_bytes()).ok());
    live(place)
}

/// The same of one that is a copy.
fn live_as_copy() -> u8 {
    // It may be a copy of a process that did not want to hear them; the step does.
    heed_requests();
    match settle(NAME).and_then(|()| hear_place()) {
        Ok(place) => live(serde_json::from_slice(&place).ok()),
        // Whoever made it is gone, or does not need it.
        Err(_) => FAILED,
    }
}

/// Reads nothing but the place: what is still in the pipe later tells that the plan was not read.
fn hear_place() -> io::Result<Vec<u8>> {
    let mut stdin = File::from(rustix::stdio::stdin().try_clone_to_owned()?);
    let mut length = [0; size_of::<u32>()];
    stdin.read_exact(&mut length)?;
    let length = u32::from_ne_bytes(length).min(LONGEST_PLACE);
    let mut place = vec![0; length as usize];
    stdin.read_exact(&mut place)?;
    Ok(place)
}

fn live(place: Option<Place>) -> u8 {
    let split = match &place {
        Some(place) if place.own_processes => own_processes::split(),
        _ => Ok(None),
    };
    if let Ok(Some(ended)) = split {
        return ended;
    }
    let arrived = split
        .and(place.ok_or_else(|| io::Error::other("the launcher was not told its place")))
        .and_then(arrive);
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    let Ok(plan) = serde_json::from_str::<Plan>(&line) else {
        // The agent is gone, or does not need this launcher.
        return FAILED;
    };
    stages::note(plan.stages.as_deref(), stages::PLAN_READ);
    let ended = arrived.and(read).and_then(|_| launch(&plan));
    ended.unwrap_or_else(|why| {
        report(&plan.log, "error", &why.to_string());
        FAILED
    })
}

/// Goes where the step will run.
#[expect(clippy::needless_pass_by_value, reason = "used as a function in and_then")]
fn arrive(place: Place) -> io::Result<()> {
    let Place { groups, volumes, volume, here, layers, unify_cgroups, network, own_processes } = &place;
    groups.iter().try_for_each(|group| enter(group))?;
    context("leave the host's mounts", Path::new("/"), sealed_mounts())?;
    context("bind the job's disk at", here, mount_bind(volume, here))?;
    context("let go of other jobs' disks at", volumes, unmount(volumes, UnmountFlags::DETACH))?;
    if let Some(network) = network {
        context("enter the network namespace", &network.namespace, enter_network(network))?;
    }
    if let Some(layers) = layers {
        context("show layers at", &layers.at, show(layers))?;
    }
    let at = Path::new("/sys/fs/cgroup");
    // A hierarchy is not mounted on top of itself.
    if *unify_cgroups && !is_version_2(at) {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        if *own_processes {
            own_processes::take_groups_for_roots()?;
        }
        context("mount control groups at", at, mount(c"cgroup2", at, c"cgroup2", flags, None))?;
    }
    if *own_processes {
        context("mount", Path::new("/proc"), own_processes::show())?;
    }
    Ok(())
}

fn show(layers: &Shown) -> io::Result<()> {
    let users = File::open(&layers.users)?;
    mount_mapped(&layers.from, &layers.at, users.as_fd())
}

fn is_version_2(mounted: &Path) -> bool {
    statfs(mounted).is_ok_and(|found| found.f_type == CGROUP2_SUPER_MAGIC)
}

fn enter_network(network: &Entered) -> io::Result<()> {
    let namespace = std::fs::File::open(&network.namespace)?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    let Some(system) = &network.system else { return Ok(()) };
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    Ok(mount(c"sysfs", system, c"sysfs", flags, None)?)
}

fn enter(group: &Path) -> io::Result<()> {
    context("enter the control group", group, std::fs::write(group.join("cgroup.procs"), "0"))
}

/// Becomes the runtime, or keeps the step when the runtime leaves.
fn launch(plan: &Plan) -> io::Result<u8> {
    prepare(plan)?;
    stages::note(plan.stages.as_deref(), stages::ROOT_MOUNTED);
    let mut command = std::process::Command::new(&plan.program);
    command.args(&plan.arguments).env_clear();
    let ended = match &plan.pid_file {
        Some(pid_file) => keeper::keep(&mut command, pid_file, &plan.log),
        None => Err(command.exec()),
    };
    context("run", &plan.program, ended)
}

fn prepare(plan: &Plan) -> io::Result<()> {
    let root = plan.here.join(&plan.root);
    context("mount the root file system at", &root, mount_root(plan, &root))?;
    additional::mount_all(&plan.additional, &root, plan.owner, plan.users.as_deref())?;
    if let Some(directory) = &plan.make_cwd {
        context(
            "make the directory",
            directory,
            cwd::make(&root, &plan.here.join(WORKSPACE), directory, plan.owner),
        )?;
    }
    // A runtime gives its streams to the step's user. The host's /dev/null is not ours to give away.
    let (nothing, _) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::stdio::dup2_stdin(&nothing)?;
    Ok(())
}

fn mount_root(plan: &Plan, root: &Path) -> io::Result<()> {
    let skeleton = plan.here.join(&plan.skeleton);
    let lower = std::iter::once(&skeleton)
        .chain(&plan.layers)
        .map(|path| directory(path))
        .collect::<Result<Vec<_>, _>>()?;
    let upper = directory(&plan.here.join(&plan.upper))?;
    let work = directory(&plan.here.join(&plan.work))?;
    // Options must fit a page, and paths may hold the characters that separate them: name the
    // directories by the numbers of their descriptors.
    std::env::set_current_dir("/proc/self/fd")?;
    let numbers: Vec<String> = lower.iter().map(|layer| layer.as_raw_fd().to_string()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={},index=off,{},xino=off",
        numbers.join(":"),
        upper.as_raw_fd(),
        work.as_raw_fd(),
        // The first turns the others off.
        if plan.ordinary { "userxattr" } else { "metacopy=off,redirect_dir=off" }
    );
    // Nothing of a root file system is read after its step: don't write it out at the end.
    let mounted = overlay(root, &format!("{options},volatile")).or_else(|_| overlay(root, &options));
    std::env::set_current_dir("/")?;
    mounted
}

fn overlay(root: &Path, options: &str) -> io::Result<()> {
    let options = std::ffi::CString::new(options)?;
    mount(c"overlay", root, c"overlay", MountFlags::NOSUID | MountFlags::NODEV, options.as_c_str())?;
    Ok(())
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    let opened = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    context("open", path, opened)
}

fn context<T, E: Into<io::Error>>(what: &str, path: &Path, result: Result<T, E>) -> io::Result<T> {
    result.map_err(|error| {
        let error = error.into();
        io::Error::new(error.kind(), format!("failed to {what} {}: {error}", path.display()))
    })
}

/// Adds a line to the runtime's log.
pub(super) fn report(log: &Path, level: &str, message: &str) {
    let line = serde_json::json!({ "level": level, "msg": message });
    let file = File::options().create(true).append(true).open(log);
    // There is nobody else to tell: the standard streams are the job's.
    let _ = file.and_then(|mut file| writeln!(file, "{line}"));
}
