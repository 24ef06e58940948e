//! Files that a job leaves: which ones it declares, and which paths they have.

mod pattern;

pub use pattern::{MAX_PATTERN_PARTS, Pattern, Place};

use crate::name::is_shown_as_it_is;
use pattern::ANY_DIRECTORIES;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Artifacts that one job declares at most.
pub const MAX_ARTIFACTS: usize = 100;
/// Files that all of a job's artifacts have together at most.
pub const MAX_ARTIFACT_FILES: usize = 1_000;
/// Bytes of one such file at most.
pub const MAX_ARTIFACT_BYTES: u64 = 1 << 30;
/// Bytes of all such files of one job together at most.
pub const MAX_ARTIFACTS_BYTES: u64 = 4 << 30;
/// Bytes of a path or a pattern at most.
pub const MAX_ARTIFACT_PATH: usize = 1_000;
/// Bytes of a name at most.
const MAX_NAME: usize = 100;

/// What a job leaves: a file, or the files that a pattern matches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArtifactSpec {
    /// What it is called: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Where it is, below the workspace: a path whose parts may have `*` and `?`, or be `**` for any number of directories. A
    /// directory stands for all files below it.
    pub path: String,
    /// Whether it is no fault of the job when there is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What is wrong with a job's artifacts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadArtifact {
    /// There are too many.
    #[error("the job declares {0} artifacts: at most {MAX_ARTIFACTS} are allowed; use a pattern")]
    TooMany(usize),
    /// A name that none can have.
    #[error(
        "artifact {0:?} can't be called so: use 1 to {MAX_NAME} letters, digits, '.', '_' and '-', of which the first is a \
         letter or a digit"
    )]
    Name(String),
    /// The same name twice.
    #[error("two artifacts are called {0:?}: rename one")]
    Twice(String),
    /// A path that leaves the workspace, or that no file can have.
    #[error(
        "artifact {name:?} has the path {path:?}: it must be relative, without empty and blank parts, '.', '..' and \
         control, invisible and direction-changing characters, '**' only as a part of its own, up to {MAX_ARTIFACT_PATH} bytes"
    )]
    Path {
        /// The artifact.
        name: String,
        /// Its path.
        path: String,
    },
    /// A pattern that takes too long to compare with all files of a workspace.
    #[error(
        "artifact {name:?} has a pattern of {parts} parts: at most {MAX_PATTERN_PARTS} are allowed between '/'; use '**' for \
         any number of directories"
    )]
    Parts {
        /// The artifact.
        name: String,
        /// How many there are.
        parts: usize,
    },
}

/// Looks at all artifacts of a job.
pub(crate) fn check(artifacts: &[ArtifactSpec]) -> Result<(), BadArtifact> {
    if artifacts.len() > MAX_ARTIFACTS {
        return Err(BadArtifact::TooMany(artifacts.len()));
    }
    let mut names = BTreeSet::new();
    for spec @ ArtifactSpec { name, path, .. } in artifacts {
        if !is_artifact_name(name) {
            return Err(BadArtifact::Name(name.clone()));
        }
        if !names.insert(name) {
            return Err(BadArtifact::Twice(name.clone()));
        }
        let lone = |part: &str| part == ANY_DIRECTORIES || !part.contains(ANY_DIRECTORIES);
        if !is_artifact_path(path) || !path.split('/').all(lone) {
            return Err(BadArtifact::Path { name: name.clone(), path: path.clone() });
        }
        Pattern::of(spec)?;
    }
    Ok(())
}

/// Whether an artifact can be called so.
pub fn is_artifact_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.len() <= MAX_NAME
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
        && name.bytes().all(plain)
}

/// Whether a file below a directory can have this path.
pub fn is_artifact_path(path: &str) -> bool {
    let part = |part: &str| is_shown_as_it_is(part) && part != "." && part != "..";
    path.len() <= MAX_ARTIFACT_PATH && path.split('/').all(part)
}

impl ArtifactSpec {
    /// Whether a file with this path is one of its.
    pub fn matches(&self, path: &str) -> bool {
        Pattern::of(self).is_ok_and(|pattern| pattern.matches(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> ArtifactSpec {
        ArtifactSpec { name: "a".to_owned(), path: path.to_owned(), optional: false }
    }

    #[test]
    fn what_leads_out_or_is_twice_is_refused() {
        let check_one = |name: &str, path: &str| check(&[ArtifactSpec { name: name.to_owned(), ..of(path) }]);
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "./a",
            "a/",
            "a\nb",
            "a/ /b",
            "a\u{202e}b",
            "a\u{200b}",
            "a**/b",
            "a/***",
        ] {
            assert!(matches!(check_one("ok", path), Err(BadArtifact::Path { .. })), "{path:?}");
        }
        for name in ["", ".hidden", "-x", "a/b", "ä", "a b", &"x".repeat(101)] {
            assert!(matches!(check_one(name, "ok"), Err(BadArtifact::Name(_))), "{name:?}");
        }
        assert_eq!(check(&[of("x"), of("y")]), Err(BadArtifact::Twice("a".to_owned())));
        assert_eq!(check(&vec![of("x"); 101]), Err(BadArtifact::TooMany(101)));
        assert_eq!(check_one("ok-1.x_y", "out/**/a?.*"), Ok(()));
        assert_eq!(check_one("ok", "ausgabe/übersicht 日本.xml"), Ok(()));
    }
}
