//! Which repositories' images are not everyone's.
//!
//! The engine's store is one for all jobs. What came out of a repository for a login, and would not have
//! come without, is for those who can show that they may have it too: they pull it again, which costs
//! no more than a question when it is there.

use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "private-repositories";

/// Remembers private repositories across starts: images outlive the agent.
#[derive(Debug)]
pub(super) struct Access {
    dir: PathBuf,
}

impl Access {
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        let dir = state_dir.join(DIRECTORY);
        fs::create_dir_all(&dir)?;
        Ok(Self { dir })
    }

    pub(super) fn is_private(&self, repository: &str) -> bool {
        self.file(repository).exists()
    }

    /// Called before anything of it is pulled with a login, so that no death comes between.
    pub(super) fn make_private(&self, repository: &str) -> io::Result<()> {
        fs::write(self.file(repository), repository)
    }

    /// It was had without a login.
    pub(super) fn make_public(&self, repository: &str) {
        let _ = fs::remove_file(self.file(repository));
    }

    /// A repository's name may be longer than a file's.
    fn file(&self, repository: &str) -> PathBuf {
        self.dir.join(hex::encode(Sha256::digest(repository)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_stays_so_until_it_is_public() {
        let state = tempfile::tempdir().unwrap();
        let long = format!("r.example/{}", "a/".repeat(200));
        Access::open(state.path()).unwrap().make_private(&long).unwrap();
        let access = Access::open(state.path()).unwrap();
        assert!(access.is_private(&long) && !access.is_private("r.example/a"));
        access.make_public(&long);
        access.make_public(&long);
        assert!(!access.is_private(&long));
    }
}
