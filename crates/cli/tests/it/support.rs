//! A system of its own for each test: temporary directories, free ports, processes ended by pid.

mod agents;
mod process;

pub(crate) use agents::{GATE, files_below};
pub(crate) use process::Process;

use crate::leftovers::leftovers;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use testkit::SmallDisk;

/// How long anything may take that should take a moment.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// Makes a system, or says why the test is skipped.
pub(crate) fn system(test: &str) -> Option<System> {
    System::with(test, &[])
}

/// What a server gets where a test waits for the end of a lease, or for an executor not to miss it.
pub(crate) const SHORT_LEASE: &[&str] = &["--lease", "25s"];

/// A control plane, an image named `busybox`, and whatever agents the test starts.
pub(crate) struct System {
    pub(crate) server: Process,
    /// Below the server, so that it is removed when nobody writes to it any more.
    pub(crate) dir: TempDir,
    /// What agents have on this host is below it.
    agents_in: PathBuf,
    server_args: Vec<String>,
    agent_env: Vec<(String, String)>,
    agents: u32,
}

impl System {
    /// A system whose agents get `agent_env` besides.
    pub(crate) fn with(test: &str, agent_env: &[(&str, &str)]) -> Option<Self> {
        Self::serving(test, &[], agent_env)
    }

    /// The same, with a server that gets `server_args` besides.
    pub(crate) fn serving(test: &str, server_args: &[&str], agent_env: &[(&str, &str)]) -> Option<Self> {
        Self::make(test, server_args, agent_env, None)
    }

    /// The same, with a disk of their own for all that agents have on this host.
    pub(crate) fn with_agents_on(
        disk: &SmallDisk,
        test: &str,
        server_args: &[&str],
        agent_env: &[(&str, &str)],
    ) -> Option<Self> {
        Self::make(test, server_args, agent_env, Some(disk.path()))
    }

    fn make(
        test: &str,
        server_args: &[&str],
        agent_env: &[(&str, &str)],
        agents_in: Option<PathBuf>,
    ) -> Option<Self> {
        if !testkit::have_root() {
            testkit::missing_part(test, "root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("executor-it-").tempdir().unwrap();
        let archive = dir.path().join("busybox.tar");
        if testkit::image::busybox_archive(&archive).is_none() {
            testkit::missing_part(test, "a static busybox");
            return None;
        }
        let server = start_server(dir.path(), "127.0.0.1:0", server_args);
        let agent_env = agent_env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let agents_in = agents_in.unwrap_or_else(|| dir.path().to_owned());
        let server_args = server_args.iter().map(|arg| (*arg).to_owned()).collect();
        let system = Self { server, dir, agents_in, server_args, agent_env, agents: 0 };
        let archive = archive.to_string_lossy().into_owned();
        system.ok(&["image", "import", "--data-dir", &system.agent_dir(), "busybox", &archive]);
        Some(system)
    }

    /// Starts another agent and waits until it is ready.
    pub(crate) fn agent(&mut self) -> Process {
        Process::start(self.agent_command(), "agent ")
    }

    /// What starts another agent.
    pub(crate) fn agent_command(&mut self) -> Command {
        self.agents += 1;
        let mut command = executor(self.dir.path());
        command
            .arg("run")
            .env("EXECUTOR_FRONTEND_URL", self.url())
            .env("EXECUTOR_FRONTEND_PASSWORD", self.shared_secret())
            .env("EXECUTOR_QUEUE_NAME", "batches")
            .env("EXECUTOR_RUNTIME", "oci")
            .env("EXECUTOR_DATA_DIR", self.agent_dir())
            .env("EXECUTOR_FIRECRACKER_DISK_SPACE", "256M")
            .env("EXECUTOR_JOB_MEMORY", "256M")
            .env("HOSTNAME", format!("agent{}", self.agents))
            .envs(self.agent_env.iter().map(|(k, v)| (k, v)));
        command
    }

    /// An agent as if it were on another machine: nothing of the others' state is there.
    pub(crate) fn agent_elsewhere(&mut self) -> Process {
        let dir = self.dir.path().join("agent-data-elsewhere").to_string_lossy().into_owned();
        let archive = self.dir.path().join("busybox.tar").to_string_lossy().into_owned();
        self.ok(&["image", "import", "--data-dir", &dir, "busybox", &archive]);
        let mut command = self.agent_command();
        command.env("EXECUTOR_DATA_DIR", dir);
        Process::start(command, "agent ")
    }

    /// The data directory of all agents: they share the images.
    pub(crate) fn agent_dir(&self) -> String {
        self.agents_in.join("agent-data").to_string_lossy().into_owned()
    }

    pub(crate) fn server_dir(&self) -> PathBuf {
        self.dir.path().join("server-data")
    }

    pub(crate) fn url(&self) -> String {
        self.setting("serverUrl")
    }

    pub(crate) fn setting(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.dir.path().join("config/executor/client.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json[name].as_str().unwrap().to_owned()
    }

    pub(crate) fn shared_secret(&self) -> String {
        let text = std::fs::read_to_string(self.server_dir().join("site-config.jsonc")).unwrap();
        let (_, after) = text.split_once("\"executors.accessToken\"").unwrap();
        after.split('"').nth(1).unwrap().to_owned()
    }

    /// Kills the server without warning and starts it again on the same port.
    pub(crate) fn restart_server(&mut self) {
        let address = self.url().strip_prefix("http://").unwrap().to_owned();
        self.server.kill();
        let args: Vec<&str> = self.server_args.iter().map(String::as_str).collect();
        self.server = start_server(self.dir.path(), &address, &args);
    }

    /// The same, with further arguments from now on.
    pub(crate) fn restart_server_with(&mut self, more: &[&str]) {
        self.server_args.extend(more.iter().map(|arg| (*arg).to_owned()));
        self.restart_server();
    }

    /// `executor` with this system's settings.
    pub(crate) fn executor(&self, args: &[&str]) -> Command {
        let mut command = executor(self.dir.path());
        command.args(args);
        command
    }

    /// Runs a command of the client to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.executor(args).output().unwrap()
    }

    /// The same, for a command that must succeed; returns its standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, for a command that must be refused as a usage error; returns what it said.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output));
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.trim_end().lines().count(), 1, "a refusal is one line: {said}");
        said
    }

