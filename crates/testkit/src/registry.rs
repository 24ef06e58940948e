//! A real registry: Debian's `docker-registry`, filled by `skopeo`.

use crate::Engine;
use crate::image::Archive;
use crate::tls::Authority;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = "/usr/bin/docker-registry";
/// Who may do all, where a registry wants a login.
pub const USER: &str = "jane";
/// Their password.
pub const PASSWORD: &str = "correct horse";

/// A registry on loopback, stopped when it is dropped.
#[derive(Debug)]
pub struct Registry {
    /// `127.0.0.1:port`.
    pub address: String,
    process: Child,
    directory: TempDir,
    /// The process in whose network it is, where that is not ours.
    network: Option<u32>,
}

/// How a registry is to be. It is open, in plain text, and empty otherwise.
#[derive(Default)]
pub struct Setup<'a> {
    /// It wants [`USER`] and [`PASSWORD`].
    pub password: bool,
    /// It speaks TLS.
    pub authority: Option<&'a Authority>,
    /// It wants tokens.
    pub tokens: Option<Tokens<'a>>,
    /// It fetches what it lacks from there.
    pub proxy_of: Option<&'a Registry>,
    /// It is in the network of an engine.
    pub network_of: Option<&'a Engine>,
}

/// A server of tokens.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    /// Its URL.
    pub realm: &'a str,
    /// The certificate of the key that it signs with, PEM.
    pub certificate: &'a str,
}

impl Registry {
    /// Starts one; `None` when a part is missing, which is told.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn start(test: &str, setup: &Setup<'_>) -> Option<Self> {
        for (part, probe) in [(PROGRAM, "--version"), ("skopeo", "--version"), ("htpasswd", "-v")] {
            if Command::new(part).arg(probe).output().is_err() {
                crate::missing_part(test, part);
                return None;
            }
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = directory.path().join("config.yml");
        fs::write(&config, configuration(directory.path(), setup)).expect("it is written");
        let network = setup.network_of.map(Engine::pid);
        let mut process = within(network, PROGRAM)
            .arg("serve")
            .arg(&config)
            .env_clear()
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the registry starts");
        let address = address_of(&mut process);
        Some(Self { address, process, directory, network })
    }

    /// Pushes an image as `name`, such as `team/tool:1`.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn push(&self, name: &str, archive: &Archive) {
        let path = self.directory.path().join("push.tar");
        fs::write(&path, archive.docker()).expect("the archive is written");
        let pushed = within(self.network, "skopeo")
            // Not the settings of whoever runs the tests.
            .env("HOME", self.directory.path())
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .arg(format!("--dest-creds={USER}:{PASSWORD}"))
            .arg(format!("docker-archive:{}", path.display()))
            .arg(format!("docker://{}", self.name(name)))
            .output()
            .expect("skopeo runs");
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    }

    /// The whole name of an image here.
    pub fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// Nobody listens there any more.
    ///
    /// # Panics
    ///
    /// When it had ended before.
    pub fn stop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What runs `program`, in the network of that process where one is named.
fn within(network: Option<u32>, program: &str) -> Command {
    let Some(pid) = network else { return Command::new(program) };
    let mut command = Command::new("/usr/bin/nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).arg(program);
    command
}

fn configuration(directory: &Path, setup: &Setup<'_>) -> String {
    let root = directory.display();
    let written = |name: &str, text: &[u8]| fs::write(directory.join(name), text).expect("it is written");
    let mut tls = String::new();
    if let Some(authority) = setup.authority {
        let server = authority.server(&["127.0.0.1", "localhost"]);
        written("server.pem", server.certificate.as_bytes());
        written("server.key", server.key.as_bytes());
        tls = format!(", tls: {{certificate: {root}/server.pem, key: {root}/server.key}}");
    }
    let mut parts = vec![format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: '127.0.0.1:0'{tls}}}\n"
    )];
    if setup.password {
        let users = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output().expect("htpasswd runs");
        written("users", &users.stdout);
        parts.push(format!("auth: {{htpasswd: {{realm: test, path: {root}/users}}}}\n"));
    }
    if let Some(Tokens { realm, certificate }) = setup.tokens {
        written("tokens.pem", certificate.as_bytes());
        parts.push(format!(
            "auth: {{token: {{realm: '{realm}', service: test, issuer: test, rootcertbundle: {root}/tokens.pem}}}}\n"
        ));
    }
    if let Some(upstream) = setup.proxy_of {
        parts.push(format!("proxy: {{remoteurl: 'http://{}'}}\n", upstream.address));
    }
    parts.concat()
}

/// Reads its log up to the line that says where it listens, and the rest in a thread so that it never blocks.
fn address_of(process: &mut Child) -> String {
    let log = process.stderr.take().expect("its log is a pipe");
    let mut lines = BufReader::new(log).lines().map_while(Result::ok);
    let address = lines.by_ref().find_map(|line| {
        let (_, rest) = line.split_once("listening on ")?;
        Some(rest.split(['"', ',']).next()?.to_owned())
    });
    std::thread::spawn(move || lines.for_each(drop));
    address.expect("the registry ended before it listened")
}
