//! Images from archives on this machine.
//!
//! What an archive is, is told by its content: `oci-layout` makes it an OCI image layout,
//! `manifest.json` what `docker save` writes, anything else the tar of a root file system.

mod archive;
mod docker;
mod layout;
mod rootfs;

use crate::digest::Digest;
use crate::documents::{Configuration, check_digest};
use crate::store::{Access, Inner, LayerHold, LayerSource, Publication};
use crate::unpack::Budget;
use crate::{ImageError, ImageInfo, Reference, words};
use archive::{Archive, Member};
use oci_spec::image::{DescriptorBuilder, ImageManifestBuilder, MediaType, Sha256Digest};
use std::path::Path;

/// Imports `path` under `name`.
pub(crate) fn import(store: &Inner, name: &Reference, path: &Path) -> Result<ImageInfo, ImageError> {
    let import = Import { store, name, path, budget: Budget::new(store.limits.unpacked_bytes) };
    let archive = Archive::open(path, store)?;
    if archive.has(layout::MARK) {
        layout::import(&import, &archive)
    } else if archive.has(docker::MARK) {
        docker::import(&import, &archive)
    } else {
        rootfs::import(&import, &archive)
    }
}

/// One import under way.
struct Import<'a> {
    store: &'a Inner,
    name: &'a Reference,
    path: &'a Path,
    budget: Budget,
}

impl Import<'_> {
    /// What messages call the archive.
    fn what(&self) -> String {
        words::shown(&self.path.display().to_string(), usize::MAX)
    }

    fn bad(&self, rule: impl Into<String>) -> ImageError {
        ImageError::bad_image(self.what(), rule)
    }

    fn configuration(&self, bytes: &[u8]) -> Result<Configuration, ImageError> {
        Configuration::parse(bytes, &self.what(), &self.store.limits)
    }

    /// Adds the layers of `config` that the store lacks; `members` are their archives in the same
    /// order, with the digests of the archives where they are known.
    fn layers(
        &self,
        config: &Configuration,
        members: &[(Member<'_>, Option<Digest>)],
    ) -> Result<Vec<LayerHold>, ImageError> {
        if members.len() != config.diff_ids.len() {
            let (has, wants) = (members.len(), config.diff_ids.len());
            return Err(
                self.bad(format!("it has {has} layers but its configuration names {wants}; make it again"))
            );
        }
        let add = |(diff_id, (member, blob)): (&Digest, &(Member<'_>, Option<Digest>))| {
            if let Some(hold) = self.store.hold_layer(diff_id)? {
                self.budget.spend(hold.counted.bytes)?;
                return Ok(hold);
            }
            let source =
                LayerSource { archive: member.reader(), blob: blob.clone(), diff_id: Some(diff_id.clone()) };
            self.store.add_layer(source, &self.budget)
        };
        config.diff_ids.iter().zip(members).map(add).collect()
    }

    /// Records the image. `layers` keep their holds until it has its name.
    fn publish(&self, manifest: &[u8], config: &[u8], layers: &[LayerHold]) -> Result<ImageInfo, ImageError> {
        let access = Access::Everyone;
        let reference = self.name;
        self.store.publish(&Publication { reference, manifest, config, layers, access, pulled: false })
    }

    /// A manifest for archives that come without one: always the same for the same content.
    fn manifest_of(&self, config: &[u8], layers: &[LayerHold]) -> Result<Vec<u8>, ImageError> {
        let failed =
            |error: oci_spec::OciSpecError| self.bad(format!("no manifest can be made for it: {error}"));
        let descriptor = |media_type: MediaType, digest: &Digest, size: usize| {
            let digest: Sha256Digest = digest.hex().parse().map_err(failed)?;
            DescriptorBuilder::default()
                .media_type(media_type)
                .digest(digest)
                .size(size as u64)
                .build()
                .map_err(failed)
        };
        let layers: Result<Vec<_>, _> = layers
            .iter()
            .map(|layer| descriptor(MediaType::ImageLayer, &layer.diff_id, layer.counted.bytes as usize))
            .collect();
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(descriptor(MediaType::ImageConfig, &Digest::of(config), config.len())?)
            .layers(layers?)
            .build()
            .map_err(failed)?;
        manifest.to_string().map(String::into_bytes).map_err(failed)
    }

    /// A document of the archive whose digest is known.
    fn document(&self, archive: &Archive, digest: &Digest, limit: u64) -> Result<Vec<u8>, ImageError> {
        let path = format!("blobs/sha256/{}", digest.hex());
        let bytes = archive.bytes(&path, limit)?;
        check_digest(&format!("{path} in {}", self.what()), digest, &Digest::of(&bytes))?;
        Ok(bytes)
    }
}
