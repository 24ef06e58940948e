//! What `up` and `server` leave for the client of the same user.

use super::Client;
use crate::certificates;
use crate::env::EnvReader;
use crate::exit::Failure;
use crate::paths::Paths;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use url::Url;

/// The settings file: JSON, readable by its owner only.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    /// The control plane's URL.
    pub(crate) server_url: String,
    /// Its API token.
    pub(crate) api_token: SecretString,
    /// The data directory of the `executor up` that wrote this; `server` has no images, so it names none.
    #[serde(default)]
    pub(crate) data_dir: Option<PathBuf>,
}

impl Settings {
    /// Reads the file; `None` when there is none. `instead` is what a user can set who has no such file.
    fn read(path: &Path, instead: &str) -> Result<Option<Self>, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(unusable(path, &fault, instead)),
        };
        // The parser's own words may hold a piece of the token.
        let broken = |fault: serde_json::Error| {
            format!("they break off or are not as we write them, at line {}", fault.line())
        };
        serde_json::from_str(&text).map(Some).map_err(|fault| unusable(path, &broken(fault), instead))
    }

    /// The data directory of an agent of this user and of its images: an option, the environment, the user's
    /// last `executor up`, the default. The file is only read where it decides.
    pub(crate) fn agent_data_dir(paths: &Paths, given: Option<PathBuf>) -> Result<PathBuf, Failure> {
        let last_up = match paths.named_data_dir(given) {
            Some(named) => return Ok(named),
            None => Self::read(&paths.settings, "EXECUTOR_DATA_DIR")?.and_then(|settings| settings.data_dir),
        };
        Ok(paths.agent_data_dir(None, last_up))
    }

    /// Writes the file whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Failure> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Written<'a> {
            server_url: &'a str,
            api_token: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            data_dir: Option<&'a Path>,
        }
        let written = Written {
            server_url: &self.server_url,
            api_token: self.api_token.expose_secret(),
            data_dir: self.data_dir.as_deref(),
        };
        let text = serde_json::to_string_pretty(&written)
            .map_err(|fault| Failure::system(format!("the client's settings can't be written: {fault}")))?;
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let replace = || -> std::io::Result<()> {
            let dir = path.parent().unwrap_or(Path::new("/"));
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            writeln!(file, "{text}")?;
            // Otherwise the new name may survive a crash of the host, and the content not.
            file.sync_all()?;
            std::fs::rename(&temporary, path)?;
            std::fs::File::open(dir)?.sync_all()
        };
        replace().map_err(|fault| {
            let _ = std::fs::remove_file(&temporary);
            Failure::system(format!("the client's settings can't be written to {}: {fault}", path.display()))
        })
    }

    /// The client that environment and settings describe; the environment wins.
    pub(crate) fn client(env: &mut EnvReader<'_>, paths: &Paths) -> Result<Client, Failure> {
        let (url, token) = match (env.text("EXECUTOR_SERVER_URL"), env.text("EXECUTOR_API_TOKEN")) {
            (Some(url), Some(token)) => (url, SecretString::from(token)),
            (url, token) => Self::complete(paths, url, token)?,
        };
        Client::new(base_of(&url)?, token, &certificates::read(env))
    }

    /// Takes from the file what the environment lacks.
    fn complete(
        paths: &Paths,
        url: Option<String>,
        token: Option<String>,
    ) -> Result<(String, SecretString), Failure> {
        let written = Self::read(&paths.settings, "EXECUTOR_SERVER_URL and EXECUTOR_API_TOKEN")?;
        match (url, written) {
            (None, Some(settings)) => {
                Ok((settings.server_url, token.map_or(settings.api_token, SecretString::from)))
            }
            (Some(url), Some(settings)) if same_server(&url, &settings.server_url) => {
                Ok((url, settings.api_token))
            }
            (Some(url), _) => Err(Failure::usage(format!(
                "EXECUTOR_SERVER_URL is {url}, but no API token is known for it: set EXECUTOR_API_TOKEN"
            ))),
            (None, None) => Err(Failure::usage(format!(
                "no control plane is known: start one with `executor up`, or set EXECUTOR_SERVER_URL and \
                 EXECUTOR_API_TOKEN (no settings at {})",
                paths.settings.display()
            ))),
        }
    }
}

/// The URL of a control plane, wherever it was found.
fn base_of(url: &str) -> Result<Url, Failure> {
    let invalid = |why: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "invalid URL of the control plane {url:?}: {why}; set EXECUTOR_SERVER_URL to one such as \
             http://127.0.0.1:7080"
        ))
    };
    let base: Url = url.parse().map_err(|fault| invalid(&fault))?;
    if matches!(base.scheme(), "http" | "https") {
        Ok(base)
    } else {
        Err(invalid(&"it is neither http nor https"))
    }
}

/// A token is only ever sent to the server it belongs to.
fn same_server(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn unusable(path: &Path, fault: &dyn std::fmt::Display, instead: &str) -> Failure {
    Failure::usage(format!(
        "the client's settings at {} can't be used: {fault}; remove the file and start `executor up` again, or set \
         {instead}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn settings_round_trip_and_only_their_owner_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/client.json");
        assert!(Settings::read(&path, "").unwrap().is_none());
        let settings = Settings {
            server_url: "http://127.0.0.1:1".into(),
            api_token: "token-value".into(),
            data_dir: Some("/d".into()),
        };
        settings.write(&path).unwrap();
        settings.write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = Settings::read(&path, "").unwrap().unwrap();
        assert_eq!(read.api_token.expose_secret(), "token-value");
        assert_eq!(read.data_dir, Some("/d".into()));
        assert!(!format!("{read:?}").contains("token-value"));
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1,
            "a temporary file was left"
        );
    }

    #[test]
    fn a_url_that_is_none_names_the_variable_and_an_example() {
        for url in ["foo", "", "localhost:7080", "127.0.0.1:7080", "ftp://a"] {
            let message = base_of(url).unwrap_err().message;
            for part in [&format!("{url:?}"), "EXECUTOR_SERVER_URL", "http://127.0.0.1:7080"] {
                assert!(message.contains(part), "{message}");
            }
        }
        assert!(base_of("https://executors.example/prefix").is_ok());
    }

    #[test]
    fn broken_settings_say_where_they_are_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("client.json");
        for broken in ["{", "\"token-value\"", r#"{"serverUrl": "u", "apiToken": {"token-value": 1}}"#] {
            std::fs::write(&path, broken).unwrap();
            let message = Settings::read(&path, "THIS").unwrap_err().message;
            assert!(message.contains("client.json") && message.ends_with("or set THIS"), "{message}");
            assert!(!message.contains("token-value"), "{message}");
        }
    }
}
