//! Repositories to mirror, made with the real git.

use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub(crate) struct SourceRepo(TempDir);

impl SourceRepo {
    /// A repository with one commit on `main`.
    pub(crate) fn new() -> Self {
        let repo = Self(tempfile::tempdir().unwrap());
        repo.git(&["init", "--quiet", "--initial-branch=main", "."]);
        repo.commit("README", "hello\n");
        repo
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    /// Commits a file and gives the commit's id.
    pub(crate) fn commit(&self, file: &str, content: &str) -> String {
        std::fs::write(self.0.path().join(file), content).unwrap();
        self.git(&["add", "--", file]);
        self.git(&["commit", "--quiet", "--message", file]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(self.0.path(), args).unwrap()
    }
}

/// Runs git as a person would, but with nobody's configuration. `Err` holds what it complained of.
pub(crate) fn git(dir: &Path, args: &[&str]) -> Result<String, String> {
    let person = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"];
    let output = Command::new("git")
        .current_dir(dir)
        .args(person)
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("http_proxy")
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
