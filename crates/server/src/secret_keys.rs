//! The keys that secrets are sealed with: where they come from, and how they change without a restart.

use crate::acts::{Act, Action, note};
use crate::app::App;
use crate::auth::principal::root;
use crate::error::ServerError;
use crate::private_files::{self, replace_alike};
use crate::rounds::Rounds;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{BadKeys, DatabaseChoice, Keyring, SqlStore, StoreError, look_at_keys, new_key_line};
use tokio::time::Instant;

/// The keys' file in the data directory.
pub const SECRET_KEYS_FILE: &str = "secret-keys";
/// Bytes of such a file at most.
const MAX_BYTES: u64 = 64 << 10;
/// How often to look for new keys.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often to look for what other servers sealed with older keys.
const SEAL_EVERY: Duration = Duration::from_mins(10);

/// Where the keys come from.
#[derive(Debug, Clone, Default)]
pub enum SecretKeys {
    /// The file `secret-keys` in the data directory, which the first start writes.
    #[default]
    InDataDir,
    /// A file of the operator's.
    File(PathBuf),
    /// As the environment has them: they change with the next start only.
    Given(SecretString),
}

/// The keys can't be used. Nothing of a key is told.
#[derive(Debug, thiserror::Error)]
pub enum SecretKeysError {
    /// The file can't be read or written.
    #[error("can't use the keys for secrets in {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is there is no list of keys.
    #[error("can't use the keys for secrets in {place}: {fault}")]
    Content {
        /// The file, or where else they are.
        place: String,
        /// The rule, and what to do.
        fault: BadKeys,
    },
    /// They are not those that secrets are sealed with.
    #[error("can't use the keys for secrets in {place}: {fault}")]
    NotThese {
        /// The file, or where else they are.
        place: String,
        /// Which one is missing or wrong, and what to do.
        fault: Box<StoreError>,
    },
}

impl SecretKeys {
    /// The file that they are in, if they are in one.
    pub(crate) fn file(&self, data_dir: &Path) -> Option<PathBuf> {
        match self {
            Self::InDataDir => Some(data_dir.join(SECRET_KEYS_FILE)),
            Self::File(path) => Some(path.clone()),
            Self::Given(_) => None,
        }
    }

    /// Whether they can be read, wherever they are. None is made.
    pub fn check(&self, data_dir: &Path) -> Result<(), SecretKeysError> {
        self.read(data_dir).map(drop)
    }

    /// Which of the keys that the database's secrets are sealed with are not among them, each with why that matters. None of
    /// them is made or noted.
    pub async fn missed(
        &self,
        database: &DatabaseChoice,
        data_dir: &Path,
    ) -> Result<Vec<StoreError>, StoreError> {
        let keys = self.read(data_dir).ok();
        look_at_keys(database, data_dir, keys.as_ref()).await
    }

    /// How people are told where they are.
    pub fn place(&self, data_dir: &Path) -> String {
        let file = self.file(data_dir);
        file.map_or_else(|| "the environment".to_owned(), |path| path.display().to_string())
    }

    /// Reads them, after writing a file with a new one where that is ours to do.
    pub(crate) fn open(&self, data_dir: &Path) -> Result<Keyring, ServerError> {
        let Some(path) = self.file(data_dir) else { return Ok(self.read(data_dir)?) };
        if matches!(self, Self::InDataDir) && !path.exists() {
            let file = |source| SecretKeysError::File { path: path.clone(), source };
            let (id, line) = new_key_line().map_err(|fault| file(io::Error::other(fault.to_string())))?;
            private_files::write_new_private(&path, &first_text(&line)).map_err(file)?;
            tracing::info!(file = %path.display(), key = id, "wrote a new key for secrets: keep a copy of it");
        }
        private_files::warn_if_readable_by_others(&path);
        Ok(self.read(data_dir)?)
    }

    fn read(&self, data_dir: &Path) -> Result<Keyring, SecretKeysError> {
        let text = match (self, self.file(data_dir)) {
            (Self::Given(text), _) => Zeroizing::new(text.expose_secret().to_owned()),
            (_, Some(path)) => read_file(&path)?,
            (_, None) => Zeroizing::default(),
        };
        let place = || self.place(data_dir);
        Keyring::parse(&text).map_err(|fault| SecretKeysError::Content { place: place(), fault })
    }
}

fn first_text(line: &str) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "# What the secrets in the database are sealed with: ID:KEY. The first line seals what is new. Whoever has this\n\
         # file and the database can read all secrets, and without it nobody can: keep a copy apart from the database's.\n\
         # `executor server rotate-key` puts a new one first.\n{line}\n"
    ))
}

fn read_file(path: &Path) -> Result<Zeroizing<String>, SecretKeysError> {
    let mut text = Zeroizing::new(String::new());
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    read.map_err(|source| SecretKeysError::File { path: path.to_owned(), source })?;
    Ok(text)
}

/// What [`rotate_secret_key`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotatedKey {
    /// The id of the new key.
    pub id: String,
    /// The file it is in.
    pub file: PathBuf,
}

