//! Files that a job brings along into its workspace.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// Files of one job at most.
pub const MAX_FILES: usize = 1_000;
/// Bytes of one uploaded file at most.
pub const MAX_FILE_BYTES: u64 = 256 << 20;
/// Bytes of all uploaded files of one job together at most.
pub const MAX_FILES_BYTES: u64 = 1 << 30;
/// Hexadecimal digits of an uploaded file's id.
const ID_DIGITS: usize = 32;
/// Bytes of one part of a path at most, as file systems have it.
pub(crate) const MAX_PATH_PART: usize = 255;
/// Bytes of a path at most.
pub(crate) const MAX_PATH: usize = 3_000;

/// A file to put into the workspace before the first step, over whatever the repository has there.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSpec {
    /// Where it goes: a relative path below the workspace.
    pub path: String,
    /// Its text, unless it was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The id that the control plane gave it when it was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// When it was last changed; that of the upload, or else of its writing, unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_at: Option<Timestamp>,
}

/// The content may be anything, so `Debug` tells only its length.
impl fmt::Debug for FileSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSpec")
            .field("path", &self.path)
            .field("content_bytes", &self.content.as_ref().map(String::len))
            .field("upload", &self.upload)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a job's files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFile {
    /// There are too many.
    #[error("the job brings {0} files: at most {MAX_FILES} are allowed; pack them into an archive")]
    TooMany(usize),
    /// A path that leaves the workspace, or that no file can have.
    #[error(
        "file {0:?} can't be put into the workspace: its path must be relative, without empty parts, '.', '..' and \
             control characters, of parts up to {MAX_PATH_PART} bytes, up to {MAX_PATH} in all"
    )]
    Path(String),
    /// The same path twice.
    #[error("two files have the path {0:?}: keep one")]
    Twice(String),
    /// A file where another one needs a directory.
    #[error("file {below:?} lies below {file:?}, which is a file as well: rename one")]
    Below {
        /// The file that needs the directory.
        below: String,
        /// The file in its place.
        file: String,
    },
    /// It is not clear what is in it.
    #[error("file {0:?} must have either content or an upload")]
    Source(String),
    /// Not an id of ours.
    #[error("file {path:?} names the upload {upload:?}: an upload's id has {ID_DIGITS} hexadecimal digits")]
    Upload {
        /// The file.
        path: String,
        /// What it names.
        upload: String,
    },
}

/// Checks everything about a job's files but what was uploaded.
pub(crate) fn check_all(files: &[FileSpec]) -> Result<(), BadFile> {
    if files.len() > MAX_FILES {
        return Err(BadFile::TooMany(files.len()));
    }
    let mut paths = BTreeSet::new();
    for file in files {
        file.check()?;
        if !paths.insert(file.path.as_str()) {
            return Err(BadFile::Twice(file.path.clone()));
        }
    }
    for path in &paths {
        let above = path.match_indices('/').map(|(end, _)| &path[..end]).find(|above| paths.contains(above));
        if let Some(file) = above {
            return Err(BadFile::Below { below: (*path).to_owned(), file: file.to_owned() });
        }
    }
    Ok(())
}

impl FileSpec {
    fn check(&self) -> Result<(), BadFile> {
        let plain = |part: &str| !part.is_empty() && part != ".";
        let path_ok = stays_inside(&self.path)
            && self.path.split('/').all(plain)
            && !self.path.chars().any(char::is_control);
        if !path_ok {
            return Err(BadFile::Path(self.path.clone()));
        }
        match (&self.content, &self.upload) {
            (Some(_), None) => Ok(()),
            (None, Some(id)) if is_file_id(id) => Ok(()),
            (None, Some(id)) => Err(BadFile::Upload { path: self.path.clone(), upload: id.clone() }),
            _ => Err(BadFile::Source(self.path.clone())),
        }
    }

    /// Bytes that it takes in the job's specification.
    pub(crate) fn size(&self) -> usize {
        self.path.len() + self.content.as_ref().map_or(0, String::len)
    }
}

/// Whether a text looks like the id of an uploaded file. It names a file on disk, so nothing else may
/// come that far.
pub fn is_file_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a path can't lead out of where it begins.
pub(crate) fn stays_inside(path: &str) -> bool {
    let part_ok = |part: &str| part != ".." && part.len() <= MAX_PATH_PART;
    !path.starts_with('/') && !path.contains('\0') && path.len() <= MAX_PATH && path.split('/').all(part_ok)
}
