//! The site configuration: a JSONC file, read again whenever it changes.

mod changes;
mod executions;
mod first;
mod images;
mod jsonc;
mod kept;
mod object_store;
mod parse;
mod remembered;
mod shares;

pub(crate) use changes::note as note_changes;
pub(crate) use executions::Executions;
pub(crate) use images::Images;
pub(crate) use object_store::Bucket;
pub(crate) use parse::Site;
pub(crate) use shares::QueueShare;

use changes::{Changes, Keys};
use parse::BadSite;
use remembered::Remembered;
use std::collections::BTreeSet;
use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of the file at most.
const MAX_BYTES: u64 = 1 << 20;

/// The site configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SiteConfigError {
    /// The file can't be read or written.
    #[error("can't use the site configuration {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that it may not.
    #[error("the site configuration {path} can't be used: {fault}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What it says, the rule, and what to do.
        fault: String,
    },
}

/// The site configuration as it is now. A change takes effect with the next request; a change that
/// can't be used is logged, and what was last good stays.
pub(crate) struct SiteConfig {
    path: PathBuf,
    /// What was last in force, for the next start.
    remembered: Remembered,
    seen: Mutex<Seen>,
}

struct Seen {
    stamp: Option<Stamp>,
    site: Arc<Site>,
    keys: Keys,
    /// Keys whose change is in force and not noted yet.
    changed: BTreeSet<&'static str>,
    /// The same of changes that were made while no server ran.
    changed_before: BTreeSet<&'static str>,
    /// What the file says can't be used, and `site` is what it said before.
    broken: bool,
}

/// What tells one version of the file from the next.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self { inode: meta.ino(), length: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) }
    }
}

impl SiteConfig {
    /// Reads the file, after writing one with a new token if there is none. What was in force when a server stopped is remembered in
    /// `data_dir`.
    pub(crate) fn open(path: &Path, data_dir: &Path) -> Result<Self, SiteConfigError> {
        let file = |source| SiteConfigError::File { path: path.to_owned(), source };
        if !path.try_exists().map_err(file)? {
            first::write(path).map_err(file)?;
            tracing::info!(file = %path.display(), "wrote a site configuration with a new access token");
        }
        crate::private_files::warn_if_readable_by_others(path);
        let stamp = stamp(path);
        let (site, keys) = load(path)?;
        if site.access_token.is_none() {
            tracing::warn!(
                file = %path.display(),
                "executors.accessToken is not set, so no executor can connect"
            );
        }
        let remembered = Remembered::in_dir(data_dir);
        let changed_before = remembered.that_differ(&keys).into_iter().collect();
        Ok(Self {
            path: path.to_owned(),
            remembered,
            seen: Mutex::new(Seen {
                stamp,
                site: Arc::new(site),
                keys,
                changed: BTreeSet::new(),
                changed_before,
                broken: false,
            }),
        })
    }

    /// What holds now. Looks at the file each time: that is one system call on a path the kernel
    /// has at hand, far below the cost of the request that asks.
    pub(crate) fn current(&self) -> Arc<Site> {
        let stamp = stamp(&self.path);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.stamp != stamp {
            seen.stamp = stamp;
            match load(&self.path) {
                Ok((site, keys)) => {
                    tracing::info!(file = %self.path.display(), "the site configuration was read again");
                    crate::private_files::warn_if_readable_by_others(&self.path);
                    let changed = keys.that_differ(&seen.keys);
                    seen.changed.extend(changed);
                    (seen.site, seen.keys, seen.broken) = (Arc::new(site), keys, false);
                }
                Err(fault) => {
                    seen.broken = true;
                    tracing::error!(error = %fault, "what was last good stays in force");
                }
            }
        }
        Arc::clone(&seen.site)
    }

    /// What has changed and is in force, but for what was noted.
    fn changes(&self) -> Changes {
        self.current();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Changes { before: seen.changed_before.clone(), since: seen.changed.clone(), keys: seen.keys.clone() }
    }

    /// Has nobody told of these again, the next start included. What was changed while they were noted is told of later.
    fn were_noted(&self, changes: &Changes) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.changed_before.clear();
        seen.changed = seen.keys.that_differ(&changes.keys).into_iter().collect();
        self.remembered.keep(&changes.keys);
    }

    /// Whether what is in force is what the file says now.
    pub(crate) fn is_good(&self) -> bool {
        self.current();
        !self.seen.lock().unwrap_or_else(PoisonError::into_inner).broken
    }
}

/// What a site configuration says, for people: none of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteLook {
    /// Keys that have no effect, each with what to do about it.
    pub without_effect: Vec<(String, &'static str)>,
    /// Whether there is a shared secret.
    pub has_access_token: bool,
    /// Whether the one before it is good as well.
    pub has_previous_access_token: bool,
    /// Whether results go into a bucket, rather than into the data directory.
    pub has_bucket: bool,
}

