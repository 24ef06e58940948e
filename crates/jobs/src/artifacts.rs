//! Files that a job leaves: which ones it declares, and which paths they have.

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
/// What stands for any number of directories, and what makes a part one that is a pattern.
const ANY_DIRECTORIES: &str = "**";
const WILD: [char; 2] = ['*', '?'];

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
        "artifact {name:?} has the path {path:?}: it must be relative, without empty parts, '.', '..' and control \
         characters, '**' only as a part of its own, up to {MAX_ARTIFACT_PATH} bytes"
    )]
    Path {
        /// The artifact.
        name: String,
        /// Its path.
        path: String,
    },
}

/// Looks at all artifacts of a job.
pub(crate) fn check(artifacts: &[ArtifactSpec]) -> Result<(), BadArtifact> {
    if artifacts.len() > MAX_ARTIFACTS {
        return Err(BadArtifact::TooMany(artifacts.len()));
    }
    let mut names = BTreeSet::new();
    for ArtifactSpec { name, path, .. } in artifacts {
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
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.len() <= MAX_ARTIFACT_PATH && path.split('/').all(part) && !path.chars().any(char::is_control)
}

impl ArtifactSpec {
    /// Whether it is one file, called as the artifact, rather than those that a pattern matches.
    pub fn is_plain(&self) -> bool {
        !self.path.contains(WILD)
    }

    /// Whether a file with this path is one of its.
    pub fn matches(&self, path: &str) -> bool {
        let pattern: Vec<&str> = self.path.split('/').collect();
        let parts: Vec<&str> = path.split('/').collect();
        match_parts(&pattern, &parts)
    }

    /// Whether there may be files of its below a directory with this path.
    pub fn may_be_below(&self, directory: &str) -> bool {
        let pattern: Vec<&str> = self.path.split('/').collect();
        for (index, part) in directory.split('/').filter(|part| !part.is_empty()).enumerate() {
            match pattern.get(index) {
                Some(&ANY_DIRECTORIES) => return true,
                Some(pattern) if match_part(pattern, part) => {}
                // It is a directory of which all is wanted.
                None => return self.is_plain(),
                Some(_) => return false,
            }
        }
        true
    }
}

/// The files below a directory whose path is matched are matched as well, where nothing is a pattern.
fn match_parts(pattern: &[&str], parts: &[&str]) -> bool {
    // Which beginnings of the pattern match the parts so far: one bit of a row each, so that nothing is tried twice.
    let plain = !pattern.iter().any(|part| part.contains(WILD));
    let mut row = vec![false; pattern.len() + 1];
    row[0] = true;
    spread(pattern, &mut row);
    for part in parts {
        let mut next = vec![false; pattern.len() + 1];
        for (index, wanted) in pattern.iter().enumerate() {
            if !row[index] {
                continue;
            }
            if *wanted == ANY_DIRECTORIES {
                next[index] = true;
            } else if match_part(wanted, part) {
                next[index + 1] = true;
            }
        }
        next[pattern.len()] |= plain && row[pattern.len()];
        spread(pattern, &mut next);
        row = next;
    }
    row[pattern.len()]
}

/// `**` stands for no directory as well.
fn spread(pattern: &[&str], row: &mut [bool]) {
    for (index, wanted) in pattern.iter().enumerate() {
        if row[index] && *wanted == ANY_DIRECTORIES {
            row[index + 1] = true;
        }
    }
}

fn match_part(pattern: &str, part: &str) -> bool {
    let (pattern, part): (Vec<char>, Vec<char>) = (pattern.chars().collect(), part.chars().collect());
    let (mut at, mut within) = (0, 0);
    // Where the last star was, and what it took so far.
    let mut star: Option<(usize, usize)> = None;
    while within < part.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, within));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == part[within] => {
                at += 1;
                within += 1;
            }
            _ => match star {
                Some((stood, took)) => {
                    star = Some((stood, took + 1));
                    at = stood + 1;
                    within = took + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|left| *left == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(path: &str) -> ArtifactSpec {
        ArtifactSpec { name: "a".to_owned(), path: path.to_owned(), optional: false }
    }

    #[test]
    fn patterns_match_as_people_expect() {
        for (pattern, path, expected) in [
            ("out/app", "out/app", true),
            ("out/app", "out/apps", false),
            ("out", "out/deep/app", true),
            ("out/*", "out/app", true),
            ("out/*", "out/deep/app", false),
            ("*.xml", "a.xml", true),
            ("*.xml", "deep/a.xml", false),
            ("**/*.xml", "a.xml", true),
            ("**/*.xml", "very/deep/a.xml", true),
            ("reports/**", "reports/a/b", true),
            ("reports/**", "other/a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/x/y/c", false),
            ("te?t-*-*.log", "test-1-2.log", true),
            ("te?t-*-*.log", "test-1.log", false),
            ("*", "ä", true),
        ] {
            assert_eq!(of(pattern).matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_leads_out_or_is_twice_is_refused() {
        let check_one = |name: &str, path: &str| check(&[ArtifactSpec { name: name.to_owned(), ..of(path) }]);
        for path in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/", "a\nb", "a**/b", "a/***"] {
            assert!(matches!(check_one("ok", path), Err(BadArtifact::Path { .. })), "{path:?}");
        }
        for name in ["", ".hidden", "-x", "a/b", "ä", "a b", &"x".repeat(101)] {
            assert!(matches!(check_one(name, "ok"), Err(BadArtifact::Name(_))), "{name:?}");
        }
        assert_eq!(check(&[of("x"), of("y")]), Err(BadArtifact::Twice("a".to_owned())));
        assert_eq!(check(&vec![of("x"); 101]), Err(BadArtifact::TooMany(101)));
        assert_eq!(check_one("ok-1.x_y", "out/**/a?.*"), Ok(()));
    }

    proptest! {
        /// What is matched is found by who looks only where it may be.
        #[test]
        fn nothing_that_matches_is_below_what_is_passed_over(
            pattern in "(\\*\\*|[ab*?]{1,3})(/(\\*\\*|[ab*?]{1,3})){0,3}",
            path in "[ab]{1,3}(/[ab]{1,3}){0,4}",
        ) {
            let spec = of(&pattern);
            if check(std::slice::from_ref(&spec)).is_ok() && spec.matches(&path) {
                for (at, _) in path.match_indices('/') {
                    prop_assert!(spec.may_be_below(&path[..at]), "{} {}", pattern, &path[..at]);
                }
            }
        }
    }
}
