//! The Docker configuration of the executor's own user.

use super::{CredentialsError, Login, helper, keys};
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// Bytes of a configuration.
const FILE_BYTES: u64 = 1 << 20;

/// Where the configuration is, and what the programs get that it names.
#[derive(Clone, Default)]
pub struct DockerConfig {
    /// The file, usually `~/.docker/config.json`. There may be none.
    pub path: PathBuf,
    /// Where programs are looked for: directories as in `PATH`.
    pub search_path: OsString,
    /// Their whole environment.
    pub environment: Vec<(String, String)>,
}

impl fmt::Debug for DockerConfig {
    /// Keys of clouds and passwords of proxies are among the variables.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, search_path, environment } = self;
        let names: Vec<&str> = environment.iter().map(|(name, _)| name.as_str()).collect();
        let mut shown = out.debug_struct("DockerConfig");
        shown.field("path", path).field("search_path", search_path).field("environment", &names);
        shown.finish()
    }
}

/// What a configuration has for a registry.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Whom to ask first.
    pub(super) helper: Option<String>,
    /// What the file itself says.
    pub(super) login: Option<Login>,
}

/// The part of the file that counts here. Keys may be null.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Content {
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(alias = "identityToken")]
    identitytoken: Option<String>,
    #[serde(alias = "registryToken")]
    registrytoken: Option<String>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Entry(…)")
    }
}

impl DockerConfig {
    /// Refuses a file that can't be used. Blocking; asks no helper.
    pub fn check(&self) -> Result<(), CredentialsError> {
        self.read().map(drop)
    }

    /// The passwords and tokens in the file, and the texts in which they are written there. Blocking; asks no helper.
    pub fn secrets(&self) -> Result<Vec<SecretString>, CredentialsError> {
        let (content, logins) = self.read()?;
        let entries = content.auths.into_iter().flatten().filter_map(|(_, entry)| entry);
        let written = entries.filter_map(|entry| entry.auth).map(|auth| auth.trim().into());
        let held = logins.into_values().map(|login| match login {
            Login::Password { password, .. } => password,
            Login::IdentityToken(token) | Login::RegistryToken(token) => token,
        });
        Ok(written.chain(held).collect())
    }

    /// The helper programs that the file names, and where each is found. Blocking; asks none of them.
    pub fn helpers(&self) -> Result<BTreeMap<String, Option<PathBuf>>, CredentialsError> {
        let (content, _) = self.read()?;
        let named = content.helpers.iter().flatten().map(|(_, name)| name).chain(&content.store);
        let programs = named.filter(|name| !name.is_empty()).map(|name| helper::program(name));
        Ok(programs.map(|program| (program.clone(), helper::find(self, &program))).collect())
    }

    pub(super) fn look_up(&self, registry: &str, repository: &str) -> Result<Found, CredentialsError> {
        let (content, logins) = self.read()?;
        let own = content.helpers.as_ref().and_then(|helpers| keys::find(helpers, registry, repository));
        // An empty name takes the registry out of the store that all others are in.
        let helper = own.or(content.store.as_ref()).filter(|name| !name.is_empty());
        let login = keys::find(&logins, registry, repository).cloned();
        Ok(Found { helper: helper.cloned(), login })
    }

    pub(super) fn bad(&self, fault: impl Into<String>) -> CredentialsError {
        CredentialsError::Config { path: self.path.clone(), fault: fault.into() }
    }

    /// The file, and its logins; nothing when there is no file.
    fn read(&self) -> Result<(Content, BTreeMap<String, Login>), CredentialsError> {
        let Some(text) = self.text().map_err(|error| self.bad(error.to_string()))? else {
            return Ok(<_>::default());
        };
        let content: Content = serde_json::from_slice(&text).map_err(|error| {
            // The parser's own words may hold a piece of a value.
            self.bad(format!("line {} column {} is not as it should be", error.line(), error.column()))
        })?;
        let mut logins = BTreeMap::new();
        for (registry, entry) in content.auths.iter().flatten() {
            let Some(entry) = entry else { continue };
            let login = entry.login().map_err(|fault| self.bad(format!("auths for {registry:?} {fault}")))?;
            logins.extend(login.map(|login| (registry.clone(), login)));
        }
        let named = content.helpers.iter().flatten().map(|(_, name)| name).chain(&content.store);
        if let Some(bad) = named.filter(|name| !name.is_empty()).find(|name| !helper::is_name(name)) {
            return Err(self.bad(format!(
                "the helper {bad:?} is no name of letters, digits, dots, dashes and underscores"
            )));
        }
        Ok((content, logins))
    }

    fn text(&self) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(FILE_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > FILE_BYTES {
            return Err(io::Error::other(format!("it is larger than {FILE_BYTES} bytes")));
        }
        Ok(Some(text))
    }
}

