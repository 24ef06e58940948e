//! What the site configuration said when it was last in force, kept for the next start: what was changed while no server ran is to
//! be told as well.

use super::changes::Keys;
use super::parse::USED;
use crate::private_files::replace_private;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The file in the data directory.
const FILE: &str = "site-config.seen";
/// Bytes of it at most: a few dozen keys.
const MAX_BYTES: u64 = 64 << 10;

/// The content of the file: nothing that could be told apart from other installations', for some values are secrets.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Random, in hexadecimal digits.
    salt: String,
    /// Digests of salt and value, by key.
    keys: BTreeMap<String, String>,
}

impl Kept {
    fn of(keys: &Keys, salt: String) -> Self {
        let digest =
            |value: &[u8; 32]| hex::encode(Sha256::new().chain_update(&salt).chain_update(value).finalize());
        let keys = keys.0.iter().map(|(key, value)| ((*key).to_owned(), digest(value))).collect();
        Self { salt, keys }
    }
}

/// The file.
pub(super) struct Remembered {
    path: PathBuf,
    /// What it says, if it is there.
    kept: Mutex<Option<Kept>>,
}

impl Remembered {
    pub(super) fn in_dir(data_dir: &Path) -> Self {
        let path = data_dir.join(FILE);
        let kept = read(&path).unwrap_or_else(|fault| {
            let told = "what the site configuration said before can't be read, so no change of it is told";
            tracing::warn!(file = %path.display(), %fault, "{told}");
            None
        });
        Self { path, kept: Mutex::new(kept) }
    }

    /// The keys with another value than they had then. Of a first start there are none.
    pub(super) fn that_differ(&self, keys: &Keys) -> Vec<&'static str> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = &*kept else { return Vec::new() };
        let now = Kept::of(keys, kept.salt.clone());
        USED.into_iter().filter(|key| now.keys.get(*key) != kept.keys.get(*key)).collect()
    }

    /// Keeps these instead.
    pub(super) fn keep(&self, keys: &Keys) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let salt = kept.as_ref().map(|kept| kept.salt.clone());
        let written = salt.map_or_else(new_salt, Ok).and_then(|salt| {
            let new = Kept::of(keys, salt);
            if kept.as_ref() != Some(&new) {
                replace_private(&self.path, &serde_json::to_string(&new)?)?;
                *kept = Some(new);
            }
            Ok(())
        });
        // It is tried again soon; a disk that is full has the log full of it by then.
        if let Err(fault) = written {
            tracing::debug!(file = %self.path.display(), %fault, "what the site configuration says can't be kept for the next start");
        }
    }
}

fn new_salt() -> io::Result<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    Ok(hex::encode(salt))
}

fn read(path: &Path) -> io::Result<Option<Kept>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(fault) => return Err(fault),
    };
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(Some(serde_json::from_str(&text)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_changed_between_two_starts_is_known_and_no_value_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let of = |token: &str| {
            Keys::of(&format!(r#"{{"executors.accessToken": "{token}", "executors.auditKeptDays": 7}}"#))
        };
        let (first, second) = (of("first-first-first-first"), of("second-second-second"));
        let begun = Remembered::in_dir(dir.path());
        assert!(begun.that_differ(&first).is_empty(), "a first start is no change");
        begun.keep(&first);
        let again = Remembered::in_dir(dir.path());
        assert!(again.that_differ(&first).is_empty());
        assert_eq!(again.that_differ(&second), ["executors.accessToken"]);
        assert_eq!(again.that_differ(&Keys::of("{}")), ["executors.accessToken", "executors.auditKeptDays"]);
        again.keep(&second);
        assert!(Remembered::in_dir(dir.path()).that_differ(&second).is_empty());
        let path = dir.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        let plain = hex::encode(second.0["executors.accessToken"]);
        assert!(!text.contains("second") && !text.contains(&plain), "{text}");
        std::fs::write(&path, "{").unwrap();
        assert!(Remembered::in_dir(dir.path()).that_differ(&first).is_empty(), "who can't tell does not");
    }
}
