//! The tar of one layer, entry by entry.

use std::io::Write;
use tar::{EntryType, Header};

/// Builds a layer. Nothing is checked: paths may be evil.
#[must_use = "a builder does nothing until it is asked for bytes"]
pub struct Layer {
    tar: tar::Builder<Vec<u8>>,
    owner: (u64, u64),
}

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

impl Layer {
    /// A layer without entries.
    pub fn new() -> Self {
        Self { tar: tar::Builder::new(Vec::new()), owner: (0, 0) }
    }

    /// A file with mode 0644.
    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.file_with_mode(path, content, 0o644)
    }

    /// A file with any mode.
    pub fn file_with_mode(self, path: &str, content: &[u8], mode: u32) -> Self {
        self.entry(EntryType::Regular, path.as_bytes(), b"", mode, content)
    }

    /// A directory with mode 0755.
    pub fn directory(self, path: &str) -> Self {
        self.directory_with_mode(path, 0o755)
    }

    /// A directory with any mode.
    pub fn directory_with_mode(self, path: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, path.as_bytes(), b"", mode, b"")
    }

    /// A symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path.as_bytes(), target.as_bytes(), 0o777, b"")
    }

    /// A hard link.
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path.as_bytes(), target.as_bytes(), 0o644, b"")
    }

    /// A device node or FIFO.
    pub fn device(self, path: &str, kind: EntryType) -> Self {
        self.entry(kind, path.as_bytes(), b"", 0o666, b"")
    }

    /// A file with an extended attribute.
    pub fn file_with_attribute(mut self, path: &str, name: &str, value: &[u8]) -> Self {
        let key = format!("SCHILY.xattr.{name}");
        self.tar.append_pax_extensions([(&*key, value)]).expect("memory can be written");
        self.file(path, b"")
    }

    /// Whose the entries are that follow; root's else.
    pub fn owned_by(mut self, user: u64, group: u64) -> Self {
        self.owner = (user, group);
        self
    }

    /// Any entry. Paths longer than the header's field get an entry of their own before it.
    pub fn entry(mut self, kind: EntryType, path: &[u8], target: &[u8], mode: u32, content: &[u8]) -> Self {
        self.long(EntryType::GNULongName, path);
        self.long(EntryType::GNULongLink, target);
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(self.owner.0);
        header.set_gid(self.owner.1);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        // The library's own setters refuse what a test may want.
        let fields = header.as_old_mut();
        fill(&mut fields.name, path);
        fill(&mut fields.linkname, target);
        header.set_cksum();
        self.tar.append(&header, content).expect("memory can be written");
        self
    }

    fn long(&mut self, kind: EntryType, value: &[u8]) {
        const FIELD: usize = 100;
        if value.len() <= FIELD {
            return;
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(value.len() as u64 + 1);
        header.set_cksum();
        let content = [value, b"\0"].concat();
        self.tar.append(&header, &*content).expect("memory can be written");
    }

    /// The finished tar.
    pub fn bytes(self) -> Vec<u8> {
        self.tar.into_inner().expect("memory can be written")
    }
}

fn fill(field: &mut [u8], value: &[u8]) {
    let fits = value.len().min(field.len());
    field.fill(0);
    field[..fits].copy_from_slice(&value[..fits]);
}

/// `bytes`, compressed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}
