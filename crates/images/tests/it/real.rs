//! A real registry: Debian's `docker-registry`, filled by `skopeo`.

use crate::tokens::TokenServer;
use images::{Login, Mirror, RegistryCredentials};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use testkit::image::{Archive, Layer};
use testkit::tls::Authority;

const PROGRAM: &str = "/usr/bin/docker-registry";
pub(crate) const USER: &str = "jane";
pub(crate) const PASSWORD: &str = "correct horse";

/// A registry on a port of its own, stopped when it is dropped.
pub(crate) struct Registry {
    process: Child,
    pub(crate) address: String,
    directory: TempDir,
}

/// How a registry is to be.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// It wants a user and a password.
    pub(crate) password: bool,
    /// It speaks TLS.
    pub(crate) authority: Option<&'a Authority>,
    /// It wants tokens.
    pub(crate) tokens: Option<&'a TokenServer>,
    /// It fetches what it lacks from there.
    pub(crate) proxy_of: Option<&'a Registry>,
}

impl Registry {
    /// Starts one; none when a part is missing here.
    pub(crate) fn start(test: &str, setup: &Setup<'_>) -> Option<Self> {
        for (part, probe) in [(PROGRAM, "--version"), ("skopeo", "--version"), ("htpasswd", "-v")] {
            if Command::new(part).arg(probe).output().is_err() {
                testkit::missing_part(test, part);
                return None;
            }
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let address = format!("127.0.0.1:{port}");
        let config = directory.path().join("config.yml");
        fs::write(&config, configuration(directory.path(), &address, setup)).expect("it is written");
        let mut process = Command::new(PROGRAM)
            .arg("serve")
            .arg(&config)
            .env_clear()
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the registry starts");
        wait_until_it_listens(&mut process);
        Some(Self { process, address, directory })
    }

    /// Pushes an image as `name`.
    pub(crate) fn push(&self, name: &str, archive: &Archive) {
        let path = self.directory.path().join("push.tar");
        fs::write(&path, archive.docker()).expect("the archive is written");
        let pushed = Command::new("skopeo")
            // Not the settings of whoever runs the tests.
            .env("HOME", self.directory.path())
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .arg(format!("--dest-creds={USER}:{PASSWORD}"))
            .arg(format!("docker-archive:{}", path.display()))
            .arg(format!("docker://{}/{name}", self.address))
            .output()
            .expect("skopeo runs");
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    }

    /// Nobody listens there any more.
    pub(crate) fn stop(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    /// Credentials for it with this password.
    pub(crate) fn credentials(&self, password: &str) -> RegistryCredentials {
        RegistryCredentials::of_logins([(self.address.clone(), Login::password(USER, password))])
    }

    /// It, as a mirror.
    pub(crate) fn mirror(&self) -> Mirror {
        format!("http://{}", self.address).parse().expect("a good address")
    }

    /// The whole name of an image here.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(directory: &Path, address: &str, setup: &Setup<'_>) -> String {
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
         storage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: '{address}'{tls}}}\n"
    )];
    if setup.password {
        let users = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output().expect("htpasswd runs");
        written("users", &users.stdout);
        parts.push(format!("auth: {{htpasswd: {{realm: test, path: {root}/users}}}}\n"));
    }
    if let Some(tokens) = setup.tokens {
        written("tokens.pem", tokens.certificate().as_bytes());
        parts.push(format!(
            "auth: {{token: {{realm: '{}', service: test, issuer: test, rootcertbundle: {root}/tokens.pem}}}}\n",
            tokens.realm()
        ));
    }
    if let Some(upstream) = setup.proxy_of {
        parts.push(format!("proxy: {{remoteurl: 'http://{}'}}\n", upstream.address));
    }
    parts.concat()
}

/// Reads its log up to the line that says so, and the rest in a thread so that it never blocks.
fn wait_until_it_listens(process: &mut Child) {
    let log = process.stderr.take().expect("its log is a pipe");
    let mut lines = BufReader::new(log).lines();
    let listening = lines.by_ref().map_while(Result::ok).any(|line| line.contains("listening on"));
    assert!(listening, "the registry ended before it listened");
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
}

/// An image of two layers.
pub(crate) fn example() -> Archive {
    Archive::new()
        .layer(Layer::new().directory("etc").file("etc/motd", b"hello").file("etc/gone", b"x"))
        .layer(Layer::new().directory("etc").file("etc/.wh.gone", b""))
        .run_as(&["A=b"], "/work", "1000")
}
