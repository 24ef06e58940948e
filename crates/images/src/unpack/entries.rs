//! Reads an archive entry by entry and writes each to the tree.

use super::attributes::Attributes;
use super::meter::{Budget, Metered};
use super::path::LayerPath;
use super::tree::{Failure, Tree};
use super::{LAYER, Unpacked};
use crate::{ImageError, Limits, words};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tar::EntryType;

/// What the layers of an image call files that hide others.
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Left by an old union file system; nothing else knows them.
const BOOKKEEPING: &[u8] = b".wh..wh.";

/// Writes all entries of `archive` and gives what was counted; the digest is the caller's.
pub(super) fn write_all(
    archive: &mut impl Read,
    mut tree: Tree,
    at: &Path,
    budget: &Budget,
    limits: &Limits,
) -> Result<Unpacked, ImageError> {
    let mut counted = Unpacked::default();
    let with_owner = rustix::process::geteuid().is_root();
    let (metered, allowance) = Metered::new(archive);
    let mut archive = tar::Archive::new(metered);
    let mut entries = archive.entries().map_err(ImageError::stream(LAYER))?;
    loop {
        allowance.headers();
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(ImageError::stream(LAYER))?;
        budget.spend(allowance.contents())?;
        // Sparse files are larger than what is read for them, so the size counts and not the bytes.
        budget.spend(entry.size())?;
        counted.entries += 1;
        if counted.entries > limits.entries {
            return Err(ImageError::too_large(
                "the number of entries of a layer",
                limits.entries.to_string(),
            ));
        }
        let attributes = Attributes::of(&mut entry, with_owner)?;
        let written =
            write(&mut entry, &mut tree, attributes).map_err(|failure| explain(failure, &entry, at))?;
        match written {
            Written::Content(bytes) => counted.bytes += bytes,
            Written::LeftOut => counted.left_out += 1,
        }
        // What the entry has left must be read as content, not when headers are expected.
        io::copy(&mut entry, &mut io::sink()).map_err(ImageError::stream(LAYER))?;
    }
    tree.finish().map_err(ImageError::io("set attributes in", at))?;
    Ok(counted)
}

enum Written {
    /// So many bytes.
    Content(u64),
    LeftOut,
}

fn write<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    tree: &mut Tree,
    attributes: Attributes,
) -> Result<Written, Failure> {
    let path = LayerPath::parse(&entry.path_bytes()).map_err(Failure::Rule)?;
    if let Some(hides) = whiteout_of(&path)? {
        match hides {
            Hides::Name(hidden) => tree.whiteout(&hidden)?,
            Hides::Everything(parent) => tree.opaque(&parent)?,
            Hides::Nothing => return Ok(Written::LeftOut),
        }
        return Ok(Written::Content(0));
    }
    match entry.header().entry_type() {
        EntryType::Directory => tree.directory(&path, attributes)?,
        EntryType::Symlink => tree.symlink(&path, &attributes, OsStr::from_bytes(&target(entry)?))?,
        EntryType::Link => {
            let target = LayerPath::parse(&target(entry)?)
                .map_err(|_| Failure::Rule("it is a hard link to something outside the layer"))?;
            tree.hard_link(&path, &target)?;
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let size = entry.size();
            tree.file(&path, &attributes, entry)?;
            return Ok(Written::Content(size));
        }
        EntryType::Block | EntryType::Char | EntryType::Fifo => return Ok(Written::LeftOut),
        // Global headers speak of entries that follow, and the reader has heard them.
        EntryType::XGlobalHeader => {}
        _ => return Err(Failure::Rule("it is neither file, directory, link nor device")),
    }
    Ok(Written::Content(0))
}

fn target<R: Read>(entry: &tar::Entry<'_, R>) -> Result<Vec<u8>, Failure> {
    let target = entry.link_name_bytes().ok_or(Failure::Rule("it is a link without a target"))?;
    if target.is_empty() || target.contains(&0) {
        return Err(Failure::Rule("its target is empty or has a NUL byte"));
    }
    Ok(target.into_owned())
}

#[derive(Debug, PartialEq)]
enum Hides {
    Name(LayerPath),
    Everything(LayerPath),
    Nothing,
}

fn whiteout_of(path: &LayerPath) -> Result<Option<Hides>, Failure> {
    let Some((parent, name)) = path.split() else { return Ok(None) };
    let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) else { return Ok(None) };
    match hidden {
        _ if name.as_bytes() == OPAQUE && parent.is_root() => {
            Err(Failure::Rule("it would hide the whole image"))
        }
        _ if name.as_bytes() == OPAQUE => Ok(Some(Hides::Everything(parent))),
        _ if name.as_bytes().starts_with(BOOKKEEPING) => Ok(Some(Hides::Nothing)),
        b"" | b"." | b".." => Err(Failure::Rule("it would hide its own directory")),
        _ => Ok(Some(Hides::Name(parent.join(hidden)))),
    }
}

fn explain<R: Read>(failure: Failure, entry: &tar::Entry<'_, R>, at: &Path) -> ImageError {
    let name = || String::from_utf8_lossy(&entry.path_bytes()).chars().take(words::NAME).collect::<String>();
    match failure {
        Failure::Rule(rule) => ImageError::BadEntry { entry: name(), rule },
        Failure::Limit(error) => error,
        Failure::Read(error) => ImageError::stream(LAYER)(error),
        Failure::Write(error) => ImageError::io("write", &at.join(words::shown(&name(), words::NAME)))(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hides(path: &str) -> Result<Option<Hides>, &'static str> {
        let path = LayerPath::parse(path.as_bytes())?;
        whiteout_of(&path).map_err(|failure| match failure {
            Failure::Rule(rule) => rule,
            other => panic!("{other:?}"),
        })
    }

    fn path(text: &str) -> LayerPath {
        LayerPath::parse(text.as_bytes()).expect("a good path")
    }

    #[test]
    fn whiteouts_are_told_from_files() {
        assert_eq!(hides("a/.wh.b"), Ok(Some(Hides::Name(path("a/b")))));
        assert_eq!(hides(".wh.b"), Ok(Some(Hides::Name(path("b")))));
        assert_eq!(hides("a/.wh..wh..opq"), Ok(Some(Hides::Everything(path("a")))));
        assert_eq!(hides("a/.wh..wh.plnk"), Ok(Some(Hides::Nothing)));
        assert_eq!(hides("a/.whatever"), Ok(None));
        assert_eq!(hides(""), Ok(None));
        for evil in [".wh.", "a/.wh..", "a/.wh...", ".wh..wh..opq"] {
            hides(evil).expect_err(evil);
        }
    }
}
