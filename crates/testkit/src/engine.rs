//! A real container engine for tests: in namespaces of its own, stopped when nobody uses it any more.

mod system;

use crate::image::{Archive, digest};
use crate::{have_root, missing_part};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const KEEPER: &str = concat!(include_str!("engine/enter.sh"), include_str!("engine/keeper.sh"));
/// gVisor's own network does not begin in every virtual machine.
const DOCKER_SETTINGS: &str =
    r#"{"runtimes": {"runsc": {"path": "runsc", "runtimeArgs": ["--network=none"]}}}"#;
const DOCKER_SETTINGS_FILE: &str = "daemon.json";
/// Podman asks for more open files than root may have where it lacks `CAP_SYS_RESOURCE`.
const FEW_FILES: &str = r#"#!/bin/sh
for argument; do
    if [ "${before:-}" = --bundle ]; then
        sed -i -E 's/("type":"RLIMIT_(NOFILE|NPROC)","hard":)[0-9]+(,"soft":)[0-9]+/\11024\31024/g' "$argument/config.json"
    fi
    before=$argument
done
exec runc "$@"
"#;
const FEW_FILES_RUNC: &str = "few-files-runc";
/// Bytes of a disk of an engine's own; XFS takes no less than 300 MiB.
const XFS_DISK: u64 = 1 << 30;
/// How long an engine may take to be ready.
const READY_LIMIT: Duration = Duration::from_mins(1);

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// `dockerd`, of Debian's `docker.io`.
    Docker,
    /// `podman system service`.
    Podman,
}

/// An engine that runs as long as somebody has one of these.
#[derive(Debug)]
pub struct Engine {
    kind: EngineKind,
    dir: PathBuf,
    _user: File,
}

impl Engine {
    /// The one that all tests of this program share. `None` when a part is missing, which is told.
    pub fn shared(test: &str, kind: EngineKind) -> Option<Self> {
        Self::at(test, kind, &format!("{}-{}", kind.name(), system::key()), |_| {})
    }

    /// One that nobody else uses.
    pub fn own(test: &str, kind: EngineKind) -> Option<Self> {
        Self::own_prepared(test, kind, |_| {})
    }

    /// The same, keeping its images and containers on a disk of XFS.
    pub fn on_xfs(test: &str, kind: EngineKind) -> Option<Self> {
        if !here("mkfs.xfs") {
            missing_part(test, "mkfs.xfs");
            return None;
        }
        Self::own_prepared(test, kind, |dir| {
            let image = dir.join("data.img");
            let file = File::create(&image).expect("a file");
            file.set_len(XFS_DISK).expect("its length is set");
            let made = Command::new("mkfs.xfs").arg("-q").arg(image).status().expect("mkfs.xfs runs");
            assert!(made.success(), "{made}");
        })
    }

    /// The same, keeping its images and containers in a directory of the caller's.
    pub fn with_root(test: &str, kind: EngineKind, root: &Path) -> Option<Self> {
        Self::own_prepared(test, kind, |dir| {
            std::os::unix::fs::symlink(root, dir.join("data")).expect("a link");
        })
    }