/// Puts a new key into a file of keys: as the first one, or, `standby`, as one that is only known. The file is replaced
/// whole or not at all; a server that runs takes it up within seconds.
pub fn rotate_secret_key(file: &Path, standby: bool) -> Result<RotatedKey, SecretKeysError> {
    let bad = |source| SecretKeysError::File { path: file.to_owned(), source };
    let text = read_file(file)?;
    let (id, line) = new_key_line().map_err(|fault| bad(io::Error::other(fault.to_string())))?;
    let text = if standby {
        Zeroizing::new(format!("{}\n{}\n", text.trim_end(), *line))
    } else {
        Zeroizing::new(format!("{}\n{}", *line, *text))
    };
    Keyring::parse(&text)
        .map_err(|fault| SecretKeysError::Content { place: file.display().to_string(), fault })?;
    replace_alike(file, &text).map_err(bad)?;
    Ok(RotatedKey { id, file: file.to_owned() })
}

/// Takes up new keys as soon as they are there, and seals with the first one what another one seals, until the server
/// stops.
pub(crate) async fn follow(app: App, store: Arc<SqlStore>, keys: SecretKeys, data_dir: PathBuf) {
    let mut rounds = Rounds::every(&app, LOOK_EVERY);
    let mut refused = None;
    let mut sealed: Option<Instant> = None;
    while rounds.next().await.is_some() {
        let taken_up = match take_up(&store, &keys, &data_dir).await {
            Ok(taken_up) => {
                refused = None;
                taken_up
            }
            Err(fault) => {
                let told = fault.to_string();
                if refused.as_ref() != Some(&told) {
                    tracing::error!(
                        error = &fault as &dyn std::error::Error,
                        "the keys that were last good stay in force"
                    );
                    refused = Some(told);
                }
                false
            }
        };
        if taken_up {
            // Who may write that file is on this host, and is nobody whom we know.
            let act =
                Act::global(Action::RotateKey, store.keys().first(), "new keys for secrets were taken up");
            note(&app, &root(), Ipv4Addr::LOCALHOST.into(), act).await;
        }
        if taken_up || sealed.is_none_or(|at| at.elapsed() >= SEAL_EVERY) {
            sealed = Some(Instant::now());
            seal_anew(&store).await;
        }
    }
}

/// Whether there were new ones.
async fn take_up(store: &SqlStore, keys: &SecretKeys, data_dir: &Path) -> Result<bool, SecretKeysError> {
    if matches!(keys, SecretKeys::Given(_)) {
        return Ok(false);
    }
    let new = keys.read(data_dir)?;
    if store.keys().is_same(&new) {
        return Ok(false);
    }
    let place = keys.place(data_dir);
    store
        .take_up_keys(&new)
        .await
        .map_err(|fault| SecretKeysError::NotThese { place: place.clone(), fault: fault.into() })?;
    tracing::info!(place, key = new.first(), "took up new keys for secrets");
    Ok(true)
}

async fn seal_anew(store: &SqlStore) {
    match store.seal_anew().await {
        Ok(0) => {}
        // Somebody waits for it.
        Ok(_) => tracing::warn!(key = store.keys().first(), "all secrets are sealed with this key now"),
        Err(fault) => {
            tracing::error!(error = &fault as &dyn std::error::Error, "can't seal secrets with the new key");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_first_start_writes_a_private_key_that_the_second_reads() {
        let dir = tempfile::tempdir().unwrap();
        let first = SecretKeys::InDataDir.open(dir.path()).unwrap();
        assert_eq!(mode(&dir.path().join(SECRET_KEYS_FILE)), 0o600);
        assert!(SecretKeys::InDataDir.open(dir.path()).unwrap().is_same(&first));
        let named = SecretKeys::File(dir.path().join("elsewhere"));
        let told = named.open(dir.path()).err().unwrap().to_string();
        assert!(told.contains("elsewhere") && !dir.path().join("elsewhere").exists(), "{told}");
        let given = SecretKeys::Given("x".into()).open(dir.path()).err().unwrap().to_string();
        assert!(
            given.starts_with("can't use the keys for secrets in the environment: its line 1 is no key"),
            "{given}"
        );
    }

    #[test]
    fn a_new_key_comes_first_or_stands_by() {
        let dir = tempfile::tempdir().unwrap();
        let old = SecretKeys::InDataDir.open(dir.path()).unwrap().first();
        let path = dir.path().join(SECRET_KEYS_FILE);
        let standing_by = rotate_secret_key(&path, true).unwrap().id;
        let read = || SecretKeys::InDataDir.open(dir.path()).unwrap();
        assert!(read().first() == old && read().knows(&standing_by));
        let new = rotate_secret_key(&path, false).unwrap().id;
        assert!(read().first() == new && read().knows(&old) && read().knows(&standing_by));
        assert_eq!(mode(&path), 0o600);
        assert!(std::fs::read_to_string(&path).unwrap().contains("# `executor server rotate-key`"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left there");
        rotate_secret_key(&dir.path().join("none"), false).unwrap_err();
    }
}
