//! A server that speaks S3, for one test: s3s-fs, of the crates registry, which keeps objects as files. It is an S3 server of
//! somebody else's, checks signatures and knows multipart uploads; it is not one that anybody runs in earnest.

use crate::{guest, missing_part};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Where `cargo xtask test` puts it.
const PROGRAM: &str = "s3s-fs-0.14.1/bin/s3s-fs";
/// How long it may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Its only bucket.
const BUCKET: &str = "results";
/// Who may use it.
const ID: &str = "test-key";
const SECRET: &str = "test-secret-test-secret";

/// A server of its own, with one bucket.
#[derive(Debug)]
pub struct S3Server {
    dir: TempDir,
    port: u16,
    server: Option<Child>,
}

impl S3Server {
    /// Starts one. `None` when it is not installed, which is told.
    pub fn start(test: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        Self::start_in(test, dir)
    }

    fn start_in(test: &str, dir: TempDir) -> Option<Self> {
        if !program().is_file() {
            missing_part(test, "s3s-fs");
            return None;
        }
        std::fs::create_dir_all(dir.path().join(BUCKET)).expect("a directory");
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("it is bound").port();
        drop(free);
        let mut server = Self { dir, port, server: None };
        server.restart();
        Some(server)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its only bucket.
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// Who may use it, as `ACCESS_KEY_ID:SECRET_ACCESS_KEY`.
    pub fn credentials(&self) -> String {
        format!("{ID}:{SECRET}")
    }

    /// The keys of its objects, in order.
    pub fn keys(&self) -> Vec<String> {
        let root = self.dir.path().join(BUCKET);
        let (mut keys, mut dirs) = (Vec::new(), vec![root.clone()]);
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    dirs.push(path);
                } else if let Ok(key) = path.strip_prefix(&root) {
                    keys.push(key.display().to_string());
                }
            }
        }
        keys.sort();
        keys
    }

    /// Ends it at once.
    pub fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().expect("it was running");
            server.wait().expect("it is gone");
        }
    }

    /// Starts it again after a crash, at the same address.
    ///
    /// # Panics
    ///
    /// When it does not start in time.
    pub fn restart(&mut self) {
        // It ends with the thread that starts it, should this program be killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program()).args(["--host", "127.0.0.1"]);
        command.args(["--port", &self.port.to_string(), "--access-key", ID, "--secret-key", SECRET]);
        command.arg(self.dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = command.spawn().expect("s3s-fs can be started");
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(server.try_wait().is_ok_and(|ended| ended.is_none()), "s3s-fs ended");
            assert!(begun.elapsed() < READY_LIMIT, "s3s-fs does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.server = Some(server);
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        self.crash();
    }
}

fn program() -> PathBuf {
    guest::cache().join(PROGRAM)
}
