//! An agent of its own for each test, in front of a scripted stock instance.

use crate::leftovers::{leftovers, nothing_is_left};
use crate::support::{Process, SOON, files_below, text, wait};
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testkit::stock_server::{Record, Request, State, StockServer};

/// The shared secret of every instance here.
pub(crate) const SECRET: &str = "shared-secret-of-the-instance";
/// The first half of every executor's name here.
pub(crate) const HOST: &str = "stock-host";

/// A stock instance and the executor that works for it.
pub(crate) struct Bench {
    agent: Option<Process>,
    pub(crate) server: StockServer,
    /// Below the agent, so that it is removed when nobody writes to it any more.
    pub(crate) dir: TempDir,
}

impl Bench {
    /// A bench without an executor, or a word on why there can be none.
    pub(crate) fn new(test: &str) -> Option<Self> {
        Self::below(test, "")
    }

    /// The same, with an instance whose URL has a path.
    pub(crate) fn below(test: &str, base: &str) -> Option<Self> {
        Self::at(Ipv4Addr::LOCALHOST, test, base)
    }

    /// The same, with an instance at another address of this host.
    pub(crate) fn at(host: Ipv4Addr, test: &str, base: &str) -> Option<Self> {
        if !testkit::have_root() {
            testkit::missing_part(test, "root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("executor-stock-").tempdir().unwrap();
        let archive = dir.path().join("busybox.tar");
        if testkit::image::busybox_archive(&archive).is_none() {
            testkit::missing_part(test, "a static busybox");
            return None;
        }
        let imported = executor(dir.path())
            .args(["image", "import", "--data-dir"])
            .arg(dir.path().join("agent-data"))
            .arg("busybox")
            .arg(archive)
            .output()
            .unwrap();
        assert!(imported.status.success(), "{}", text(&imported));
        Some(Self { agent: None, server: StockServer::start_at(host, SECRET, base), dir })
    }

    /// Starts the executor for one queue, `batches`.
    pub(crate) fn start(&mut self) {
        self.start_with(&[("EXECUTOR_QUEUE_NAME", "batches")]);
    }

    /// Starts the executor with these variables besides; they name its queues.
    pub(crate) fn start_with(&mut self, env: &[(&str, &str)]) {
        let mut command = self.command("run");
        command.envs(env.iter().copied());
        self.start_command(command);
    }

    /// Starts the executor by this command, which another may be around.
    pub(crate) fn start_command(&mut self, mut command: Command) {
        command.stderr(File::create(self.log_path()).unwrap());
        self.agent = Some(Process::start(command, "agent "));
    }

    /// A command of an executor for this instance, all but its queues.
    pub(crate) fn command(&self, name: &str) -> Command {
        let mut command = executor(self.dir.path());
        command
            .arg(name)
            .env("EXECUTOR_FRONTEND_URL", self.server.url())
            .env("EXECUTOR_FRONTEND_PASSWORD", SECRET)
            .env("EXECUTOR_RUNTIME", "oci")
            .env("EXECUTOR_DATA_DIR", self.dir.path().join("agent-data"))
            .env("EXECUTOR_FIRECRACKER_DISK_SPACE", "64M")
            .env("EXECUTOR_JOB_MEMORY", "256M")
            .env("EXECUTOR_QUEUE_POLL_INTERVAL", "50ms")
            .env("HOSTNAME", HOST)
            .env("SRC_LOG_LEVEL", "dbug");
        command
    }

    /// The executor's process.
    pub(crate) fn agent(&mut self) -> &mut Process {
        self.agent.as_mut().expect("it was started")
    }

    /// The process that runs the executor's only job.
    pub(crate) fn supervisor(&self) -> u32 {
        let jobs = self.dir.path().join("agent-data/agent/jobs");
        let record = files_below(&jobs, &|path| path.ends_with("job.json"));
        let record: serde_json::Value = serde_json::from_slice(&std::fs::read(&record[0]).unwrap()).unwrap();
        record["pid"].as_u64().unwrap().try_into().unwrap()
    }

    /// What the executor says on its standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("agent.log")
    }

    /// Waits until this many requests of `call` came in; gives all of them.
    pub(crate) fn heard(&self, call: &str, count: usize) -> Vec<Request> {
        wait(SOON, &format!("{count} times {call}"), || {
            let all = self.server.named(call);
            (all.len() >= count).then_some(all)
        })
    }

    /// Waits until a job was handed out and has ended; gives it as it stands then.
    pub(crate) fn ended(&self, queue: &str, id: i64) -> Record {
        wait(SOON, &format!("the end of job {id}"), || {
            self.server.record(queue, id).filter(|record| record.state != State::Processing)
        })
    }

    /// The same for a job of `batches` that must complete.
    pub(crate) fn completed(&self, id: i64) -> Record {
        let record = self.ended("batches", id);
        assert_eq!(record.state, State::Completed, "{:?}: {:#?}", record.message, record.entries);
        record
    }

    /// Waits until the last entry of `key` in a job of `batches` has this text in it.
    pub(crate) fn logged(&self, id: i64, key: &str, part: &str) {
        wait(SOON, &format!("{part:?} in {key} of job {id}"), || {
            let record = self.server.record("batches", id)?;
            record.entry(key)?.out.contains(part).then_some(())
        });
    }

    /// Lets the executor leave in good order, with nothing left behind that a stock instance or this host would
    /// not like.
    pub(crate) fn end(mut self) {
        self.agent_stops();
        self.check();
    }

    /// The same, of the executor alone.
    pub(crate) fn agent_stops(&mut self) {
        self.agent.take().expect("it was started").stop();
    }

    /// Waits until the executor has left by itself.
    pub(crate) fn left(mut self) {
        let status = self.agent().wait_exit();
        assert!(status.success(), "{status}");
        self.check();
    }

    /// What every test asks for at its end.
    pub(crate) fn check(&self) {
        assert_eq!(self.server.objections(), Vec::<String>::new());
        let log = self.log();
        assert!(!log.contains(SECRET), "the shared secret is in the executor's own log: {log}");
        nothing_is_left(self.dir.path());
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        drop(self.agent.take());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !leftovers(self.dir.path()).is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(25));
        }
        if std::thread::panicking() {
            let requests = self.server.requests();
            let shown =
                |request: &Request| format!("{} {} {}", request.method, request.target, cut(&request.text()));
            let requests: Vec<String> = requests.iter().map(shown).collect();
            // Standard error is what nextest shows of a test that failed.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("--- requests\n{}\n--- log\n{}", requests.join("\n"), self.log()).as_bytes(),
            );
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}

/// The program with nothing of this process's environment but where programs are.
#[expect(clippy::disallowed_methods, reason = "programs are found where the test finds them")]
fn executor(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
    command.env_clear().env("HOME", dir).env("XDG_CONFIG_HOME", dir.join("config")).stdin(Stdio::null());
    for name in ["PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}
