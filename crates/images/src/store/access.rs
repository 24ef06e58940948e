//! Who may use what is here.
//!
//! Content that came for nobody's login is everyone's. Other content is for those who can show that
//! they may pull from a repository it came from; that alone decides, since registries grant access by
//! repository. Content of which nothing is known is nobody's, and fetched anew.

use super::Inner;
use super::layout::names_in;
use crate::ImageError;
use crate::digest::Digest;
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::PathBuf;

/// What a mark says instead of a repository.
const EVERYONE: &str = "everyone";

/// Whose content is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    /// It was imported, or its registry gives it to anyone.
    Everyone,
    /// It was pulled with a login from this repository, `registry/repository`.
    Repository(String),
}

impl Inner {
    /// Notes that the content `digest` may be used so, too.
    pub(crate) fn grant(&self, digest: &Digest, access: &Access) -> Result<(), ImageError> {
        let mark = self.mark(digest, access);
        // An empty file is there or isn't, whoever else writes it.
        let made = OpenOptions::new().create(true).append(true).open(&mark);
        made.map(drop).map_err(ImageError::io("write", &mark))
    }

    /// Whether the content was granted just so.
    pub(crate) fn is_granted(&self, digest: &Digest, access: &Access) -> bool {
        self.mark(digest, access).exists()
    }

    /// Whether a pull from `repository` may use the content `digest` rather than fetch it.
    pub(crate) fn may_reuse(&self, digest: &Digest, repository: &str) -> bool {
        self.is_granted(digest, &Access::Everyone)
            || self.is_granted(digest, &Access::Repository(repository.to_owned()))
    }

    /// Forgets whose content was that is not needed any more.
    pub(super) fn collect_access(&self, needed: &HashSet<Digest>) -> Result<(), ImageError> {
        let directory = self.layout.access();
        for name in names_in(&directory)? {
            let digest = name.split('.').next().and_then(Digest::from_hex);
            if digest.is_none_or(|digest| !needed.contains(&digest)) {
                let mark = directory.join(name);
                match fs::remove_file(&mark) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(ImageError::io("remove", &mark)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// `<digest>.everyone`, or `<digest>.<digest of the repository>`: repositories have characters and
    /// lengths that file names can't have.
    fn mark(&self, digest: &Digest, access: &Access) -> PathBuf {
        let whose = match access {
            Access::Everyone => EVERYONE.to_owned(),
            Access::Repository(repository) => Digest::of(repository.as_bytes()).hex().to_owned(),
        };
        self.layout.access().join(format!("{}.{whose}", digest.hex()))
    }
}
