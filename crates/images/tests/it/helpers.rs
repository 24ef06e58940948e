//! The Docker configuration of the executor's own user, with real helper programs.

use crate::fake::Fake;
use crate::real::example;
use crate::support::{Place, told};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use images::{DockerConfig, ImageError, RegistryCredentials};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;
use testkit::registry::{PASSWORD, Registry, Setup, USER};

/// A home with a Docker configuration and helpers.
struct Home(TempDir);

impl Home {
    fn new(config: &serde_json::Value) -> Self {
        let home = Self(tempfile::tempdir().expect("a temporary directory"));
        fs::write(home.at("config.json"), config.to_string()).expect("it is written");
        home
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a helper: a shell script.
    fn helper(&self, name: &str, script: &str) {
        let path = self.at(&format!("docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("it is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is made a program");
    }

    fn config(&self) -> DockerConfig {
        DockerConfig {
            path: self.at("config.json"),
            search_path: format!("relative:{}:/usr/bin:/bin", self.0.path().display()).into(),
            environment: vec![
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("HERE".to_owned(), self.0.path().display().to_string()),
            ],
        }
    }

    fn credentials(&self) -> RegistryCredentials {
        RegistryCredentials::of_user(self.config())
    }

    /// What a helper wrote.
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).expect("the helper wrote it")
    }
}

/// A script that answers with a login, and writes down how it was asked.
fn answering(user: &str, secret: &str) -> String {
    format!(
        r#"printf '%s\n' "$@" > "$HERE/arguments"
cat > "$HERE/input"
env > "$HERE/environment"
echo asked >> "$HERE/times"
echo '{{"ServerURL":"x","Username":"{user}","Secret":"{secret}"}}'"#
    )
}

#[tokio::test]
async fn a_static_login() {
    let setup = Setup { password: true, ..Setup::default() };
    let Some(registry) = Registry::start("a_static_login", &setup) else { return };
    registry.push("team/tool:1", &example());
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    for entry in
        [serde_json::json!({ "auth": auth }), serde_json::json!({ "username": USER, "password": PASSWORD })]
    {
        let home = Home::new(
            &serde_json::json!({ "auths": { format!("https://{}/v1/", registry.address): entry } }),
        );
        let image = Place::new().resolve(&registry.name("team/tool:1"), &home.credentials()).await;
        image.unwrap_or_else(|error| panic!("{}", told(&error)));
    }
}

#[tokio::test]
async fn a_helper_is_asked_by_the_protocol_and_told_nothing_else() {
    let setup = Setup { password: true, ..Setup::default() };
    let Some(registry) = Registry::start("a_helper_is_asked", &setup) else { return };
    registry.push("team/tool:1", &example());
    let home = Home::new(&serde_json::json!({ "credHelpers": { registry.address.clone(): "test" } }));
    home.helper("test", &answering(USER, PASSWORD));
    let (place, credentials) = (Place::new(), home.credentials());
    let name = registry.name("team/tool:1");
    for _ in 0..2 {
        let image = place.resolve(&name, &credentials).await;
        image.unwrap_or_else(|error| panic!("{}", told(&error)));
    }
    assert_eq!(home.read("arguments"), "get\n");
    assert_eq!(home.read("input"), registry.address);
    assert_eq!(home.read("times").lines().count(), 1, "its answer is good for the steps of a job");
    let environment = home.read("environment");
    let names: Vec<_> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    // The shell adds the last three itself.
    assert!(
        names.iter().all(|name| ["PATH", "HERE", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_store_that_has_nothing_leaves_the_files_own() {
    let setup = Setup { password: true, ..Setup::default() };
    let Some(registry) = Registry::start("a_store_that_has_nothing", &setup) else { return };
    registry.push("team/tool:1", &example());
    let auth = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let config = serde_json::json!({
        "credsStore": "test", "auths": { registry.address.clone(): { "auth": auth }, "other.test": {} }
    });
    let home = Home::new(&config);
    home.helper("test", "echo 'credentials not found in native keychain'; exit 1");
    let name = registry.name("team/tool:1");
    let image = Place::new().resolve(&name, &home.credentials()).await;
    image.unwrap_or_else(|error| panic!("{}", told(&error)));
    let bare = Home::new(&serde_json::json!({ "credsStore": "test" }));
    bare.helper("test", "echo 'credentials not found in native keychain'; exit 1");
    let error = Place::new().resolve(&name, &bare.credentials()).await.expect_err("there is nothing");
    assert!(matches!(error, ImageError::Unauthorised { .. }), "{}", told(&error));
    assert!(error.to_string().contains("none are set"), "{error}");
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let fake = Fake::start().await;
    fake.offer(&example());
    fake.want_token(None, Some("the-identity"));
    let home = Home::new(&serde_json::json!({ "credsStore": "test" }));
    home.helper("test", &answering("<token>", "the-identity"));
    let image = Place::new().resolve(&fake.name(), &home.credentials()).await;
    image.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(fake.asked("grant_type=refresh_token"), 1);
    assert!(fake.shown().iter().all(|shown| shown.starts_with("Bearer ")), "{:?}", fake.shown());
}

#[tokio::test]
async fn docker_hub_has_its_old_name() {
    let home = Home::new(&serde_json::json!({ "credsStore": "test" }));
    home.helper("test", &answering(USER, PASSWORD));
    let login = home.credentials().login(&"debian".parse().expect("a good reference")).await;
    assert!(login.expect("it can be looked up").is_some());
    assert_eq!(home.read("input"), "https://index.docker.io/v1/");
}

#[tokio::test]
async fn a_helper_that_fails_is_named_and_only_where_it_matters() {
    let fake = Fake::start().await;
    fake.offer(&example());
    for (script, rule) in [
        (None, "is not on the PATH"),
        (Some("echo 'the vault is closed'; exit 3"), "the vault is closed"),
        (Some("echo 'only on stderr' >&2; exit 1"), "only on stderr"),
        (Some("echo hunter2"), "no JSON"),
        (Some("echo '{\"Username\":\"hunter2\"}'"), "no JSON"),
        (Some("yes hunter2"), "said more than 65536 bytes"),
        (Some("kill -9 $$"), "signal: 9"),
    ] {
        fake.want_token(None, Some("Basic dXNlcjpzZWNyZXQ="));
        let home = Home::new(&serde_json::json!({ "credsStore": "test" }));
        if let Some(script) = script {
            home.helper("test", script);
        }
        let place = Place::new();
        let error = place.resolve(&fake.name(), &home.credentials()).await.expect_err(rule);
        assert!(matches!(error, ImageError::Credentials { .. }) && error.is_temporary(), "{}", told(&error));
        let text = told(&error);
        assert!(text.contains(rule) && text.contains("docker-credential-test"), "{text}");
        assert!(!text.contains("hunter2") && !text.contains('\n'), "{text}");
        // Without any is enough for most images.
        fake.accept();
        place.resolve(&fake.name(), &home.credentials()).await.expect("it is for everyone");
    }
}

/// What was proved with a login must not count for those who have none, though it could not be told at
/// first whose proof it would be.
#[tokio::test]
async fn a_helper_that_fails_once_opens_nothing_for_others() {
    let setup = Setup { password: true, ..Setup::default() };
    let Some(registry) = Registry::start("a_helper_that_fails_once", &setup) else { return };
    registry.push("team/tool:1", &example());
    let home = Home::new(&serde_json::json!({ "credHelpers": { registry.address.clone(): "test" } }));
    let script =
        format!(r#"if rm "$HERE/broken" 2>/dev/null; then exit 1; fi; {}"#, answering(USER, PASSWORD));
    home.helper("test", &script);
    let (place, name) = (Place::new(), registry.name("team/tool:1"));
    let pull = async || place.resolve(&name, &home.credentials()).await;
    pull().await.unwrap_or_else(|error| panic!("{}", told(&error)));
    fs::write(home.at("broken"), "").expect("it is written");
    pull().await.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert!(!home.at("broken").exists(), "the helper failed once");
    let error = place.resolve(&name, &RegistryCredentials::default()).await.expect_err("there is no login");
    assert!(matches!(error, ImageError::Unauthorised { .. }), "{}", told(&error));
}
