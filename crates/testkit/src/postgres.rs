//! A real PostgreSQL server for one test, gone with it.

use crate::{have_root, missing_part};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where Debian keeps the programs of the versions that we know, which are not all on the path.
const PROGRAMS: [&str; 4] = [
    "/usr/lib/postgresql/18/bin",
    "/usr/lib/postgresql/17/bin",
    "/usr/lib/postgresql/16/bin",
    "/usr/lib/postgresql/15/bin",
];
/// How long a server may take to be ready.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// Who owns it where we are root, as whom it does not run: Debian's `nobody`.
const NOBODY: u32 = 65_534;
/// The socket's name for the only port that is used.
const SOCKET: &str = ".s.PGSQL.5432";

/// Whether what is committed is to survive the loss of power. No test needs it; measurements do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synced {
    /// Every commit waits for the disk.
    Yes,
    /// None does.
    No,
}

/// A server of its own, on a socket of its own.
#[derive(Debug)]
pub struct Postgres {
    dir: TempDir,
    programs: &'static str,
    synced: Synced,
    server: Option<Child>,
}

impl Postgres {
    /// Whether it can be started; says so when it can't.
    pub fn is_installed(test: &str) -> bool {
        let found = programs().is_some();
        if !found {
            missing_part(test, "postgresql");
        }
        found
    }

    /// Starts one. `None` when it is not installed, which is told.
    pub fn start(test: &str) -> Option<Self> {
        Self::start_as(test, Synced::No)
    }

    /// The same, and it is as durable as that.
    pub fn start_as(test: &str, synced: Synced) -> Option<Self> {
        if !Self::is_installed(test) {
            return None;
        }
        let programs = programs()?;
        let dir = tempfile::Builder::new().prefix("executor-postgres-").tempdir().expect("a directory");
        give_away(dir.path());
        let copied = as_owner("cp").arg("-a").arg(template(programs)).arg(dir.path().join("data")).status();
        assert!(copied.is_ok_and(|status| status.success()), "the data directory can't be copied");
        let mut postgres = Self { dir, programs, synced, server: None };
        postgres.restart();
        Some(postgres)
    }

    /// The address of the database that is there from the beginning.
    pub fn url(&self) -> String {
        format!("postgres://executor@localhost/postgres?host={}", self.dir.path().display())
    }

    /// The same, and what is made there or looked for without saying where is in `schema`.
    pub fn url_of_schema(&self, schema: &str) -> String {
        format!("{}&options=-csearch_path%3D{schema}", self.url())
    }

    /// Where it keeps everything, its write-ahead log included.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Ends it at once, as a crash would: without a word to its clients, and without tidying up.
    pub fn crash(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let children = children(server.id());
        // The first process goes first, so that it starts nothing in the place of the others.
        server.kill().expect("the server was running");
        server.wait().expect("the server is gone");
        for child in children {
            let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
        }
    }

    /// Starts it again after a crash.
    ///
    /// # Panics
    ///
    /// When it does not start in time.
    pub fn restart(&mut self) {
        let data = self.data_dir();
        // It ends with the thread that starts it, should this program be killed.
        let mut command = as_owner("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(Path::new(self.programs).join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(self.dir.path()).args(["-h", ""]);
        command.args(["-c", "shared_buffers=64MB", "-c", "max_wal_size=1GB"]);
        // Elsewhere it would be left behind by a crash.
        command.args(["-c", "dynamic_shared_memory_type=mmap"]);
        if self.synced == Synced::No {
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        let log = File::options().create(true).append(true).open(self.log()).expect("a log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // A crash leaves its socket behind, and its processes may hold the data a little longer.
        let begun = Instant::now();
        loop {
            let mut server = command.spawn().expect("postgres can be started");
            if self.becomes_ready(&mut server, begun) {
                self.server = Some(server);
                return;
            }
            assert!(begun.elapsed() < READY_LIMIT, "PostgreSQL does not start: {}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it wrote into its log.
    pub fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    fn becomes_ready(&self, server: &mut Child, begun: Instant) -> bool {
        while begun.elapsed() < READY_LIMIT {
            if server.try_wait().expect("a child can be waited for").is_some() {
                return false;
            }
            if answers(&self.dir.path().join(SOCKET)) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = server.kill();
        let _ = server.wait();
        false
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // What is no file outlives everybody who used it: its id is the last word of this line.
        let told = std::fs::read_to_string(self.data_dir().join("postmaster.pid")).unwrap_or_default();
        let segment = told.lines().nth(6).and_then(|line| line.split_whitespace().last()).map(str::to_owned);
        self.crash();
        if let Some(segment) = segment {
            let _ = Command::new("ipcrm").args(["-m", &segment]).stderr(Stdio::null()).status();
        }
    }
}

fn programs() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|dir| Path::new(dir).join("initdb").exists())
}

/// Whether a server takes requests there: it is asked for encryption, and says no.
fn answers(socket: &Path) -> bool {
    use std::io::Write;
    const ASK: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let mut answer = [0];
    stream.write_all(&ASK).is_ok() && stream.read_exact(&mut answer).is_ok() && startup(stream)
}

/// Whether it is past its recovery: it lets us in.
fn startup(mut stream: UnixStream) -> bool {
    use std::io::Write;
    let words = b"\0\x03\0\0user\0executor\0database\0postgres\0\0";
    let length = u32::try_from(words.len() + 4).expect("a short message");
    let mut answer = [0];
    stream.write_all(&length.to_be_bytes()).is_ok()
        && stream.write_all(words).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"R"
}

/// A data directory that was never used, made once for all tests.
fn template(programs: &str) -> PathBuf {
    let version = programs.split('/').rev().nth(1).unwrap_or_default();
    let user = rustix::process::getuid().as_raw();
    let root = std::env::temp_dir().join(format!("executor-postgres-template-{user}-{version}"));
    let gate = File::options().create(true).write(true).truncate(false).open(root.with_extension("gate"));
    let gate = gate.expect("a lock file");
    gate.lock().expect("a lock");
    let (made, half) = (root.join("data"), root.join("half"));
    if !made.exists() {
        let _ = fs::remove_dir_all(&root);
        fs::create_dir(&root).expect("a directory");
        give_away(&root);
        let mut initdb = as_owner(Path::new(programs).join("initdb"));
        initdb.args(["--no-sync", "--wal-segsize=1", "-U", "executor", "-A", "trust", "-E", "UTF8"]);
        initdb.args(["--locale=C.UTF-8", "-D"]).arg(&half);
        let output = initdb.output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        fs::rename(half, &made).expect("the same directory");
    }
    made
}

/// A command that runs as whom a server may run.
fn as_owner(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if have_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    // It would complain of a directory that it may not enter.
    command.current_dir("/");
    command
}

fn give_away(dir: &Path) {
    if have_root() {
        std::os::unix::fs::chown(dir, Some(NOBODY), Some(NOBODY)).expect("root may");
    }
}

fn children(parent: u32) -> Vec<rustix::process::Pid> {
    let list = format!("/proc/{parent}/task/{parent}/children");
    let list = fs::read_to_string(list).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)).collect()
}
