//! Paths and names out of payloads, checked component by component.

use crate::job::Failure;
use std::path::Path;

/// What a path that leaves the workspace is answered with.
pub(super) const OUTSIDE: &str = "refusing to write outside of working directory";

/// `path` below the workspace, without dots and duplicate slashes; a leading slash means the
/// workspace itself. Empty for the workspace.
pub(crate) fn normalize(path: &str) -> Result<String, Failure> {
    let parts = parts(path).ok_or_else(|| Failure::bad_job(format!("{OUTSIDE}: {path:?}")))?;
    if path.contains('\0') {
        return Err(Failure::bad_job(format!("a path can't contain a NUL byte: {path:?}")));
    }
    Ok(parts.join("/"))
}

/// The components of a path; `None` when it leaves where it begins, even if it came back.
fn parts(path: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts)
}

/// Where a repository goes below `workspace`, normalized as [`normalize`] does it.
pub(super) fn repository_directory(path: &str, workspace: &Path) -> Result<String, Failure> {
    if parts(path).is_some() {
        return normalize(path);
    }
    let workspace = workspace.to_string_lossy();
    let mut target: Vec<&str> = Vec::new();
    for part in workspace.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(target.pop()),
            part => target.push(part),
        }
    }
    let target = format!("/{}", target.join("/"));
    Err(Failure::bad_job(format!("invalid repo path {target:?} not a subdirectory of {workspace:?}")))
}

/// Checks a repository's name: it becomes part of URLs and an argument of git.
pub(super) fn check_repository(name: &str) -> Result<(), Failure> {
    let plain = name.split('/').all(crate::api::valid_segment)
        && !name.starts_with('-')
        && !name.contains(|c: char| c.is_whitespace() || matches!(c, '?' | '#' | '%' | '"'));
    if plain { Ok(()) } else { Err(Failure::bad_job(format!("invalid repository name {name:?}"))) }
}

/// Checks a commit: it becomes an argument of git and must not be read as an option or a refspec.
pub(super) fn check_commit(commit: &str) -> Result<(), Failure> {
    let plain = !commit.is_empty()
        && !commit.starts_with(['-', '+', '^'])
        && !commit
            .contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '*' | '?' | '\\'));
    if plain { Ok(()) } else { Err(Failure::bad_job(format!("invalid commit {commit:?}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_and_may_not_leave() {
        for (path, clean) in [("", ""), ("/", ""), ("a", "a"), ("/a//b/./c/", "a/b/c"), ("a/../b", "b")] {
            assert_eq!(normalize(path).unwrap(), clean);
        }
        for path in ["..", "a/../../b", "/../x", "a/b/../../.."] {
            let Err(Failure::Broke { message, .. }) = normalize(path) else { panic!("{path}") };
            assert!(message.starts_with(OUTSIDE), "{message}");
        }
        assert!(normalize("a\0b").is_err());
    }

    #[test]
    fn a_repository_goes_below_the_workspace() {
        let below = |path| repository_directory(path, Path::new("/work/job-1"));
        assert_eq!(below("/a/./b").unwrap(), "a/b");
        for (path, target) in
            [("../out", "/work/out"), ("a/../../../../etc", "/etc"), ("../job-1", "/work/job-1")]
        {
            let expect = format!("invalid repo path \"{target}\" not a subdirectory of \"/work/job-1\"");
            assert_eq!(below(path), Err(Failure::bad_job(expect)));
        }
    }

    #[test]
    fn names_that_git_could_take_for_something_else_are_refused() {
        for name in ["github.com/foo/bar", "a.b-c_d", "ü/x~y"] {
            assert!(check_repository(name).is_ok(), "{name}");
        }
        for name in ["-x", "a/../b", "/a", "a//b", "a b", "a?b", "a\nb", "a%2e"] {
            assert!(check_repository(name).is_err(), "{name}");
        }
        for commit in ["deadbeef", "refs/heads/main", "v1.0"] {
            assert!(check_commit(commit).is_ok(), "{commit}");
        }
        for commit in ["", "--upload-pack=x", "+a:b", "a:b", "a b", "^a", "refs/*"] {
            assert!(check_commit(commit).is_err(), "{commit}");
        }
    }
}