    fn own_prepared(test: &str, kind: EngineKind, prepare: impl FnOnce(&Path)) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self::at(test, kind, &format!("{}-own-{}-{number}", kind.name(), std::process::id()), prepare)
    }

    fn at(test: &str, kind: EngineKind, name: &str, prepare: impl FnOnce(&Path)) -> Option<Self> {
        let engine = [kind.program(), "docker", "flock", "ip"].map(|part| (system::has(part), part));
        for (there, part) in engine.into_iter().chain([(here("unshare"), "unshare"), (have_root(), "root")]) {
            if !there {
                missing_part(test, part);
                return None;
            }
        }
        let dir = std::env::temp_dir().join(format!("executor-engine-{name}"));
        let gate = lock_gate(&dir.with_extension("gate"));
        if !is_running(&dir) {
            start(kind, &dir, prepare);
        }
        let user = users(&dir);
        user.lock_shared().expect("a lock");
        let engine = Self { kind, dir, _user: user };
        engine.wait_until_ready();
        drop(gate);
        Some(engine)
    }

    /// Which it is.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    /// What `DOCKER_HOST` is for it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.join("docker.sock").display())
    }

    /// Its own files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Docker's client, as old or new as the engine, without the settings of whoever runs the tests. It finds files
    /// where temporary ones are, and no others.
    pub fn client(&self) -> Command {
        let mut command = system::program("docker", &self.keeper());
        command.env("DOCKER_CONFIG", &self.dir);
        command
    }

    /// A command of Docker's client.
    pub fn docker(&self, args: &[&str]) -> Command {
        let mut command = self.client();
        command.env("DOCKER_HOST", self.host()).args(args);
        command
    }

    /// What a command of Docker's client, which must work, writes.
    pub fn told(&self, args: &[&str]) -> String {
        let output = self.docker(args).output().expect("docker runs");
        let (said, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "docker {args:?}: {stderr}");
        said.trim().to_owned()
    }

    /// Gives it an image as `name`.
    pub fn load(&self, name: &str, image: &Archive) {
        let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let name = if has_tag { name } else { &format!("{name}:latest") };
        let file = tempfile::NamedTempFile::new().expect("a file");
        // Podman takes a name without a registry for one of its own, and stays with that when another is to have it.
        let is_podman = self.kind == EngineKind::Podman;
        let saved = if is_podman { image.docker() } else { image.docker_named(name) };
        fs::write(file.path(), saved).expect("the archive is written");
        let path = file.path().to_str().expect("a plain path");
        self.told(&["load", "--quiet", "--input", path]);
        if is_podman {
            self.told(&["tag", &digest(&image.config()), name]);
        }
    }

    /// Whether it tells images that were loaded from those that were pulled. Podman does not, nor does Docker where
    /// containerd keeps them.
    pub fn knows_what_was_loaded(&self) -> bool {
        let storage = || self.told(&["info", "--format", "{{.DriverStatus}}"]);
        self.kind == EngineKind::Docker && !storage().contains("io.containerd.snapshotter")
    }

    /// A command in its network.
    pub fn in_network(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg(program);
        command
    }

    /// The engine's process.
    pub fn pid(&self) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", self.keeper());
        let children = fs::read_to_string(children).expect("the keeper runs");
        let is_engine = |pid: &&str| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            [EngineKind::Docker, EngineKind::Podman].iter().any(|kind| name.trim() == kind.program())
        };
        let pid = children.split_whitespace().find(is_engine).expect("the engine runs");
        pid.parse().expect("a number")
    }

    /// Lets an engine that was killed be started again.
    pub fn start_again(&self) {
        fs::write(self.dir.join("again"), "").expect("a file");
        self.wait_until_ready();
    }

    fn keeper(&self) -> String {
        let keeper = fs::read_to_string(self.dir.join("keeper.pid")).expect("the keeper runs");
        keeper.trim().to_owned()
    }

    fn wait_until_ready(&self) {
        let begun = Instant::now();
        while !self.docker(&["version"]).output().is_ok_and(|output| output.status.success()) {
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            assert!(begun.elapsed() < READY_LIMIT, "the engine is not ready: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl EngineKind {
    fn name(self) -> &'static str {
        self.program()
    }

    fn program(self) -> &'static str {
        match self {
            Self::Docker => "dockerd",
            Self::Podman => "podman",
        }
    }

    /// Its command line, with everything that it keeps in `dir`.
    fn command(self, dir: &Path) -> Vec<String> {
        let at = |name: &str| dir.join(name).display().to_string();
        let group = format!("/{}", dir.file_name().unwrap_or_default().display());
        let socket = format!("unix://{}", at("docker.sock"));
        let own = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect();
        match self {
            Self::Docker => {
                let mut command: Vec<String> =
                    own(&["dockerd", "--host", &socket, "--data-root", &at("data")]);
                command.extend(own(&[
                    "--exec-root",
                    &at("exec"),
                    "--pidfile",
                    &at("pid"),
                    "--cgroup-parent",
                    &group,
                ]));
                command.extend(own(&["--config-file", &at(DOCKER_SETTINGS_FILE)]));
                command
            }
            Self::Podman => {
                let mut command: Vec<String> =
                    own(&["podman", "--root", &at("data"), "--runroot", &at("exec")]);
                command.extend(own(&[
                    "--tmpdir",
                    &at("tmp"),
                    "--cgroup-manager",
                    "cgroupfs",
                    "--runtime",
                    &at(FEW_FILES_RUNC),
                ]));
                command.extend(own(&["system", "service", "--time", "0", &socket]));
                command
            }
        }
    }
}

#[expect(clippy::zombie_processes, reason = "it outlives this program")]
fn start(kind: EngineKind, dir: &Path, prepare: impl FnOnce(&Path)) {
    // One whose keeper was killed.
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).expect("a directory");
    prepare(dir);
    let script = dir.join("keeper.sh");
    fs::write(&script, KEEPER).expect("the script is written");
    fs::write(dir.join(DOCKER_SETTINGS_FILE), system::settings(DOCKER_SETTINGS)).expect("they are written");
    if let Some(system) = system::other() {
        std::os::unix::fs::symlink(system, dir.join("system")).expect("a link");
    }
    let runtime = dir.join(FEW_FILES_RUNC);
    fs::write(&runtime, FEW_FILES).expect("the runtime is written");
    fs::set_permissions(runtime, fs::Permissions::from_mode(0o755)).expect("its mode is set");
    let quiet = || Stdio::null();
    let keeper = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "slave", "/bin/sh"])
        .arg(script)
        .arg(dir)
        .args(kind.command(dir))
        .stdin(quiet())
        .stdout(quiet())
        .stderr(quiet())
        // It outlives the test that starts it.
        .process_group(0)
        .spawn()
        .expect("the keeper starts");
    fs::write(dir.join("keeper.pid"), keeper.id().to_string()).expect("a file");
}

/// Whether its keeper lives.
fn is_running(dir: &Path) -> bool {
    let Ok(pid) = fs::read_to_string(dir.join("keeper.pid")) else { return false };
    let line = fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
    String::from_utf8_lossy(&line).contains(&*dir.to_string_lossy())
}

fn users(dir: &Path) -> File {
    File::options().create(true).append(true).open(dir.join("users")).expect("a file")
}

/// Locks a file that whoever holds the lock may remove.
fn lock_gate(path: &Path) -> File {
    loop {
        let gate = File::options().create(true).append(true).open(path).expect("a file");
        gate.lock().expect("a lock");
        let inode = |meta: io::Result<fs::Metadata>| meta.ok().map(|meta| meta.ino());
        if inode(gate.metadata()) == inode(fs::metadata(path)) {
            return gate;
        }
    }
}

fn here(program: &str) -> bool {
    system::has_below(Path::new("/"), program)
}
