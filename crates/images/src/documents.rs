//! Manifests, indexes and configurations, checked.

use crate::digest::Digest;
use crate::limits::INDEX_DEPTH;
use crate::{ImageConfig, ImageError, Limits, platform, words};
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use serde::Deserialize;

/// A manifest or an index: registries and archives offer either under one name.
pub(crate) enum Document {
    Manifest(Box<ImageManifest>),
    Index(Box<ImageIndex>),
}

impl Document {
    /// Tells them apart by content: media types are missing or wrong in the wild.
    pub(crate) fn parse(bytes: &[u8], image: &str) -> Result<Self, ImageError> {
        #[derive(Deserialize)]
        struct Shape {
            manifests: Option<serde::de::IgnoredAny>,
        }
        let shape: Result<Shape, _> = serde_json::from_slice(bytes);
        let document = shape.and_then(|shape| match shape.manifests {
            Some(_) => serde_json::from_slice(bytes).map(Self::Index),
            None => serde_json::from_slice(bytes).map(Self::Manifest),
        });
        document.map_err(|error| {
            ImageError::bad_image(image, format!("its manifest can't be read: {}", words::of_json(&error)))
        })
    }
}

/// For indexes that lead on and on; see [`INDEX_DEPTH`].
pub(crate) fn too_deep(image: &str) -> ImageError {
    ImageError::too_large(format!("the chain of indexes of {image}"), format!("{INDEX_DEPTH} indexes"))
}

/// The digest a descriptor names.
pub(crate) fn digest_of(descriptor: &Descriptor) -> Result<Digest, ImageError> {
    let text: &str = descriptor.digest().as_ref();
    Digest::parse(text)
        .ok_or_else(|| ImageError::bad_image(text, "only sha256 digests are supported; build the image anew"))
}

/// Refuses content that is not what its digest says.
pub(crate) fn check_digest(what: &str, expected: &Digest, actual: &Digest) -> Result<(), ImageError> {
    if expected == actual {
        return Ok(());
    }
    Err(ImageError::DigestMismatch {
        what: what.to_owned(),
        expected: expected.to_string(),
        actual: actual.to_string(),
    })
}

/// A configuration that fits this machine.
pub(crate) struct Configuration {
    /// How the image wants to be run.
    pub(crate) run: ImageConfig,
    /// Digests of the unpacked layers, the lowest first.
    pub(crate) diff_ids: Vec<Digest>,
}

impl Configuration {
    pub(crate) fn parse(bytes: &[u8], image: &str, limits: &Limits) -> Result<Self, ImageError> {
        let parsed: ImageConfiguration = serde_json::from_slice(bytes).map_err(|error| {
            ImageError::bad_image(
                image,
                format!("its configuration can't be read: {}", words::of_json(&error)),
            )
        })?;
        platform::check(&parsed, image)?;
        check_layer_count(parsed.rootfs().diff_ids().len(), image, limits)?;
        let digest = |text: &String| {
            Digest::parse(text)
                .ok_or_else(|| ImageError::bad_image(image, format!("layer {text:?} has no sha256 digest")))
        };
        let diff_ids = parsed.rootfs().diff_ids().iter().map(digest).collect::<Result<_, _>>()?;
        Ok(Self { run: run_config(&parsed), diff_ids })
    }
}

/// A container of no layers would run on whatever its runtime falls back to; overlayfs mounts only
/// so many.
pub(crate) fn check_layer_count(layers: usize, image: &str, limits: &Limits) -> Result<(), ImageError> {
    if layers == 0 {
        return Err(ImageError::bad_image(image, "it has no layers; use an image with at least one"));
    }
    if layers > limits.layers {
        let what = format!("the number of layers of {image}, {layers},");
        return Err(ImageError::too_large(what, format!("{} layers", limits.layers)));
    }
    Ok(())
}

fn run_config(parsed: &ImageConfiguration) -> ImageConfig {
    let Some(config) = parsed.config() else { return ImageConfig::default() };
    ImageConfig {
        env: config.env().clone().unwrap_or_default(),
        working_dir: config.working_dir().clone().unwrap_or_default(),
        user: config.user().clone().unwrap_or_default(),
    }
}