impl Entry {
    /// None for an empty entry, as a login leaves one whose secret is in a store.
    fn login(&self) -> Result<Option<Login>, &'static str> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(token) = set(&self.identitytoken) {
            return Ok(Some(Login::IdentityToken(token.into())));
        }
        if let Some(token) = set(&self.registrytoken) {
            return Ok(Some(Login::RegistryToken(token.into())));
        }
        if let Some(auth) = set(&self.auth) {
            return Login::of_auth(&auth).map(Some).ok_or("are not base64 of user:password");
        }
        match (set(&self.username), set(&self.password)) {
            (Some(user), Some(password)) => Ok(Some(Login::password(user, &password))),
            (None, None) => Ok(None),
            _ => Err("have a username or a password, and need both"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::fs;

    fn config(text: &str) -> (tempfile::TempDir, DockerConfig) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("config.json");
        fs::write(&path, text).expect("it is written");
        (directory, DockerConfig { path, ..DockerConfig::default() })
    }

    fn shown(login: Option<&Login>) -> String {
        match login {
            None => "none".to_owned(),
            Some(Login::Password { user, password }) => format!("{user}:{}", password.expose_secret()),
            Some(Login::IdentityToken(token)) => format!("identity {}", token.expose_secret()),
            Some(Login::RegistryToken(token)) => format!("registry {}", token.expose_secret()),
        }
    }

    #[test]
    fn every_kind_of_entry_is_understood() {
        let (_directory, config) = config(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "dTpw", "email": "x"},
                "a.test": {"username": "u", "password": "p"},
                "b.test": {"auth": "dTpw", "identitytoken": "t"},
                "c.test": {"registrytoken": "t"},
                "d.test": {}, "e.test": null, "f.test": {"auth": ""}
            }, "credsStore": "", "credHelpers": null, "detachKeys": "ctrl-e,e"}"#,
        );
        for (registry, expected) in [
            ("docker.io", "u:p"),
            ("a.test", "u:p"),
            ("b.test", "identity t"),
            ("c.test", "registry t"),
            ("d.test", "none"),
            ("e.test", "none"),
            ("f.test", "none"),
            ("g.test", "none"),
        ] {
            let found = config.look_up(registry, "team/tool").expect("it can be read");
            assert_eq!((shown(found.login.as_ref()).as_str(), found.helper), (expected, None), "{registry}");
        }
    }

    #[test]
    fn helpers_are_chosen_by_registry_and_else_the_store() {
        let (_directory, config) = config(
            r#"{"auths": {"b.test": {"auth": "dTpw"}}, "credsStore": "pass",
                "credHelpers": {"a.test": "ecr-login", "b.test": "", "https://index.docker.io/v1/": "hub"}}"#,
        );
        let helper = |registry: &str| config.look_up(registry, "x").expect("it can be read").helper;
        assert_eq!(helper("a.test").as_deref(), Some("ecr-login"));
        assert_eq!(helper("b.test"), None);
        assert_eq!(helper("c.test").as_deref(), Some("pass"));
        assert_eq!(helper("docker.io").as_deref(), Some("hub"));
    }

    #[test]
    fn helpers_are_programs_on_the_path() {
        use std::os::unix::fs::PermissionsExt;
        let (directory, mut config) = config(
            r#"{"credsStore": "pass", "credHelpers": {"a.test": "ecr-login", "b.test": "", "c.test": "pass"}}"#,
        );
        let there = directory.path().join("docker-credential-pass");
        fs::write(&there, "").expect("it is written");
        fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).expect("its mode is set");
        config.search_path = directory.path().into();
        let helpers = config.helpers().expect("it can be read");
        let expected = [
            ("docker-credential-ecr-login".to_owned(), None),
            ("docker-credential-pass".to_owned(), Some(there)),
        ];
        assert_eq!(helpers, BTreeMap::from(expected));
    }

    #[test]
    fn what_is_malformed_is_told_in_one_line_without_a_value() {
        for (text, rule) in [
            ("hunter2", "line 1 column 1"),
            (r#"{"auths": {"a.test": {"auth": "hunter2"}}}"#, "auths for \"a.test\" are not base64"),
            (r#"{"auths": {"a.test": {"username": "hunter2"}}}"#, "need both"),
            (r#"{"auths": ["hunter2"]}"#, "line 1"),
            (r#"{"credsStore": "../bin/evil"}"#, "../bin/evil"),
            (r#"{"credHelpers": {"a.test": "a b"}}"#, "a b"),
        ] {
            let (_directory, config) = config(text);
            let error = config.check().expect_err(text).to_string();
            assert!(error.contains(rule) && error.contains("config.json"), "{error}");
            assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
        }
        let (_directory, config) = config(&" ".repeat(2 << 20));
        assert!(config.check().expect_err("too large").to_string().contains("larger than"));
    }

    #[test]
    fn no_file_is_no_credentials() {
        let absent = DockerConfig { path: "/nowhere/config.json".into(), ..DockerConfig::default() };
        absent.check().expect("it need not be there");
        let behind = DockerConfig { path: "/dev/null/config.json".into(), ..DockerConfig::default() };
        behind.check().expect("it need not be there");
    }
}
