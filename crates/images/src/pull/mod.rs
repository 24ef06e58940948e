//! Images from registries.
//!
//! The client is our own and small: whatever a stranger's server sends is read up to a limit with a
//! name, and credentials go only where this module sends them.

mod auth;
mod flights;
mod layers;
mod pipe;
mod registry;
mod transport;

pub(crate) use flights::Flights;
pub(crate) use transport::Transport;

use crate::digest::Digest;
use crate::documents::{Configuration, Document, check_digest, check_layer_count, digest_of, too_deep};
use crate::limits::INDEX_DEPTH;
use crate::store::{Inner, Publication};
use crate::{Image, ImageError, Progress, Reference, RegistryCredentials, platform};
use oci_spec::image::ImageManifest;
use registry::Registry;
use std::io;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Pulls an image and gives it its name.
pub(crate) async fn pull(
    store: &Arc<Inner>,
    reference: &Reference,
    credentials: &RegistryCredentials,
    progress: &dyn Progress,
) -> Result<Image, ImageError> {
    let registry = Registry::new(&store.transport, reference, credentials)?;
    let limits = &store.limits;
    let image = reference.to_string();
    progress.line(&format!("pulling {image}"));
    let (bytes, manifest) = manifest(&registry, reference, limits.manifest_bytes).await?;
    check_layer_count(manifest.layers().len(), &image, limits)?;
    let config_digest = digest_of(manifest.config())?;
    let config = registry.blob_bytes(&config_digest, limits.config_bytes).await?;
    check_digest("the configuration", &config_digest, &Digest::of(&config))?;
    let configuration = Configuration::parse(&config, &image, limits)?;
    let layers = layers::pair(&manifest, &configuration, &image)?;
    let held = layers::fetch_all(store, &registry, layers, progress).await?;
    let size = held.iter().map(|layer| layer.counted.bytes).sum();
    progress.line(&format!("pulled {image}, {} layers, {size} bytes unpacked", held.len()));
    let (inner, reference) = (Arc::clone(store), reference.clone());
    finished(tokio::task::spawn_blocking(move || {
        inner.publish(&Publication { reference: &reference, manifest: &bytes, config: &config, size })?;
        let ready = inner.local(&reference);
        drop(held);
        ready?.ok_or_else(|| ImageError::NotFound {
            image: reference.to_string(),
            place: "the store, where it was just put".to_owned(),
        })
    }))
    .await
}

/// The manifest for this machine, followed through indexes, and its bytes.
async fn manifest(
    registry: &Registry<'_>,
    reference: &Reference,
    limit: u64,
) -> Result<(Vec<u8>, ImageManifest), ImageError> {
    let image = reference.to_string();
    let mut expected = reference.digest().and_then(Digest::parse);
    for _ in 0..=INDEX_DEPTH {
        let wanted = expected.as_ref().map(ToString::to_string);
        let wanted = wanted.as_deref().or(reference.tag()).unwrap_or("latest");
        let bytes = registry.manifest(wanted, limit).await?;
        if let Some(expected) = &expected {
            check_digest("the manifest", expected, &Digest::of(&bytes))?;
        }
        match Document::parse(&bytes, &image)? {
            Document::Manifest(manifest) => return Ok((bytes, *manifest)),
            Document::Index(index) => expected = Some(digest_of(platform::choose(&index, &image)?)?),
        }
    }
    Err(too_deep(&image))
}

/// What blocking work came to.
async fn finished<T>(work: JoinHandle<Result<T, ImageError>>) -> Result<T, ImageError> {
    match work.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only when the whole runtime stops.
            Err(error) => {
                Err(ImageError::BrokenStream { what: "an image".to_owned(), source: io::Error::other(error) })
            }
        },
    }
}
