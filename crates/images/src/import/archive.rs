//! An archive of images whose members can be read in any order.

use crate::limits::ARCHIVE_MEMBERS;
use crate::store::{Inner, Scratch};
use crate::unpack::{Budget, Metered, decompress};
use crate::{ImageError, words};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// An archive, decompressed, with a table of its members.
pub(super) struct Archive {
    file: File,
    what: String,
    /// Where a file's content is, or which other member a link names.
    members: HashMap<String, Place>,
    /// Where the decompressed copy lives, if one was needed.
    _copy: Option<Scratch>,
}

#[derive(Debug, Clone)]
enum Place {
    Content { offset: u64, size: u64 },
    Link(String),
}

/// A file in the archive.
pub(super) struct Member<'a> {
    file: &'a File,
    offset: u64,
    size: u64,
}

impl Archive {
    /// Opens `path`; decompresses it into the store's temporary directory first if need be.
    pub(super) fn open(path: &Path, store: &Inner) -> Result<Self, ImageError> {
        let what = words::shown(&path.display().to_string(), usize::MAX);
        let file = File::open(path).map_err(ImageError::io("open", path))?;
        let (file, copy) = match decompressed(&file, path, store)? {
            Some((file, scratch)) => (file, Some(scratch)),
            None => (file, None),
        };
        let members = members(&file, &what)?;
        Ok(Self { file, what, members, _copy: copy })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The file `name`; links to other members are followed once.
    pub(super) fn member(&self, name: &str) -> Result<Member<'_>, ImageError> {
        let place = match self.members.get(name) {
            Some(Place::Link(target)) => self.members.get(target),
            other => other,
        };
        match place {
            Some(&Place::Content { offset, size }) => Ok(Member { file: &self.file, offset, size }),
            _ => Err(ImageError::bad_image(
                &self.what,
                format!("{} is missing in it; make the archive again", words::shown(name, words::NAME)),
            )),
        }
    }

    /// The content of a small file.
    pub(super) fn bytes(&self, name: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
        let member = self.member(name)?;
        if member.size > limit {
            return Err(ImageError::too_large(
                format!("{} in {}", words::shown(name, words::NAME), self.what),
                format!("{limit} bytes"),
            ));
        }
        let mut bytes = Vec::new();
        member.reader().read_to_end(&mut bytes).map_err(ImageError::stream(&self.what))?;
        Ok(bytes)
    }

    /// The archive itself, as one file.
    pub(super) fn whole(&self) -> Member<'_> {
        Member { file: &self.file, offset: 0, size: u64::MAX }
    }
}

impl Member<'_> {
    pub(super) fn reader(&self) -> impl Read + use<'_> {
        BufReader::with_capacity(128 * 1024, At { member: self, done: 0 })
    }
}

/// Reads a member without moving the file's own position, which others share.
struct At<'a> {
    member: &'a Member<'a>,
    done: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.member.size - self.done).unwrap_or(usize::MAX);
        let fits = left.min(buffer.len());
        let read = self.member.file.read_at(&mut buffer[..fits], self.member.offset + self.done)?;
        if read == 0 && fits > 0 && self.member.size != u64::MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.done += read as u64;
        Ok(read)
    }
}

/// A decompressed copy; none when the file isn't compressed.
fn decompressed(file: &File, path: &Path, store: &Inner) -> Result<Option<(File, Scratch)>, ImageError> {
    let mut reader = decompress(file).map_err(ImageError::io("read", path))?;
    if !reader.is_compressed() {
        return Ok(None);
    }
    let scratch = store.scratch()?;
    let copy: PathBuf = scratch.path().join("archive.tar");
    let mut out = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&copy)
        .map_err(ImageError::io("create", &copy))?;
    let budget = Budget::new(store.limits.unpacked_bytes);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match reader.read(&mut buffer).map_err(ImageError::stream(&path.display().to_string()))? {
            0 => return Ok(Some((out, scratch))),
            read => {
                budget.spend(read as u64)?;
                out.write_all(&buffer[..read]).map_err(ImageError::io("write", &copy))?;
            }
        }
    }
}

/// Reads the headers and skips the contents.
fn members(file: &File, what: &str) -> Result<HashMap<String, Place>, ImageError> {
    let mut start = file;
    start.rewind().map_err(ImageError::stream(what))?;
    let (metered, allowance) = Metered::new(BufReader::new(file));
    let mut archive = tar::Archive::new(metered);
    let mut entries = archive.entries_with_seek().map_err(ImageError::stream(what))?;
    let mut members = HashMap::new();
    loop {
        allowance.headers();
        let Some(entry) = entries.next() else { break };
        let entry = entry.map_err(ImageError::stream(what))?;
        allowance.contents();
        // A root file system has many more, but what makes an archive one of images is among the
        // first few thousand or not there at all.
        if members.len() == ARCHIVE_MEMBERS {
            continue;
        }
        let name = tidy(&entry.path_bytes());
        let place = match entry.header().entry_type() {
            tar::EntryType::Regular => {
                Place::Content { offset: entry.raw_file_position(), size: entry.size() }
            }
            tar::EntryType::Symlink => {
                Place::Link(joined(&name, &entry.link_name_bytes().unwrap_or_default()))
            }
            tar::EntryType::Link => Place::Link(tidy(&entry.link_name_bytes().unwrap_or_default())),
            _ => continue,
        };
        members.insert(name, place);
    }
    // Zeros end an archive. Cut off between two members it would pass for a smaller one, or for the
    // root file system that it isn't.
    if allowance.at_end() {
        return Err(ImageError::bad_image(what, "it is cut off or is no tar archive; make it again"));
    }
    Ok(members)
}

/// `./a//b` as `a/b`.
fn tidy(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let names: Vec<_> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
    names.join("/")
}

/// Where a symbolic link leads: old versions of `docker save` link repeated layers to one another.
fn joined(link: &str, target: &[u8]) -> String {
    let mut names: Vec<_> = link.split('/').collect();
    names.pop();
    let target = String::from_utf8_lossy(target);
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_within_the_archive() {
        assert_eq!(joined("b/layer.tar", b"../a/layer.tar"), "a/layer.tar");
        assert_eq!(joined("b/layer.tar", b"../../../etc/passwd"), "etc/passwd");
        assert_eq!(tidy(b"./blobs//sha256/x"), "blobs/sha256/x");
    }
}
