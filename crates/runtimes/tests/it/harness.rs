//! A runtime of its own for each test, and a look afterwards whether anything is left.

use crate::ordinary;
use images::{ImageStore, Progress, Reference, RegistryCredentials};
use runtimes::oci::{Helper, NetworkOptions, OciOptions, OciRuntime, OwnUsers};
use runtimes::{
    Exit, ExitStatus, Limits, Output, PrivateMounts, Runtime, RuntimeError, Sandbox, SandboxSpec, Step,
    Stream, private_mounts,
};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::image::Archive;
use testkit::{Engine, EngineKind};
use tokio_util::sync::CancellationToken;

/// How long whatever is left may take to go: what removes it is a process among all that a busy host has.
pub(crate) const GONE_LIMIT: Duration = Duration::from_secs(30);
pub(crate) const IMAGE: &str = "busybox:test";
pub(crate) const SPARE_DISK: u64 = 64 << 20;

/// What a test works with.
pub(crate) struct Bench {
    pub(crate) runtime: Box<dyn Runtime>,
    pub(crate) images: Images,
    pub(crate) dir: PathBuf,
    pub(crate) owner: String,
    pub(crate) family: &'static str,
    /// Whether jobs have users of their own.
    pub(crate) users: OwnUsers,
    /// What jobs have for a network.
    pub(crate) network: NetworkOptions,
    /// None for an engine, which mounts by itself.
    pub(crate) mounts: Option<PrivateMounts>,
}

/// Where images are kept.
pub(crate) enum Images {
    Store(Arc<ImageStore>),
    Engine(Engine),
}

/// What follows a family's name where jobs have the host's users.
const WITH_HOSTS_USERS: &str = "_host";

/// What follows a family's name where an ordinary user runs it.
const OF_ORDINARY_USER: &str = "_ordinary";

/// Runs a test on a thread whose mounts are its own, as those of the executor are.
pub(crate) fn run(name: &str, family: &'static str, test: impl AsyncFnOnce(&mut Bench)) {
    run_with(name, family, &NetworkOptions::default(), test);
}

/// The same where jobs have such a network.
pub(crate) fn run_with(
    name: &str,
    family: &'static str,
    network: &NetworkOptions,
    test: impl AsyncFnOnce(&mut Bench),
) {
    match family {
        "docker" => return crate::engine::run(name, EngineKind::Docker, test),
        "podman" => return crate::engine::run(name, EngineKind::Podman, test),
        _ => {}
    }
    if let Some(family) = family.strip_suffix(OF_ORDINARY_USER) {
        return crate::ordinary::run(name, family, network, test);
    }
    let users = if family.ends_with(WITH_HOSTS_USERS) { OwnUsers::Never } else { OwnUsers::Always };
    let family = family.strip_suffix(WITH_HOSTS_USERS).unwrap_or(family);
    for (there, part) in [
        (testkit::have_root(), "root"),
        (find(family).is_some(), family),
        (find("mkfs.ext4").is_some(), "mkfs.ext4"),
        (Path::new("/bin/busybox").exists(), "busybox"),
    ] {
        if !there {
            return testkit::missing_part(name, part);
        }
    }
    run_here(family, users, network, test);
}

/// The same in this process, whoever it is, where all parts are there.
pub(crate) fn run_here(
    family: &'static str,
    users: OwnUsers,
    network: &NetworkOptions,
    test: impl AsyncFnOnce(&mut Bench),
) {
    let mounts = private_mounts().unwrap();
    let tokio = tokio::runtime::Runtime::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut bench = tokio.block_on(async { Bench::new(mounts, dir.path(), (family, users, network)) });
    tokio.block_on(test(&mut bench));
    let Bench { runtime, dir: state, owner, .. } = bench;
    drop(runtime);
    drop(tokio);
    assert_nothing_left(&state, &owner);
}

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let usual = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    crate::ordinary::programs()
        .into_iter()
        .chain(usual.map(PathBuf::from))
        .chain([testkit::guest::cache().join("youki-0.7.0/bin")])
        .map(|directory| directory.join(program))
        .find(|path| path.exists())
}

/// The program of that family.
pub(crate) fn path_of(family: &str) -> String {
    find(family).unwrap().to_str().unwrap().to_owned()
}

pub(crate) fn helper() -> Helper {
    Helper::new(ordinary::helper(), Vec::new())
}

