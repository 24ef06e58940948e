//! Fetching layers, several at a time.

use super::endpoint::Endpoint;
use super::pipe::{Sender, pipe};
use super::source::Source;
use crate::digest::Digest;
use crate::documents::{Configuration, digest_of};
use crate::store::{Access, Inner, LayerHold, LayerSource};
use crate::unpack::Budget;
use crate::{ImageError, Progress, Reference};
use futures_util::{StreamExt, TryStreamExt, stream};
use oci_spec::image::ImageManifest;
use reqwest::Response;
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

/// Layers on their way at once: a registry's single streams are slow, our disk isn't.
const AT_ONCE: usize = 3;

/// A layer to fetch.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    blob: Digest,
    diff_id: Digest,
    size: u64,
}

/// Brings together what manifest and configuration say of each layer; repeated ones once.
pub(super) fn pair(
    manifest: &ImageManifest,
    config: &Configuration,
    image: &str,
) -> Result<Vec<Layer>, ImageError> {
    let (blobs, diff_ids) = (manifest.layers(), &config.diff_ids);
    if blobs.len() != diff_ids.len() {
        let rule = format!(
            "its manifest has {} layers, its configuration {}; build it anew",
            blobs.len(),
            diff_ids.len()
        );
        return Err(ImageError::bad_image(image, rule));
    }
    let mut seen = HashSet::new();
    blobs
        .iter()
        .zip(diff_ids)
        .filter(|(_, diff_id)| seen.insert(*diff_id))
        .map(|(blob, diff_id)| {
            Ok(Layer { blob: digest_of(blob)?, diff_id: diff_id.clone(), size: blob.size() })
        })
        .collect()
}

/// Fetches the layers that the store lacks and holds them all.
pub(super) async fn fetch_all(
    store: &Arc<Inner>,
    source: &Source<'_>,
    reference: &Reference,
    layers: Vec<Layer>,
    progress: &dyn Progress,
) -> Result<Vec<LayerHold>, ImageError> {
    let fetch = Fetch {
        store,
        source,
        repository: reference.whole_repository(),
        budget: Budget::new(store.limits.unpacked_bytes),
        progress,
        count: layers.len(),
        unpacking: TaskTracker::new(),
    };
    let fetches = layers.into_iter().enumerate().map(|(number, layer)| fetch.layer(number + 1, layer));
    let fetched = stream::iter(fetches).buffer_unordered(AT_ONCE).try_collect().await;
    // After a failure the others have been given up; they clean up before we say so.
    fetch.unpacking.close();
    fetch.unpacking.wait().await;
    fetched
}

struct Fetch<'a> {
    store: &'a Arc<Inner>,
    source: &'a Source<'a>,
    repository: String,
    budget: Budget,
    progress: &'a dyn Progress,
    count: usize,
    unpacking: TaskTracker,
}

impl Fetch<'_> {
    async fn layer(&self, number: usize, layer: Layer) -> Result<LayerHold, ImageError> {
        // Images share layers, and several may be on their way. Of one repository: what another one says to have may
        // come as slowly as its owner likes, and whoever is first would keep all others from theirs.
        let flight = format!("{} {}", layer.diff_id.hex(), self.repository);
        let _only_one = self.store.flights.enter(&flight).await;
        if self.store.may_reuse(&layer.diff_id, &self.repository)
            && let Some(hold) = self.store.hold_layer(&layer.diff_id)?
        {
            self.budget.spend(hold.counted.bytes)?;
            self.progress.line(&format!("layer {number} of {} is here already", self.count));
            return Ok(hold);
        }
        self.progress.line(&format!("layer {number} of {}: fetching {} bytes", self.count, layer.size));
        let hold = self.fetch(&layer).await?;
        // Whoever waits for this layer may use it before the image has its name.
        self.store.grant(&layer.diff_id, &Access::Repository(self.repository.clone()))?;
        let left_out = match hold.counted.left_out {
            0 => String::new(),
            some => format!(", {some} device nodes left out"),
        };
        self.progress
            .line(&format!("layer {number} of {}: {} entries{left_out}", self.count, hold.counted.entries));
        Ok(hold)
    }

    /// Tries every place; what a mirror has broken off is begun anew elsewhere.
    async fn fetch(&self, layer: &Layer) -> Result<LayerHold, ImageError> {
        if layer.size > self.store.limits.unpacked_bytes {
            return Err(longer_than(self.store.limits.unpacked_bytes));
        }
        for place in self.source.places() {
            let budget = self.budget.part();
            match self.fetch_at(place, layer, &budget).await {
                Err(error) if place.is_mirror() && error.is_of_registry() => {
                    budget.give_back();
                    self.source.pass_over(place, &error, self.progress);
                }
                done => return done,
            }
        }
        Err(self.source.nowhere())
    }

    /// Unpacks while it downloads.
    async fn fetch_at(
        &self,
        place: &Endpoint<'_>,
        layer: &Layer,
        budget: &Budget,
    ) -> Result<LayerHold, ImageError> {
        let response = place.blob(&layer.blob.to_string()).await?;
        let (sender, archive) = pipe();
        let source =
            LayerSource { archive, blob: Some(layer.blob.clone()), diff_id: Some(layer.diff_id.clone()) };
        let (store, budget) = (Arc::clone(self.store), budget.clone());
        // Whatever nobody waits for any more is dropped by the task itself, before it counts as over.
        let (tell, told) = oneshot::channel();
        self.unpacking.spawn_blocking(move || drop(tell.send(store.add_layer(source, &budget))));
        let (sent, unpacked) = tokio::join!(send(place, response, sender, layer.size), told);
        // A download that failed is why unpacking did.
        sent?;
        unpacked.unwrap_or_else(|lost| {
            Err(ImageError::BrokenStream { what: "a layer".to_owned(), found: lost.to_string() })
        })
    }
}

async fn send(place: &Endpoint<'_>, mut response: Response, to: Sender, size: u64) -> Result<(), ImageError> {
    let mut left = size;
    while let Some(chunk) = response.chunk().await.map_err(place.network())? {
        left = left.checked_sub(chunk.len() as u64).ok_or_else(|| place.too_long(size))?;
        if !to.send(chunk).await {
            return Ok(());
        }
    }
    to.end().await;
    Ok(())
}

fn longer_than(limit: u64) -> ImageError {
    ImageError::too_large("a layer as it is sent", format!("{limit} bytes"))
}
