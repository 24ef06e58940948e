//! Sources of mounts that jobs could redirect: what one mount lets them write to, another must not be looked for in.
//!
//! A job that may write to a directory can put a link there, and what a link leads to is looked up with the host's
//! rights. So it counts where each name on the way to a source is looked up, links followed, and not only where the
//! source is.

use super::{AdditionalMount, Mounted};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Links on the way to one source; as many as the kernel follows.
const MOST_LINKS: usize = 40;

/// Why each of `mounts` can't be made beside the others, if it can't. A source that is not there is found out when it
/// is mounted.
pub fn unsafe_beside_others(mounts: &[AdditionalMount]) -> Vec<Option<String>> {
    let ways: Vec<_> = mounts.iter().map(|mount| source(mount).map(Way::to)).collect();
    let written: Vec<_> = mounts
        .iter()
        .zip(&ways)
        .map(|(mount, way)| way.as_ref().filter(|_| !mount.read_only)?.end.as_deref().ok())
        .collect();
    // The writable directory itself is its host's: only what is below is the job's to replace.
    let is_below = |number: usize, other: usize, above: &Path| {
        let below = |seen: &PathBuf| seen != above && seen.starts_with(above);
        number != other && ways[number].as_ref().is_some_and(|way| way.seen.iter().any(below))
    };
    let why = |number: usize| {
        let all = written.iter().enumerate().filter_map(|(other, above)| Some((other, (*above)?)));
        let (_, above) = { all }.find(|(other, above)| is_below(number, *other, above))?;
        let source = source(&mounts[number])?;
        Some(format!(
            "its source {} is below {}, which jobs may write to by another mount: have that one readonly, or keep this \
             elsewhere",
            source.display(),
            above.display()
        ))
    };
    (0..mounts.len()).map(why).collect()
}

/// Where `source` is, links followed.
pub(in crate::oci) fn resolved(source: &Path) -> io::Result<PathBuf> {
    Way::to(source).end
}

fn source(mount: &AdditionalMount) -> Option<&Path> {
    match &mount.what {
        Mounted::Host { source, .. } => Some(source),
        Mounted::Memory { .. } => None,
    }
}

/// What is come by on the way to a path.
struct Way {
    /// Every link, directory and file that is looked up.
    seen: Vec<PathBuf>,
    end: io::Result<PathBuf>,
}

impl Way {
    fn to(path: &Path) -> Self {
        let mut seen = Vec::new();
        let end = follow(path, &mut seen);
        Self { seen, end }
    }
}

fn follow(path: &Path, seen: &mut Vec<PathBuf>) -> io::Result<PathBuf> {
    let mut at = PathBuf::from("/");
    let mut rest = reversed(path);
    let mut links = 0;
    while let Some(part) = rest.pop() {
        match Path::new(&part).components().next() {
            Some(Component::RootDir) => at = "/".into(),
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::Normal(name)) => {
                let next = at.join(name);
                seen.push(next.clone());
                if !fs::symlink_metadata(&next)?.is_symlink() {
                    at = next;
                    continue;
                }
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP.into());
                }
                rest.extend(reversed(&fs::read_link(&next)?));
            }
            _ => {}
        }
    }
    Ok(at)
}

fn reversed(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mount(source: &Path, read_only: bool) -> AdditionalMount {
        let what = Mounted::Host { source: source.to_owned(), recursive: true };
        AdditionalMount { what, target: "/x".into(), read_only }
    }

    #[test]
    fn what_jobs_may_write_to_leads_to_no_other_source() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        for name in ["cache/certs", "cached", "elsewhere/certs"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        symlink(at("cache"), at("to-cache")).unwrap();
        symlink("cache/certs", at("to-certs")).unwrap();
        // What a job could have put there.
        symlink("../elsewhere", at("cache/out")).unwrap();
        symlink("cache/out", at("to-out")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let are_left_out = |mounts: &[AdditionalMount]| {
            unsafe_beside_others(mounts).iter().map(Option::is_some).collect::<Vec<_>>()
        };
        for (source, is_left_out) in [
            ("cache/certs", true),
            ("cache/nowhere", true),
            ("cache/out/certs", true),
            ("to-cache/certs", true),
            ("to-cache/out/certs", true),
            ("to-certs", true),
            ("to-out/certs", true),
            ("elsewhere/../cache/certs/..", true),
            ("cache", false),
            ("cached", false),
            ("elsewhere/certs", false),
            ("nowhere", false),
            ("loop", false),
        ] {
            for read_only in [true, false] {
                // However the writable one is spelled.
                for writable in ["cache", "to-cache"] {
                    let mounts = [mount(&at(writable), false), mount(&at(source), read_only)];
                    assert_eq!(are_left_out(&mounts), [false, is_left_out], "{writable}, {source}");
                }
                let mounts = [mount(&at("cache"), true), mount(&at(source), true)];
                assert_eq!(are_left_out(&mounts), [false, false], "nobody writes to {source}");
            }
        }
        let mounts = [mount(&at("cache/certs"), true), mount(&at("cache"), false)];
        assert_eq!(are_left_out(&mounts), [true, false], "whichever comes first");
        let told = unsafe_beside_others(&mounts)[0].clone().unwrap();
        assert!(told.contains("cache/certs is below") && !told.contains('\n'), "{told}");
    }

    #[test]
    fn a_source_is_resolved_as_the_kernel_does() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/etc/../usr/./bin", dir.path().join("link")).unwrap();
        for path in [dir.path().join("link/.."), dir.path().join("link/sh"), "/".into()] {
            assert_eq!(resolved(&path).unwrap(), fs::canonicalize(&path).unwrap(), "{path:?}");
        }
        assert_eq!(resolved(&dir.path().join("none/x")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