impl Bench {
    fn new(
        mounts: PrivateMounts,
        dir: &Path,
        (family, users, network): (&'static str, OwnUsers, &NetworkOptions),
    ) -> Self {
        let images = Arc::new(ImageStore::open(dir.join("images")).unwrap());
        let archive = testkit::image::busybox_archive(&dir.join("image.tar")).unwrap();
        images.import(&IMAGE.parse::<Reference>().unwrap(), &archive).unwrap();
        // The directory's name is random; numbers of processes come again.
        let unique = dir.file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_lowercase();
        let owner = format!("test-{unique}");
        let options = OciOptions { network: network.clone(), ..options(mounts, dir, &owner, family, users) };
        let runtime = Box::new(OciRuntime::new(options, Arc::clone(&images)).unwrap());
        Self {
            runtime,
            images: Images::Store(images),
            dir: dir.to_owned(),
            owner,
            family,
            users,
            network: network.clone(),
            mounts: Some(mounts),
        }
    }

    /// Of another runtime of the same agent.
    pub(crate) fn options(&self) -> OciOptions {
        let options = options(self.mounts.unwrap(), &self.dir, &self.owner, self.family, self.users);
        OciOptions { network: self.network.clone(), ..options }
    }

    /// Whether an ordinary user runs the sandboxes.
    pub(crate) fn is_of_ordinary_user(&self) -> bool {
        self.mounts.is_some_and(PrivateMounts::of_ordinary_user)
    }

    /// The store of a runtime that has no engine.
    pub(crate) fn store(&self) -> Arc<ImageStore> {
        match &self.images {
            Images::Store(store) => Arc::clone(store),
            Images::Engine(_) => panic!("an engine keeps its images itself"),
        }
    }

    /// The engine of a runtime that has one.
    pub(crate) fn engine(&self) -> &Engine {
        match &self.images {
            Images::Engine(engine) => engine,
            Images::Store(_) => panic!("there is no engine"),
        }
    }

    /// Whether an engine runs the sandboxes, and not we ourselves.
    pub(crate) fn has_engine(&self) -> bool {
        matches!(self.images, Images::Engine(_))
    }

    pub(crate) fn import(&self, name: &str, image: &Archive) {
        let store = match &self.images {
            Images::Store(store) => store,
            Images::Engine(engine) => return engine.load(name, image),
        };
        let archive = self.dir.join("import.tar");
        fs::write(&archive, image.docker()).unwrap();
        store.import(&name.parse::<Reference>().unwrap(), &archive).unwrap();
    }

    pub(crate) async fn open(&self, limits: Limits) -> TestSandbox {
        self.try_open("job-1", limits).await.unwrap()
    }

    pub(crate) async fn try_open(&self, name: &str, limits: Limits) -> Result<TestSandbox, RuntimeError> {
        let spec = SandboxSpec { name: name.into(), limits, credentials: RegistryCredentials::default() };
        Ok(TestSandbox(self.runtime.open(spec).await?))
    }
}

fn options(mounts: PrivateMounts, dir: &Path, owner: &str, family: &str, users: OwnUsers) -> OciOptions {
    let mut options = OciOptions::new(mounts, dir.join("state"), owner, helper());
    options.runtime = Some(path_of(family));
    options.spare_disk = SPARE_DISK;
    options.users = users;
    options
}

/// A sandbox with shorter words.
pub(crate) struct TestSandbox(pub(crate) Box<dyn Sandbox>);

/// What a step did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl TestSandbox {
    /// Runs a shell script, which must succeed, and returns what it wrote.
    pub(crate) async fn sh(&mut self, script: &str) -> String {
        let ran = self.try_sh(script).await;
        assert_eq!(ran.exit.status, ExitStatus::Code(0), "{script}: {ran:?}");
        ran.stdout
    }

    pub(crate) async fn try_sh(&mut self, script: &str) -> Ran {
        self.run(&["sh", "-c", script]).await.unwrap()
    }

    pub(crate) async fn run(&mut self, argv: &[&str]) -> Result<Ran, RuntimeError> {
        self.run_step(step(argv)).await
    }

    pub(crate) async fn run_step(&mut self, step: Step) -> Result<Ran, RuntimeError> {
        let mut kept = Kept::default();
        let exit = self.0.run(step, &mut kept, &CancellationToken::new()).await?;
        Ok(Ran { exit, stdout: text(&kept.stdout), stderr: text(&kept.stderr) })
    }