/// Reads a site configuration without using it.
pub fn look_at_site_config(path: &Path) -> Result<SiteLook, SiteConfigError> {
    let (site, idle, _) = read(path)?;
    Ok(SiteLook {
        without_effect: idle
            .into_iter()
            .map(|key| {
                let advice = parse::advice(&key);
                (key, advice)
            })
            .collect(),
        has_access_token: site.access_token.is_some(),
        has_previous_access_token: site.previous_access_token.is_some(),
        has_bucket: site.bucket.is_some(),
    })
}

fn stamp(path: &Path) -> Option<Stamp> {
    std::fs::metadata(path).ok().map(|meta| Stamp::of(&meta))
}

fn load(path: &Path) -> Result<(Site, Keys), SiteConfigError> {
    let (site, unknown, keys) = read(path)?;
    for key in unknown {
        tracing::warn!(file = %path.display(), key, "{}", parse::advice(&key));
    }
    Ok((site, keys))
}

/// What the file says, which of its keys have no effect, and what tells whether one of the others changes.
fn read(path: &Path) -> Result<(Site, Vec<String>, Keys), SiteConfigError> {
    let file = |source| SiteConfigError::File { path: path.to_owned(), source };
    let mut text = String::new();
    std::fs::File::open(path).map_err(file)?.take(MAX_BYTES).read_to_string(&mut text).map_err(file)?;
    let parsed = parse::parse(&text).map_err(|fault: BadSite| SiteConfigError::Content {
        path: path.to_owned(),
        fault: fault.to_string(),
    });
    parsed.map(|(site, idle)| (site, idle, Keys::of(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    fn token(site: &SiteConfig) -> String {
        site.current().access_token.as_ref().unwrap().expose_secret().to_owned()
    }

    #[test]
    fn the_first_start_writes_a_private_file_that_the_second_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site-config.jsonc");
        let first = token(&SiteConfig::open(&path, dir.path()).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(first.len() >= 20);
        assert_eq!(token(&SiteConfig::open(&path, dir.path()).unwrap()), first);
    }

    #[test]
    fn a_change_takes_effect_at_once_and_a_broken_one_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site.jsonc");
        std::fs::write(&path, r#"{"executors.accessToken": "first-first-first-first"}"#).unwrap();
        let site = SiteConfig::open(&path, dir.path()).unwrap();
        std::fs::write(&path, r#"{"executors.accessToken": "second-second-second"} // rotated"#).unwrap();
        assert_eq!(token(&site), "second-second-second");
        let taken = || {
            let changes = site.changes();
            site.were_noted(&changes);
            changes.since.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(taken(), ["executors.accessToken"]);
        let same = r#"{"executors.accessToken": "second-second-second", "executors.other": 1}"#;
        std::fs::write(&path, same).unwrap();
        assert!(taken().is_empty(), "nothing else is in force");
        let days = r#"{"executors.accessToken": "second-second-second", "executors.auditKeptDays": 7}"#;
        std::fs::write(&path, days).unwrap();
        assert_eq!(taken(), ["executors.auditKeptDays"]);
        assert!(taken().is_empty(), "it is told once");
        // Changed while the one before is noted, or while nobody can note it, it is told of the next time.
        std::fs::write(&path, same).unwrap();
        let noted = site.changes();
        std::fs::write(&path, days).unwrap();
        site.current();
        site.were_noted(&noted);
        assert!(
            SiteConfig::open(&path, dir.path()).unwrap().changes().before.contains("executors.auditKeptDays")
        );
        assert_eq!(taken(), ["executors.auditKeptDays"]);
        assert!(SiteConfig::open(&path, dir.path()).unwrap().changes().before.is_empty());
        for broken in ["{", r#"{"executors.accessToken": "short"}"#] {
            std::fs::write(&path, broken).unwrap();
            assert_eq!(token(&site), "second-second-second", "{broken}");
            assert!(!site.is_good() && taken().is_empty(), "{broken}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(token(&site), "second-second-second");
    }

    #[test]
    fn a_refusal_names_file_key_rule_and_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("site.jsonc");
        std::fs::write(&path, r#"{"executors.accessToken": "too-short"}"#).unwrap();
        let refusal = SiteConfig::open(&path, dir.path()).err().unwrap().to_string();
        assert_eq!(
            refusal,
            format!(
                "the site configuration {} can't be used: executors.accessToken has 9 characters, but must have \
                 at least 20. Make one with: openssl rand -hex 32",
                path.display()
            )
        );
    }
}
