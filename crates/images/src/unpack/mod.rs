//! Turns a layer's archive into a directory in overlayfs' own form.
//!
//! - `.wh.name` becomes a whiteout, a character device 0:0. Any user may make one since Linux 5.8,
//!   so no other form is needed.
//! - `.wh..wh..opq` makes its directory opaque: the extended attribute `trusted.overlay.opaque`, or
//!   `user.overlay.opaque` where only privileged processes may set the former.
//! - Every path is resolved by the kernel beneath the layer's directory and through no symbolic
//!   link, so an entry can't reach anything else whatever it is called.
//! - Device nodes and FIFOs are left out and counted: sandboxes bring their own `/dev`, and images
//!   made from real systems carry some. A host process that walks the store never meets one.
//! - Modes, times, `user.*` attributes and file capabilities are kept; owners and setuid bits are
//!   kept when running as root and dropped otherwise, where they would name the wrong user.

mod attributes;
mod compression;
mod confined;
mod entries;
mod meter;
mod path;
mod tree;

pub(crate) use compression::decompress;
pub(crate) use meter::{Budget, Metered};

use crate::digest::{Digest, Hashing};
use crate::{ImageError, Limits};
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::Path;
use tree::Tree;

/// What came out of a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unpacked {
    /// Bytes of file contents.
    pub(crate) bytes: u64,
    /// Files, directories and links.
    pub(crate) entries: u64,
    /// Device nodes and FIFOs that were left out.
    pub(crate) left_out: u64,
}

/// Unpacks the layer `source`, compressed or not, into the empty directory `into`; gives its diff
/// id, the digest of the archive when decompressed. Blocking.
///
/// Reads `source` to its end, so that a digest over it is complete.
pub(crate) fn unpack(
    source: impl Read,
    into: &Path,
    budget: &Budget,
    limits: &Limits,
) -> Result<(Digest, Unpacked), ImageError> {
    let archive = decompress(source).map_err(ImageError::stream(LAYER))?;
    let mut hashing = Hashing::new(archive);
    let tree = Tree::open(into)?;
    let counted = entries::write_all(&mut hashing, tree, into, budget, limits)?;
    drain(&mut hashing, budget)?;
    Ok((hashing.finish(), counted))
}

/// What messages call the stream.
const LAYER: &str = "a layer";

/// Reads what follows an archive's end, which archivers pad with zeros.
fn drain(reader: &mut impl Read, budget: &Budget) -> Result<(), ImageError> {
    let mut buffer = [0; 16 * 1024];
    loop {
        match reader.read(&mut buffer).map_err(ImageError::stream(LAYER))? {
            0 => return Ok(()),
            read => budget.spend(read as u64)?,
        }
    }
}