    pub(crate) fn workspace(&self) -> &Path {
        self.0.workspace()
    }

    pub(crate) async fn close(self) {
        self.0.close().await.unwrap();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn step(argv: &[&str]) -> Step {
    let argv = argv.iter().map(|&argument| argument.to_owned()).collect();
    Step { image: IMAGE.into(), argv, cwd: "/data".into(), ..Step::default() }
}

/// Keeps all output.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

pub(crate) struct NoProgress;

impl Progress for NoProgress {
    fn line(&self, _: &str) {}
}

#[async_trait::async_trait]
impl Output for Kept {
    async fn write(&mut self, stream: Stream, bytes: &[u8]) -> std::io::Result<()> {
        match stream {
            Stream::Stdout => self.stdout.extend_from_slice(bytes),
            Stream::Stderr => self.stderr.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn progress(&self) -> &dyn Progress {
        &NoProgress
    }
}

/// Waits until `found` finds nothing.
pub(crate) fn wait_until_none(what: &str, found: impl Fn() -> Vec<String>) {
    let start = Instant::now();
    loop {
        let left = found();
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < GONE_LIMIT, "{what} left: {left:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// No process, mount, loop device, control group, range of ids or state file of the runtime in `dir`.
pub(crate) fn assert_nothing_left(dir: &Path, owner: &str) {
    let dir = dir.join("state").to_string_lossy().into_owned();
    wait_until_none("processes", || processes_with(&dir));
    wait_until_none("state files", || names_in(&Path::new(&dir).join("instances")));
    // Agents that a test starts have owners whose names begin with its own.
    wait_until_none("control groups", || cgroups_of(owner));
    wait_until_none("mounts", || lines_with("/proc/thread-self/mountinfo", &dir));
    wait_until_none("loop devices", || loops_with(&dir));
    wait_until_none("users", || users_of(&dir));
}

pub(crate) fn processes_with(text: &str) -> Vec<String> {
    let command = |pid: &String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let own = pid == &std::process::id().to_string();
        (!own && (line.contains(text) || mounts.contains(text))).then(|| format!("{pid}: {line}"))
    };
    names_in(Path::new("/proc"))
        .iter()
        .filter(|name| name.parse::<u32>().is_ok())
        .filter_map(command)
        .collect()
}

pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

pub(crate) fn lines_with(file: &str, text: &str) -> Vec<String> {
    let lines = fs::read_to_string(file).unwrap_or_default();
    lines.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

pub(crate) fn loops_with(text: &str) -> Vec<String> {
    names_in(Path::new("/sys/block"))
        .into_iter()
        .filter(|name| !lines_with(&format!("/sys/block/{name}/loop/backing_file"), text).is_empty())
        .collect()
}

/// Ranges of ids that belong to agents with their state in `dir`.
fn users_of(dir: &str) -> Vec<String> {
    let place = Path::new("/run/executor-users");
    let is_of = |name: &String| {
        fs::read(place.join(name)).is_ok_and(|user| String::from_utf8_lossy(&user).starts_with(dir))
    };
    names_in(place).into_iter().filter(is_of).collect()
}

/// Groups of `owner`, and of owners whose names begin with it, in any hierarchy.
pub(crate) fn cgroups_of(owner: &str) -> Vec<String> {
    let prefix = format!("executor-{owner}");
    let below = |dir: PathBuf| names_in(&dir).into_iter().map(move |name| dir.join(name));
    let is_own =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
    let groups = group_directories().into_iter().flat_map(below).filter(is_own);
    groups.map(|path| path.display().to_string()).collect()
}

/// Every directory of every hierarchy down to where tests make their groups.
fn group_directories() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let points =
        mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
    let paths: Vec<&str> = own.lines().filter_map(|line| line.splitn(3, ':').nth(2)).collect();
    points
        .flat_map(|point| paths.iter().map(move |path| Path::new(point).join(path.trim_start_matches('/'))))
        .collect()
}

/// Whether none of the signals that ask a process to end would end this one.
pub(crate) fn outlasts_requests_to_end(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
    let blocked = u64::from_str_radix(blocked.trim(), 16).unwrap();
    let requests = [Signal::HUP, Signal::INT, Signal::TERM, Signal::USR2];
    requests.iter().all(|signal| blocked & 1 << (signal.as_raw() - 1) != 0)
}
