//! An OCI image layout in a tar: `oci-layout`, `index.json` and blobs by digest.

use super::Import;
use super::archive::Archive;
use crate::documents::{Document, check_layer_count, digest_of, too_deep};
use crate::limits::INDEX_DEPTH;
use crate::{ImageError, ImageInfo, Reference, platform};
use oci_spec::image::{Descriptor, ImageIndex};

/// The file that makes an archive one of these.
pub(super) const MARK: &str = "oci-layout";

const INDEX: &str = "index.json";
/// Where tools note what an image is called: the whole name, or the tag alone.
const NAME_NOTES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

pub(super) fn import(import: &Import<'_>, archive: &Archive) -> Result<ImageInfo, ImageError> {
    let limits = &import.store.limits;
    let index = archive.bytes(INDEX, limits.manifest_bytes)?;
    let Document::Index(index) = Document::parse(&index, &import.what())? else {
        return Err(import.bad("its index.json is not an index; make the archive again"));
    };
    let (bytes, manifest) = follow(import, archive, named(&index, import.name))?;
    check_layer_count(manifest.layers().len(), &import.what(), limits)?;
    let config = import.document(archive, &digest_of(manifest.config())?, limits.config_bytes)?;
    let configuration = import.configuration(&config)?;
    let member = |layer: &Descriptor| {
        let digest = digest_of(layer)?;
        Ok((archive.member(&format!("blobs/sha256/{}", digest.hex()))?, Some(digest)))
    };
    let members: Result<Vec<_>, ImageError> = manifest.layers().iter().map(member).collect();
    let layers = import.layers(&configuration, &members?)?;
    import.publish(&bytes, &config, &layers)
}

/// The index, or only what it has for this name when several images are in it.
fn named(index: &ImageIndex, name: &Reference) -> ImageIndex {
    let is_named = |descriptor: &&Descriptor| {
        let notes = descriptor
            .annotations()
            .iter()
            .flat_map(|notes| NAME_NOTES.iter().filter_map(|note| notes.get(*note)));
        notes.into_iter().any(|note| {
            Some(note.as_str()) == name.tag() || note.parse().is_ok_and(|noted: Reference| noted == *name)
        })
    };
    let chosen: Vec<_> = index.manifests().iter().filter(is_named).cloned().collect();
    let mut narrowed = index.clone();
    if !chosen.is_empty() {
        narrowed.set_manifests(chosen);
    }
    narrowed
}

/// From indexes to the manifest for this machine, and its bytes.
fn follow(
    import: &Import<'_>,
    archive: &Archive,
    mut index: ImageIndex,
) -> Result<(Vec<u8>, oci_spec::image::ImageManifest), ImageError> {
    for _ in 0..INDEX_DEPTH {
        let digest = digest_of(platform::choose(&index, &import.what())?)?;
        let bytes = import.document(archive, &digest, import.store.limits.manifest_bytes)?;
        match Document::parse(&bytes, &import.what())? {
            Document::Manifest(manifest) => return Ok((bytes, *manifest)),
            Document::Index(inner) => index = *inner,
        }
    }
    Err(too_deep(&import.what()))
}
