//! What a cache key knows of the files that steps mount.

use super::input::Step;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// A mounted file, as it stands in a cache key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct MountMetadata {
    /// Where it is among the job's files.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// When it was last changed.
    pub modified: Timestamp,
}

/// A file of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceFile {
    /// Its bytes.
    pub size: u64,
    /// When it was last changed; `None` where that is when it is written.
    pub modified: Option<Timestamp>,
}

/// What is mounted by all steps, step by step; directories are walked name by name. `None` where it can't be known: a mounted
/// file is not there, or nobody knows when it was changed.
pub fn mounts_metadata(steps: &[Step], files: &BTreeMap<&str, WorkspaceFile>) -> Option<Vec<MountMetadata>> {
    let mut metadata = Vec::new();
    for mount in steps.iter().flat_map(|step| &step.mount) {
        let wanted = clean(&mount.path);
        let mut found: Vec<(Vec<&str>, &WorkspaceFile)> = files
            .iter()
            .map(|(path, file)| (path.split('/').collect::<Vec<_>>(), file))
            .filter(|(path, _)| path.starts_with(&wanted))
            .collect();
        if found.is_empty() {
            return None;
        }
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for (path, file) in found {
            metadata.push(MountMetadata { path: path.join("/"), size: file.size, modified: file.modified? });
        }
    }
    Some(metadata)
}

/// A path's parts without those that mean nothing.
fn clean(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::Mount;

    #[test]
    fn files_and_directories_are_found_in_the_order_of_a_walk() {
        let file = |size| WorkspaceFile { size, modified: Some(Timestamp::UNIX_EPOCH) };
        let mut files: BTreeMap<&str, WorkspaceFile> =
            [("m.x", file(1)), ("m/b", file(2)), ("m/a.b", file(3)), ("m/a/c", file(4)), ("other", file(5))]
                .into();
        let paths = |path: &str, files: &BTreeMap<&str, WorkspaceFile>| {
            let mount = vec![Mount { mountpoint: "/m".to_owned(), path: path.to_owned() }];
            let steps = [Step { mount, ..Step::default() }];
            let found = mounts_metadata(&steps, files)?;
            Some(found.into_iter().map(|of| of.path).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(paths("./m/", &files).as_deref(), Some("m/a/c m/a.b m/b"));
        assert_eq!(paths("./m.x", &files).as_deref(), Some("m.x"));
        assert_eq!(paths(".", &files).as_deref(), Some("m/a/c m/a.b m/b m.x other"));
        assert_eq!(paths("none", &files), None);
        files.insert("m/new", WorkspaceFile { size: 1, modified: None });
        assert_eq!(paths("m", &files), None);
        assert_eq!(mounts_metadata(&[Step::default()], &files), Some(Vec::new()));
    }
}