    /// Submits a job of one step and returns its id.
    pub(crate) fn submit(&self, script: &str) -> String {
        let args = ["job", "run", "--detach", "--image", "busybox", "--step", script];
        self.ok(&args).trim().to_owned()
    }

    /// Runs a job of one step to its end.
    pub(crate) fn job(&self, script: &str) -> Output {
        self.run(&["job", "run", "--image", "busybox", "--step", script])
    }

    pub(crate) fn show(&self, id: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(&["job", "show", id, "--json"])).unwrap()
    }

    /// The newest job.
    pub(crate) fn newest(&self) -> serde_json::Value {
        let list: serde_json::Value =
            serde_json::from_str(&self.ok(&["job", "list", "--limit", "1", "--json"])).unwrap();
        self.show(&list["items"][0]["id"].to_string())
    }

    pub(crate) fn wait_for_state(&self, id: &str, state: &str) -> serde_json::Value {
        wait(SOON, &format!("job {id} to be {state}"), || {
            let job = self.show(id);
            (job["state"] == state).then_some(job)
        })
    }

    pub(crate) fn wait_for_log(&self, id: &str, part: &str) {
        wait(SOON, &format!("{part:?} in the log of job {id}"), || {
            self.ok(&["job", "logs", id]).contains(part).then_some(())
        });
    }

    /// A git repository with two commits; returns its path and the ids of the commits.
    pub(crate) fn git_repository(&self) -> (String, [String; 2]) {
        let path = self.dir.path().join("repository");
        std::fs::create_dir_all(path.join("sub")).unwrap();
        git(&path, &["init", "--quiet", "--initial-branch=main"]);
        let commits = ["one", "two"].map(|word| {
            std::fs::write(path.join("sub/file.txt"), format!("{word}\n")).unwrap();
            git(&path, &["add", "."]);
            git(&path, &["-c", "user.name=T", "-c", "user.email=t@t", "commit", "--quiet", "-m", word]);
            git(&path, &["rev-parse", "HEAD"]).trim().to_owned()
        });
        (path.to_string_lossy().into_owned(), commits)
    }
}

impl Drop for System {
    /// A guardian outlives its agent by a moment, and whatever it removes can't be removed by others
    /// meanwhile.
    fn drop(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !leftovers(&self.agents_in).is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(25));
        }
    }
}

/// An HTTP client, for what no client of ours would do.
pub(crate) fn http() -> reqwest::Client {
    http_builder().build().unwrap()
}

/// The same, for whoever wants it otherwise.
pub(crate) fn http_builder() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A connection that was idle may be closed by the server while it is used again.
    reqwest::Client::builder().pool_max_idle_per_host(0)
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git").arg("-C").arg(dir).args(args).output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command with text on its standard input.
pub(crate) fn told(mut command: Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that reads nothing may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Both streams of a command that ended.
pub(crate) fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}\n--- stdout\n{out}\n--- stderr\n{err}", output.status)
}

/// Waits until `ready` has something, with a limit.
pub(crate) fn wait<T>(limit: Duration, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}

pub(crate) fn executor(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_executor"));
    command.env("XDG_CONFIG_HOME", dir.join("config")).stdin(Stdio::null());
    for name in ["EXECUTOR_SERVER_URL", "EXECUTOR_API_TOKEN", "EXECUTOR_DATA_DIR"] {
        command.env_remove(name);
    }
    command
}

/// An address among `more` counts instead of `listen`.
fn start_server(dir: &Path, listen: &str, more: &[&str]) -> Process {
    let mut command = executor(dir);
    command.args(["server", "--data-dir"]).arg(dir.join("server-data")).args(more);
    if !more.contains(&"--listen") {
        command.args(["--listen", listen]);
    }
    Process::start(command, "listening on ")
}
