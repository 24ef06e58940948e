//! Images from registries.
//!
//! The client is our own and small: whatever a stranger's server sends is read up to a limit with a
//! name, and credentials go only where this module sends them.

mod addresses;
mod answers;
mod auth;
mod endpoint;
mod flights;
mod layers;
mod mirror;
mod pipe;
mod proof;
mod source;
mod transport;

pub(crate) use flights::Flights;
pub(crate) use proof::Proof;

pub use mirror::Mirror;

use crate::digest::Digest;
use crate::documents::{Configuration, check_layer_count, digest_of};
use crate::store::{Access, Inner, Publication};
use crate::{Image, ImageError, Progress, Reference, RegistryCredentials};
use proof::Proofs;
use source::Source;
use std::sync::Arc;
use tls::Roots;
use tokio::task::JoinHandle;
use transport::Transport;

/// How registries are reached.
#[derive(Debug, Default)]
pub(crate) struct Registries {
    transport: Transport,
    mirrors: Vec<Mirror>,
    proofs: Proofs,
}

impl Registries {
    /// Whom to believe there, what is asked before Docker Hub, and where that is if not where it is.
    pub(crate) fn new(roots: Roots, mirrors: Vec<Mirror>, docker_hub: Option<Mirror>) -> Self {
        Self { transport: Transport::new(roots, docker_hub), mirrors, proofs: Proofs::default() }
    }
}

/// Pulls an image and gives it its name.
pub(crate) async fn pull(
    store: &Arc<Inner>,
    reference: &Reference,
    credentials: &RegistryCredentials,
    progress: &dyn Progress,
) -> Result<Image, ImageError> {
    let source = Source::new(&store.registries, reference, credentials);
    let limits = &store.limits;
    let image = reference.to_string();
    progress.line(&format!("pulling {image}"));
    let (manifest_bytes, manifest) = source.manifest(limits.manifest_bytes, progress).await?;
    check_layer_count(manifest.layers().len(), &image, limits)?;
    let config_digest = digest_of(manifest.config())?;
    let config = source.configuration(&config_digest, limits.config_bytes, progress).await?;
    let configuration = Configuration::parse(&config, &image, limits)?;
    let layers = layers::pair(&manifest, &configuration, &image)?;
    let held = layers::fetch_all(store, &source, reference, layers, progress).await?;
    let size: u64 = held.iter().map(|layer| layer.counted.bytes).sum();
    progress.line(&format!("pulled {image}, {} layers, {size} bytes unpacked", held.len()));
    let digest = Digest::of(&manifest_bytes);
    let is_free = !source.used_login() || store.registries.is_for_everyone(reference, &digest).await;
    let access = if is_free { Access::Everyone } else { Access::Repository(reference.whole_repository()) };
    let (inner, reference) = (Arc::clone(store), reference.clone());
    finished(tokio::task::spawn_blocking(move || {
        inner.publish(&Publication {
            reference: &reference,
            manifest: &manifest_bytes,
            config: &config,
            layers: &held,
            access,
            pulled: true,
        })?;
        let ready = inner.local(&reference);
        drop(held);
        ready?.ok_or_else(|| ImageError::NotFound {
            image: reference.to_string(),
            place: "the store, where it was just put".to_owned(),
        })
    }))
    .await
}

/// What blocking work came to.
async fn finished<T>(work: JoinHandle<Result<T, ImageError>>) -> Result<T, ImageError> {
    match work.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only when the whole runtime stops.
            Err(error) => {
                Err(ImageError::BrokenStream { what: "an image".to_owned(), found: error.to_string() })
            }
        },
    }
}
