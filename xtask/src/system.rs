//! A running `executor`: started here, ended here.

use crate::command::program;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a start may take.
const START: Duration = Duration::from_secs(20);
/// How long a stop may take before it is forced.
const STOP: Duration = Duration::from_secs(20);

/// The directory for temporary files in a [`Place`].
const TEMPORARY: &str = "tmp";

/// A place of its own for everything that a system writes.
pub(crate) struct Place {
    dir: TempDir,
    binary: PathBuf,
}

impl Place {
    pub(crate) fn new(binary: PathBuf) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("executor-xtask-").tempdir();
        let dir = dir.context("failed to make a temporary directory")?;
        std::fs::create_dir(dir.path().join(TEMPORARY))?;
        Ok(Self { dir, binary })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// `executor` with settings that nobody else uses.
    pub(crate) fn executor<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = program(&self.binary, args);
        command.env("XDG_CONFIG_HOME", self.path().join("config"));
        command.env("TMPDIR", self.path().join(TEMPORARY));
        for name in ["EXECUTOR_SERVER_URL", "EXECUTOR_API_TOKEN", "EXECUTOR_DATA_DIR"] {
            command.env_remove(name);
        }
        command
    }

    /// Names of what the program has in its directory for temporary files, which nobody else uses.
    pub(crate) fn temporary_files(&self) -> Result<Vec<String>> {
        let list = std::fs::read_dir(self.path().join(TEMPORARY))?;
        Ok(list.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    }

    /// What the client was told: URL and API token.
    pub(crate) fn settings(&self) -> Result<(String, String)> {
        let text = std::fs::read_to_string(self.path().join("config/executor/client.json"))?;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        let field = |name: &str| json[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
        Ok((field("serverUrl")?, field("apiToken")?))
    }
}

/// A process that says in a line of its standard output when it is ready.
pub(crate) struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts `command`; whether it is ready is the caller's to find out.
    pub(crate) fn spawn(name: &str, mut command: Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("failed to start {name}"))?;
        Ok(Self { child, name: name.to_owned() })
    }

    /// Starts `command` and waits until it prints a line that begins with `ready`.
    pub(crate) fn start(name: &str, mut command: Command, ready: &str) -> Result<Self> {
        command.stdout(Stdio::piped());
        let mut running = Self::spawn(name, command)?;
        let stdout = running.child.stdout.take().context("no standard output")?;
        let (told, heard) = std::sync::mpsc::channel();
        // As it is told where a format was asked for.
        let as_json = format!("\"message\":\"{ready}");
        let ready = ready.to_owned();
        // Goes on reading for as long as the process lives, so that it never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.starts_with(&ready) || line.contains(&as_json) {
                    let _ = told.send(());
                }
            }
        });
        if heard.recv_timeout(START).is_err() {
            bail!("{name} was not ready within {START:?}; its own words are above");
        }
        Ok(running)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to leave and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.signal("TERM")?;
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                if !status.success() {
                    bail!("{} ended with {status}", self.name);
                }
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{} did not leave within {STOP:?}", self.name)
    }

    fn signal(&self, signal: &str) -> Result<()> {
        crate::command::run(&mut program("kill", ["-s", signal, &self.child.id().to_string()]))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
