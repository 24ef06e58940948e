//! A real registry in the engine's own network: Debian's `docker-registry`, filled by `skopeo`.

use images::{Login, RegistryCredentials};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use testkit::Engine;
use testkit::image::Archive;

const PROGRAM: &str = "docker-registry";
const USER: &str = "jane";
pub(super) const PASSWORD: &str = "correct horse";

/// A registry on a port of its own, stopped when it is dropped.
pub(super) struct Registry {
    process: Child,
    pub(super) address: String,
    dir: TempDir,
}

impl Registry {
    /// Whether one can be started; what is missing is told.
    pub(super) fn is_here(test: &str) -> bool {
        let missing = ["docker-registry", "skopeo", "htpasswd"]
            .into_iter()
            .find(|part| crate::harness::find(part).is_none());
        if let Some(part) = missing {
            testkit::missing_part(test, part);
        }
        missing.is_none()
    }

    pub(super) fn start(engine: &Engine, with_password: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display();
        let mut config = vec![format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n"
        )];
        if with_password {
            let users = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output().unwrap();
            fs::write(dir.path().join("users"), users.stdout).unwrap();
            config.push(format!("auth: {{htpasswd: {{realm: test, path: {root}/users}}}}\n"));
        }
        let file = dir.path().join("config.yml");
        fs::write(&file, config.concat()).unwrap();
        let mut process = engine
            .in_network(PROGRAM)
            .arg("serve")
            .arg(file)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.by_ref().find_map(|line| {
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split(['"', ',']).next()?.to_owned())
        });
        // Read on, so that it never blocks.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.expect("the registry listens"), dir }
    }

    /// The whole name of an image here.
    pub(super) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    pub(super) fn push(&self, engine: &Engine, image: &str, archive: &Archive) {
        let path = self.dir.path().join("push.tar");
        fs::write(&path, archive.docker()).unwrap();
        let pushed = engine
            .in_network("skopeo")
            // Not the settings of whoever runs the tests.
            .env("HOME", self.dir.path())
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .arg(format!("--dest-creds={USER}:{PASSWORD}"))
            .arg(format!("docker-archive:{}", path.display()))
            .arg(format!("docker://{}", self.name(image)))
            .output()
            .unwrap();
        assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    }

    /// Credentials for it with this password.
    pub(super) fn credentials(&self, password: &str) -> RegistryCredentials {
        RegistryCredentials::of_logins([(self.address.clone(), Login::password(USER, password))])
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
