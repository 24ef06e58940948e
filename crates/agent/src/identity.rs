//! What an executor has of its own to prove who it is, in its state directory.
//!
//! It is made and written down before the control plane hears of it: so whatever breaks off in between can be done again,
//! and costs neither a use of the registration token nor the executor's name.

use crate::error::AgentError;
use crate::random;
use crate::supervisor::control_plane;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use url::Url;
use wire::additions::IDENTITY_PREFIX;

const FILE: &str = "identity";
/// Random bytes of one.
const BYTES: usize = 32;

/// An executor's identity.
#[derive(Debug)]
pub struct Identity {
    path: PathBuf,
    kept: Kept,
}

/// The file: JSON, readable by its owner only.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    control_plane: String,
    executor: String,
    #[serde(serialize_with = "shown")]
    identity: SecretString,
    /// Whether the control plane has heard of it.
    registered: bool,
}

fn shown<S: serde::Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}

impl Identity {
    /// The identity of `executor` at the control plane at `url` that is kept in `dir`, or a new one, which is kept there
    /// from now on. What is kept there for another executor or control plane goes.
    pub(crate) fn open(dir: &Path, url: &Url, executor: &str) -> Result<Self, AgentError> {
        let path = dir.join(FILE);
        let io = |what| AgentError::io(format!("{what} {}", path.display()));
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(fault) => return Err(io("read")(fault)),
        };
        let control_plane = control_plane(url);
        let kept: Option<Kept> = serde_json::from_slice(&text).ok();
        let is_ours = |kept: &Kept| kept.control_plane == control_plane && kept.executor == executor;
        if let Some(kept) = kept.filter(is_ours) {
            return Ok(Self { path, kept });
        }
        let identity = format!("{IDENTITY_PREFIX}{}", hex::encode(random::bytes::<BYTES>())).into();
        let executor = executor.to_owned();
        let kept = Kept { control_plane, executor, identity, registered: false };
        write(&path, &kept).map_err(io("write"))?;
        Ok(Self { path, kept })
    }

    /// What is shown in place of the shared secret.
    pub const fn secret(&self) -> &SecretString {
        &self.kept.identity
    }

    /// Whether the control plane has heard of it.
    pub const fn is_registered(&self) -> bool {
        self.kept.registered
    }

    /// Notes that the control plane has heard of it.
    pub fn note_registered(&mut self) -> Result<(), AgentError> {
        self.kept.registered = true;
        write(&self.path, &self.kept).map_err(AgentError::io(format!("write {}", self.path.display())))
    }
}

/// The identity of `executor` that is kept in `dir`, if there is one.
pub(crate) fn kept_in(dir: &Path, url: &Url, executor: &str) -> Option<SecretString> {
    let kept: Kept = serde_json::from_slice(&fs::read(dir.join(FILE)).ok()?).ok()?;
    (kept.control_plane == control_plane(url) && kept.executor == executor).then_some(kept.identity)
}

/// Writes the file whole or not at all.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let new = path.with_extension("new");
    // One that a crash left may have another mode.
    if let Err(fault) = fs::remove_file(&new)
        && fault.kind() != io::ErrorKind::NotFound
    {
        return Err(fault);
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(kept)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn open(dir: &Path, url: &str, executor: &str) -> Identity {
        Identity::open(dir, &url.parse().unwrap(), executor).unwrap()
    }

    #[test]
    fn it_is_made_once_and_kept_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("identity.new"), "left by a crash").unwrap();
        let mut first = open(dir.path(), "http://cp", "exec-1");
        let secret = first.secret().expose_secret().to_owned();
        assert!(secret.starts_with("executor_id_") && secret.len() == 12 + 64 && !first.is_registered());
        let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        first.note_registered().unwrap();
        let again = open(dir.path(), "http://cp/", "exec-1");
        assert!(again.is_registered() && again.secret().expose_secret() == secret);
        assert!(!format!("{again:?}").contains(&secret));
        let url = "http://cp".parse().unwrap();
        assert_eq!(kept_in(dir.path(), &url, "exec-1").unwrap().expose_secret(), secret);
        assert!(kept_in(dir.path(), &url, "exec-2").is_none());
    }

    #[test]
    fn another_name_or_control_plane_takes_another() {
        let dir = tempfile::tempdir().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for (url, executor) in [("http://a", "e-1"), ("http://a", "e-2"), ("http://b", "e-2")] {
            let identity = open(dir.path(), url, executor);
            assert!(!identity.is_registered());
            assert!(seen.insert(identity.secret().expose_secret().to_owned()));
        }
        fs::write(dir.path().join(FILE), "broken").unwrap();
        assert!(seen.insert(open(dir.path(), "http://b", "e-2").secret().expose_secret().to_owned()));
    }
}
