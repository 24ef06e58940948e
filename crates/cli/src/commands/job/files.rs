//! Local files that a job brings along: small texts within its specification, all else as uploads.

use crate::client::Client;
use crate::exit::Failure;
use jiff::Timestamp;
use jobs::files::{MAX_FILE_BYTES, MAX_FILES_BYTES};
use jobs::{FileSpec, JobSpec};
use server::api::FileView;
use std::path::{Path, PathBuf};

/// Bytes of a text that goes into the specification at most.
const MAX_INLINE: u64 = 64 << 10;
/// Bytes of all such texts of one job together at most.
const MAX_INLINE_TOTAL: u64 = 1 << 20;

/// A local file, and where in the workspace it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalFile {
    pub(super) from: PathBuf,
    pub(super) path: String,
}

/// A file of a specification that has yet to be uploaded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pending {
    /// Its place in the specification's files.
    index: usize,
    from: PathBuf,
    size: u64,
}

impl LocalFile {
    /// Reads `LOCAL[:PATH]`.
    pub(super) fn parse(option: &str) -> Self {
        let (from, path) = option.rsplit_once(':').unwrap_or((option, ""));
        let name = || Path::new(from).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = if path.is_empty() { name() } else { path.to_owned() };
        Self { from: PathBuf::from(from), path }
    }
}

/// Adds `local` to the files of `spec`, and says which of them have yet to be uploaded. Those have an
/// empty content until then, so that all else can be checked before.
pub(super) fn add(spec: &mut JobSpec, local: Vec<LocalFile>) -> Result<Vec<Pending>, Failure> {
    let (mut inline, mut uploaded) = (0, 0);
    let mut pending = Vec::new();
    for LocalFile { from, path } in local {
        let (size, modified_at) = look(&from)?;
        let text = if size <= MAX_INLINE && inline + size <= MAX_INLINE_TOTAL { text(&from)? } else { None };
        if let Some(text) = &text {
            inline += text.len() as u64;
        } else {
            uploaded += size;
            pending.push(Pending { index: spec.files.len(), from, size });
        }
        let content = Some(text.unwrap_or_default());
        spec.files.push(FileSpec { path, content, upload: None, modified_at });
    }
    if uploaded > MAX_FILES_BYTES {
        return Err(Failure::usage(format!(
            "the job's files take {uploaded} bytes: at most {MAX_FILES_BYTES} are allowed together"
        )));
    }
    Ok(pending)
}

/// Uploads what is pending, and names it in `spec`.
pub(super) async fn upload(
    client: &Client,
    spec: &mut JobSpec,
    pending: Vec<Pending>,
) -> Result<(), Failure> {
    for Pending { index, from, size } in pending {
        let Some(file) = spec.files.get_mut(index) else { continue };
        // A path that was checked has a last part, which fits into a name.
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let kept = send(client, name, &from, size, file.modified_at).await?;
        (file.content, file.upload) = (None, Some(kept.id));
    }
    Ok(())
}

/// Sends a file that was looked at.
pub(super) async fn send(
    client: &Client,
    name: &str,
    from: &Path,
    size: u64,
    modified_at: Option<Timestamp>,
) -> Result<FileView, Failure> {
    let opened = tokio::fs::File::open(from).await.map_err(|fault| unreadable(from, &fault))?;
    client.upload(name, modified_at, opened, size).await
}

/// A file's size, and when it was last changed.
pub(super) fn look(from: &Path) -> Result<(u64, Option<Timestamp>), Failure> {
    let meta = std::fs::metadata(from).map_err(|fault| unreadable(from, &fault))?;
    if !meta.is_file() {
        return Err(Failure::usage(format!(
            "{} is not a regular file: name the files one by one, or pack them into an archive",
            from.display()
        )));
    }
    if meta.len() > MAX_FILE_BYTES {
        return Err(Failure::usage(format!(
            "file {} has {} bytes: at most {MAX_FILE_BYTES} can be brought along",
            from.display(),
            meta.len()
        )));
    }
    let modified_at = meta.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
    Ok((meta.len(), modified_at))
}

/// The content of a small file, if it is text.
fn text(from: &Path) -> Result<Option<String>, Failure> {
    let bytes = std::fs::read(from).map_err(|fault| unreadable(from, &fault))?;
    Ok(String::from_utf8(bytes).ok())
}

fn unreadable(from: &Path, fault: &std::io::Error) -> Failure {
    Failure::usage(format!("file {} can't be read: {fault}; name a file that is there", from.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_parts_local_from_path() {
        for (option, from, path) in [
            ("a", "a", "a"),
            ("dir/a.txt", "dir/a.txt", "a.txt"),
            ("dir/a.txt:", "dir/a.txt", "a.txt"),
            ("dir/a.txt:sub/b", "dir/a.txt", "sub/b"),
            ("od:d:x", "od:d", "x"),
            ("a:../b", "a", "../b"),
        ] {
            let expect = LocalFile { from: PathBuf::from(from), path: path.to_owned() };
            assert_eq!(LocalFile::parse(option), expect, "{option}");
        }
    }

    #[test]
    fn small_texts_go_inline_and_all_else_is_to_be_uploaded() {
        let dir = tempfile::tempdir().unwrap();
        let local = |name: &str, content: &[u8]| {
            let from = dir.path().join(name);
            std::fs::write(&from, content).unwrap();
            LocalFile { from, path: name.to_owned() }
        };
        let text = "x".repeat(MAX_INLINE as usize);
        let mut files = vec![local("binary", b"\xFF"), local("large", format!("{text}x").as_bytes())];
        files.extend((0..17).map(|n| local(&format!("text{n}"), text.as_bytes())));
        let mut spec = JobSpec::default();
        let pending: Vec<_> = add(&mut spec, files).unwrap().into_iter().map(|file| file.index).collect();
        assert_eq!(pending, [0, 1, 18], "the binary, the large, and the one text too many");
        assert_eq!(spec.files.len(), 19);
        assert_eq!(spec.files[2].content.as_deref(), Some(text.as_str()));
        assert!(spec.files.iter().all(|file| file.modified_at.is_some()));
    }

    #[test]
    fn what_can_not_be_brought_along_is_told_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let large = dir.path().join("large");
        std::fs::File::create(&large).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
        let refusal = |from: &Path| {
            let local = LocalFile { from: from.to_owned(), path: "x".to_owned() };
            add(&mut JobSpec::default(), vec![local]).unwrap_err().message
        };
        assert!(refusal(&large).contains("268435457 bytes"));
        assert!(refusal(dir.path()).contains("not a regular file"));
        assert!(refusal(&dir.path().join("none")).contains("none can't be read"));
    }
}
