//! Which repositories' images are everyone's.
//!
//! The engine's store is one for all who talk to it: other agents, another executor before us, people. So
//! nothing that came out of a registry is everyone's because it is there, but because its repository was seen
//! to give it to anyone. Whoever else wants it shows that they may have it: they are asked to pull what is
//! there already, which costs no more than a question.

use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "public-repositories";

/// Remembers public repositories across starts and for all supervisors of an agent: images outlive both.
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

    /// Whether the engine of that name was given something of it without a login.
    pub(super) fn is_public(&self, engine: &str, repository: &str) -> bool {
        self.file(engine, repository).exists()
    }

    /// It was had without a login. One that can't be noted is asked for again.
    pub(super) fn make_public(&self, engine: &str, repository: &str) {
        if let Err(fault) = fs::write(self.file(engine, repository), repository) {
            tracing::debug!(repository, %fault, "failed to note a public repository");
        }
    }

    /// Called before anything of it is pulled with a login, so that no death comes between.
    pub(super) fn doubt(&self, engine: &str, repository: &str) -> io::Result<()> {
        match fs::remove_file(self.file(engine, repository)) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => Err(fault),
            _ => Ok(()),
        }
    }

    /// What a name means depends on who asks: engines have networks, mirrors and hosts of their own. A
    /// repository's name may be longer than a file's.
    fn file(&self, engine: &str, repository: &str) -> PathBuf {
        self.dir.join(hex::encode(Sha256::digest(format!("{engine}\n{repository}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_public_stays_so_for_its_engine_until_it_is_doubted() {
        let state = tempfile::tempdir().unwrap();
        let long = format!("r.example/{}", "a/".repeat(200));
        let before = Access::open(state.path()).unwrap();
        assert!(!before.is_public("e", &long));
        before.make_public("e", &long);
        let access = Access::open(state.path()).unwrap();
        assert!(access.is_public("e", &long));
        assert!(!access.is_public("e", "r.example/a") && !access.is_public("another", &long));
        access.doubt("e", &long).unwrap();
        access.doubt("e", &long).unwrap();
        assert!(!access.is_public("e", &long));
    }
}
