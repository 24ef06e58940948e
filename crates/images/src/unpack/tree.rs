//! A layer's directory while it is being filled.

use super::attributes::Attributes;
use super::confined::Confined;
use super::path::LayerPath;
use crate::ImageError;
use crate::limits::DIRECTORY_PATH_BYTES;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::Path;

/// A layer's directory while it is being filled.
pub(super) struct Tree {
    place: Confined,
    /// Set at the end: writing into a directory needs more rights than it may have, and changes
    /// its time.
    directories: BTreeMap<LayerPath, Attributes>,
    directory_path_bytes: u64,
}

/// Why an entry was not written.
#[derive(Debug)]
pub(super) enum Failure {
    /// It breaks a rule.
    Rule(&'static str),
    /// Its content could not be read.
    Read(io::Error),
    /// It could not be written.
    Write(io::Error),
    /// It is beyond a limit.
    Limit(ImageError),
}

type Done = Result<(), Failure>;

impl Tree {
    /// Starts in the directory `at`.
    pub(super) fn open(at: &Path) -> Result<Self, ImageError> {
        let place = Confined::open(at).map_err(|errno| ImageError::io("open", at)(errno.into()))?;
        let root = (LayerPath::default(), Attributes::of_implied_directory());
        Ok(Self { place, directories: BTreeMap::from([root]), directory_path_bytes: 0 })
    }

    /// Makes or keeps a directory.
    pub(super) fn directory(&mut self, path: &LayerPath, attributes: Attributes) -> Done {
        if let Some((parent, name)) = path.split() {
            self.enter(&parent)?;
            self.place.make_directory(name)?;
        }
        self.remember(path, attributes)
    }

    /// Writes a file.
    pub(super) fn file(
        &mut self,
        path: &LayerPath,
        attributes: &Attributes,
        content: &mut impl Read,
    ) -> Done {
        let name = self.enter_parent(path)?;
        let mut file = self.place.make_file(name)?;
        copy(content, &mut file)?;
        Ok(attributes.apply(&file)?)
    }

    /// Makes a symbolic link; where it points to is the image's business.
    pub(super) fn symlink(&mut self, path: &LayerPath, attributes: &Attributes, target: &OsStr) -> Done {
        let name = self.enter_parent(path)?;
        self.place.make_symlink(name, target)?;
        Ok(attributes.apply_to_link(self.place.here(), name)?)
    }

    /// Gives a file of this layer another name.
    pub(super) fn hard_link(&mut self, path: &LayerPath, target: &LayerPath) -> Done {
        let missing = "it links to a file that the layer doesn't have";
        let (target_parent, target_name) =
            target.split().ok_or(Failure::Rule("it links to the layer's root"))?;
        let from = self.place.directory(&target_parent).map_err(|errno| match errno {
            Errno::NOENT => Failure::Rule(missing),
            other => other.into(),
        })?;
        let name = self.enter_parent(path)?;
        self.place.make_hard_link(name, &from, target_name).map_err(|errno| match errno {
            Errno::NOENT => Failure::Rule(missing),
            Errno::ISDIR => Failure::Rule("it links to a directory"),
            other => other.into(),
        })
    }

    /// Hides what lower layers have at `path`. What this layer has there stays, alone.
    pub(super) fn whiteout(&mut self, path: &LayerPath) -> Done {
        let name = self.enter_parent(path)?;
        match self.place.kind(name)? {
            None => self.place.make_whiteout(name)?,
            Some(FileType::Directory) => self.place.make_opaque(name)?,
            Some(_) => {}
        }
        Ok(())
    }

    /// Hides everything that lower layers have beneath the directory `path`.
    pub(super) fn opaque(&mut self, path: &LayerPath) -> Done {
        self.enter(path)?;
        Ok(self.place.make_opaque(OsStr::new("."))?)
    }

    /// Gives the directories their attributes, the deepest first: once its own are in place, a
    /// directory may keep us out.
    pub(super) fn finish(self) -> Result<(), io::Error> {
        for (path, attributes) in self.directories.iter().rev() {
            match self.place.directory(path) {
                Ok(directory) => attributes.apply(&directory)?,
                // Something else took its place later in the archive.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn enter_parent<'a>(&mut self, path: &'a LayerPath) -> Result<&'a OsStr, Failure> {
        let (parent, name) = path.split().ok_or(Failure::Rule("it would replace the layer's root"))?;
        self.enter(&parent)?;
        Ok(name)
    }

    /// Goes to a directory and makes it first if need be, as archives may leave parents out.
    fn enter(&mut self, path: &LayerPath) -> Done {
        match self.place.enter(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            done => return Ok(done?),
        }
        let Some((parent, name)) = path.split() else { return Ok(()) };
        self.enter(&parent)?;
        match self.place.kind(name)? {
            // A whiteout gives way to a directory; nothing else does, or a name would change its
            // meaning behind the archive's back.
            None | Some(FileType::CharacterDevice) => self.place.make_directory(name)?,
            Some(_) => return Err(Errno::NOTDIR.into()),
        }
        self.remember_implied(path)?;
        Ok(self.place.enter(path)?)
    }

    fn remember(&mut self, path: &LayerPath, attributes: Attributes) -> Done {
        if self.directories.insert(path.clone(), attributes).is_none() {
            self.count(path)?;
        }
        Ok(())
    }

    fn remember_implied(&mut self, path: &LayerPath) -> Done {
        if let Entry::Vacant(vacant) = self.directories.entry(path.clone()) {
            vacant.insert(Attributes::of_implied_directory());
            self.count(path)?;
        }
        Ok(())
    }

    fn count(&mut self, path: &LayerPath) -> Done {
        self.directory_path_bytes += path.len() as u64;
        if self.directory_path_bytes <= DIRECTORY_PATH_BYTES {
            return Ok(());
        }
        let limit = format!("{DIRECTORY_PATH_BYTES} bytes");
        Err(Failure::Limit(ImageError::too_large("the length of the paths of a layer's directories", limit)))
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::LOOP | Errno::NOTDIR | Errno::XDEV => {
                Self::Rule("its path leads through a link or a file")
            }
            Errno::NAMETOOLONG => Self::Rule("its path or its target is longer than 4096 bytes"),
            Errno::MLINK => Self::Rule("it is one hard link more than the file system allows"),
            other => Self::Write(other.into()),
        }
    }
}

/// Like `io::copy`, but tells which side failed.
fn copy(from: &mut impl Read, to: &mut impl Write) -> Done {
    let mut buffer = [0; 16 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(&buffer[..read]).map_err(Failure::Write)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Read(error)),
        }
    }
}
