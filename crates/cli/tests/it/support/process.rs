//! A process of a test, and what it says.

use super::{SOON, wait};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A process that is ended with its owner.
pub(crate) struct Process {
    child: Child,
    /// The lines of its standard output so far.
    said: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts it and waits for the line of its standard output that says it is ready.
    pub(crate) fn start(mut command: Command, ready: &str) -> Self {
        let data_dir = command.get_envs().find(|(name, _)| *name == "EXECUTOR_DATA_DIR");
        let data_dir = data_dir.and_then(|(_, dir)| Some(PathBuf::from(dir?)));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let said = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&said);
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).for_each(|line| lines.lock().unwrap().push(line));
        });
        let process = Self { child, said };
        process.wait_for_line(ready);
        if let Some(data_dir) = data_dir {
            testkit::agent_started(&data_dir, process.pid());
        }
        process
    }

    /// All lines of its standard output so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it says a line that begins with `start`.
    pub(crate) fn wait_for_line(&self, start: &str) {
        wait(SOON, &format!("a line that begins with {start:?}"), || {
            self.said.lock().unwrap().iter().any(|line| line.starts_with(start)).then_some(())
        });
    }

    /// What an agent says that it is called.
    pub(crate) fn executor_name(&self) -> String {
        let lines = self.lines();
        let line = lines.iter().find_map(|line| line.strip_prefix("agent ")).unwrap();
        line.split_once(' ').unwrap().0.to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to leave; it must do so in good order.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let status = wait(SOON, "the process to leave", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args(["-s", signal, &self.pid().to_string()]).status().unwrap();
        assert!(status.success());
    }

    pub(crate) fn wait_exit(&mut self) -> std::process::ExitStatus {
        wait(SOON, "the process to leave", || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
