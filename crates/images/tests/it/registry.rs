//! A real registry: Debian's `docker-registry`, filled by `skopeo`.

use crate::support::{Place, reference, told};
use images::{ImageError, Login, RegistryCredentials};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use testkit::image::{Archive, Layer};

const PROGRAM: &str = "/usr/bin/docker-registry";
const USER: &str = "jane";
const PASSWORD: &str = "correct horse";

/// A registry on a port of its own, stopped when it is dropped.
struct Registry {
    process: Child,
    address: String,
    directory: TempDir,
}

impl Registry {
    /// Starts one, with user and password if asked to; none when a part is missing here.
    fn start(test: &str, with_password: bool) -> Option<Self> {
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
        fs::write(&config, configuration(directory.path(), &address, with_password)).expect("it is written");
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
    fn push(&self, name: &str, archive: &Archive) {
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

    fn credentials(&self, password: &str) -> RegistryCredentials {
        RegistryCredentials::of_logins([(self.address.clone(), Login::password(USER, password))])
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(directory: &Path, address: &str, with_password: bool) -> String {
    let root = directory.display();
    let mut parts = vec![format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {root}/data}}}}\nhttp: {{addr: '{address}'}}\n"
    )];
    if with_password {
        let users = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output().expect("htpasswd runs");
        fs::write(directory.join("users"), users.stdout).expect("the users are written");
        parts.push(format!("auth: {{htpasswd: {{realm: test, path: {root}/users}}}}\n"));
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

fn example() -> Archive {
    Archive::new()
        .layer(Layer::new().directory("etc").file("etc/motd", b"hello").file("etc/gone", b"x"))
        .layer(Layer::new().directory("etc").file("etc/.wh.gone", b""))
        .run_as(&["A=b"], "/work", "1000")
}

#[tokio::test]
async fn pulling_without_credentials() {
    let Some(registry) = Registry::start("pulling_without_credentials", false) else { return };
    registry.push("team/tool:1", &example());
    let place = Place::new();
    let name = format!("{}/team/tool:1", registry.address);
    let image = place.local(&name).await.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(
        (image.config.env.as_slice(), &*image.config.working_dir, &*image.config.user),
        (&["A=b".to_owned()][..], "/work", "1000")
    );
    assert_eq!(fs::read(image.layers[0].join("etc/motd")).expect("the file is there"), b"hello");
    assert!(fs::symlink_metadata(image.layers[1].join("etc/gone")).is_ok());

    let pinned = format!("{}/team/tool@{}", registry.address, image.digest);
    let elsewhere = Place::new();
    assert_eq!(elsewhere.local(&pinned).await.expect("it is there by digest").digest, image.digest);
    let both = format!("{}/team/tool:moved@{}", registry.address, image.digest);
    assert_eq!(elsewhere.local(&both).await.expect("the digest counts").digest, image.digest);

    drop(registry);
    let again = place.local(&name).await.expect("what is here needs no registry");
    assert_eq!(again.layers, image.layers);
    assert_eq!(place.store.list().expect("it can be listed")[0].reference, reference(&name));
}

#[tokio::test]
async fn what_is_not_there() {
    let Some(registry) = Registry::start("what_is_not_there", false) else { return };
    registry.push("team/tool:1", &example());
    let place = Place::new();
    let zeros = "0".repeat(64);
    for name in ["team/tool:2", "team/other:1", &format!("team/tool@sha256:{zeros}")] {
        let error = place.local(&format!("{}/{name}", registry.address)).await.expect_err(name);
        assert!(matches!(error, ImageError::NotFound { .. }), "{}", told(&error));
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn user_and_password() {
    let Some(registry) = Registry::start("user_and_password", true) else { return };
    registry.push("team/tool:1", &example());
    let place = Place::new();
    let name = format!("{}/team/tool:1", registry.address);
    for (credentials, reason) in
        [(RegistryCredentials::default(), "none are set"), (registry.credentials("wrong"), "not accepted")]
    {
        let error = place.resolve(&name, &credentials).await.expect_err(reason);
        assert!(matches!(error, ImageError::Unauthorised { .. }), "{}", told(&error));
        assert!(error.to_string().contains(reason) && !error.to_string().contains("wrong"), "{error}");
    }
    let image = place.resolve(&name, &registry.credentials(PASSWORD)).await;
    assert_eq!(image.unwrap_or_else(|error| panic!("{}", told(&error))).layers.len(), 2);
}

#[tokio::test]
async fn an_image_for_other_machines() {
    let Some(registry) = Registry::start("an_image_for_other_machines", false) else { return };
    registry.push("team/tool:1", &example().for_architecture("s390x"));
    let place = Place::new();
    let error =
        place.local(&format!("{}/team/tool:1", registry.address)).await.expect_err("it can't run here");
    assert!(matches!(error, ImageError::WrongPlatform { .. }), "{}", told(&error));
    assert!(error.to_string().contains("linux/s390x"), "{error}");
}
