//! Small image archives, made on the spot.
//!
//! Archives are written byte by byte where need be, so that they can also be what no tool would
//! make: entries that climb out of the root, digests that lie, layers that are missing.

mod archive;
mod busybox;
mod layer;

pub use archive::Archive;
pub use busybox::{busybox_archive, busybox_image, busybox_rootfs_tar};
pub use layer::{Layer, gzip};

/// `sha256:…` of `bytes`.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes)))
}
