//! How much of a stranger's data is too much.

/// What an image may cost. The defaults fit every image people build on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one manifest or index.
    pub manifest_bytes: u64,
    /// Bytes of one image configuration.
    pub config_bytes: u64,
    /// Layers of one image; overlayfs and every container engine stop near here.
    pub layers: usize,
    /// Bytes of all layers of one image, unpacked: file contents as they are on disk, holes
    /// included, and the archive's own headers.
    pub unpacked_bytes: u64,
    /// Files, directories and links in one layer.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 * MIB,
            config_bytes: 4 * MIB,
            layers: 128,
            unpacked_bytes: 20 * 1024 * MIB,
            entries: 2_000_000,
        }
    }
}

const MIB: u64 = 1024 * 1024;

/// Bytes of headers, long names and extended attributes that may precede one entry of an archive.
pub(crate) const ENTRY_HEADER_BYTES: u64 = MIB;

/// Bytes that the paths of one layer's directories may have together: their times are set last, so
/// they are remembered until then.
pub(crate) const DIRECTORY_PATH_BYTES: u64 = 64 * MIB;

/// Bytes of a path inside a layer: the kernel's own limit.
pub(crate) const PATH_BYTES: usize = 4096;

/// Bytes of one name inside a path: the kernel's own limit.
pub(crate) const NAME_BYTES: usize = 255;

/// Directories above one entry. Removing a tree holds one open file for each.
pub(crate) const PATH_DEPTH: usize = 256;

/// Indexes that may point to one another before a manifest is reached.
pub(crate) const INDEX_DEPTH: usize = 3;

/// Files that an archive of images may hold, its layers' contents not counted.
pub(crate) const ARCHIVE_MEMBERS: usize = 10_000;
