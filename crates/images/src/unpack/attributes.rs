//! Owner, mode, times and extended attributes of an entry.

use crate::ImageError;
use crate::unpack::LAYER;
use rustix::fs::{AtFlags, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

/// What an entry says about itself beside its content.
#[derive(Debug, Clone, Default)]
pub(super) struct Attributes {
    mode: u32,
    owner: Option<(Uid, Gid)>,
    modified: i64,
    extended: Vec<Extended>,
}

/// Name and value.
type Extended = (Vec<u8>, Vec<u8>);

const SET_ID_BITS: u32 = 0o6000;
const PAX_XATTR: &[u8] = b"SCHILY.xattr.";
/// The archive's reader knows sparse files by their type only, and would take these maps for content.
const PAX_SPARSE: &[u8] = b"GNU.sparse.";
const SPARSE: &str = "it is a sparse file in the PAX form, which is not supported";

impl Attributes {
    /// Reads them; owners only when `with_owner`, since only root can give files away.
    pub(super) fn of<R: Read>(entry: &mut tar::Entry<'_, R>, with_owner: bool) -> Result<Self, ImageError> {
        let extended = extended_attributes(entry)?;
        let header = entry.header();
        let broken = ImageError::stream;
        let mode = header.mode().map_err(broken(LAYER))? & 0o7777;
        let owner = || {
            let uid = id(header.uid().map_err(broken(LAYER))?)?;
            let gid = id(header.gid().map_err(broken(LAYER))?)?;
            Ok::<_, ImageError>((Uid::from_raw(uid), Gid::from_raw(gid)))
        };
        Ok(Self {
            mode: if with_owner { mode } else { mode & !SET_ID_BITS },
            owner: with_owner.then(owner).transpose()?,
            modified: i64::try_from(header.mtime().unwrap_or(0)).unwrap_or(0),
            extended,
        })
    }

    /// Of a directory that an archive only implies.
    pub(super) fn of_implied_directory() -> Self {
        Self { mode: 0o755, ..Self::default() }
    }

    /// Puts them on an open file or directory. The order matters: a new owner clears setuid bits
    /// and capabilities, a new mode may forbid extended attributes.
    pub(super) fn apply(&self, file: impl AsFd) -> rustix::io::Result<()> {
        let file = file.as_fd();
        if let Some((uid, gid)) = self.owner {
            rustix::fs::fchown(file, Some(uid), Some(gid))?;
        }
        for (name, value) in &self.extended {
            match rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty()) {
                // A file system without them, or a user that may not set capabilities.
                Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::PERM) => {}
                done => done?,
            }
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?;
        rustix::fs::futimens(file, &self.times())
    }

    /// Puts owner and time on a symbolic link, which has nothing else.
    pub(super) fn apply_to_link(&self, parent: impl AsFd, name: &OsStr) -> rustix::io::Result<()> {
        let parent = parent.as_fd();
        if let Some((uid, gid)) = self.owner {
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        }
        rustix::fs::utimensat(parent, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn times(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.modified, tv_nsec: 0 };
        Timestamps { last_access: time, last_modification: time }
    }
}

/// The kernel reads the largest number as "leave it as it is".
fn id(raw: u64) -> Result<u32, ImageError> {
    u32::try_from(raw).ok().filter(|&id| id != u32::MAX).ok_or_else(|| {
        ImageError::too_large(format!("the user or group number {raw} of a layer's entry"), "4294967294")
    })
}

fn extended_attributes<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<Extended>, ImageError> {
    let Some(extensions) = entry.pax_extensions().map_err(ImageError::stream(LAYER))? else {
        return Ok(Vec::new());
    };
    let mut kept = Vec::new();
    let mut is_sparse = false;
    for extension in extensions {
        let extension = extension.map_err(ImageError::stream(LAYER))?;
        is_sparse |= extension.key_bytes().starts_with(PAX_SPARSE);
        if let Some(name) = extension.key_bytes().strip_prefix(PAX_XATTR)
            && is_harmless(name)
        {
            kept.push((name.to_vec(), extension.value_bytes().to_vec()));
        }
    }
    if is_sparse {
        let entry = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        return Err(ImageError::BadEntry { entry, rule: SPARSE });
    }
    Ok(kept)
}

/// Overlayfs takes orders from its own attributes, redirects out of the layer among them, so they
/// must not come from an archive. The rest of `security.*` and `trusted.*` belongs to the host.
fn is_harmless(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_image_s_own_attributes_are_kept() {
        for name in ["user.mime_type", "security.capability", "user.overlayed"] {
            assert!(is_harmless(name.as_bytes()), "{name}");
        }
        for name in [
            "user.overlay.redirect",
            "trusted.overlay.redirect",
            "security.selinux",
            "system.posix_acl_access",
            "",
        ] {
            assert!(!is_harmless(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn the_number_for_no_change_is_no_owner() {
        assert_eq!(id(1000).expect("a user"), 1000);
        id(u64::from(u32::MAX)).expect_err("the kernel's wildcard");
        id(1 << 40).expect_err("too large");
    }
}
