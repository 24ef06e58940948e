//! Images that are here already.

use super::layers::{Hold, LayerHold};
use super::{Access, Inner};
use crate::digest::Digest;
use crate::documents::{Configuration, Document, digest_of};
use crate::{Image, ImageConfig, ImageError, Reference};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Images by manifest, as they were read before: content never changes under its digest.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<Digest, Parsed>>);

#[derive(Debug, Clone)]
struct Parsed {
    config: ImageConfig,
    /// Without repetitions, the lowest first.
    diff_ids: Arc<[Digest]>,
    /// Shared by all users of an image, so that the locks are taken once.
    hold: Weak<Hold>,
    /// Whether it is known to be everyone's; once it is, it stays so.
    is_free: bool,
}

/// Images to know at once; those in use always are.
const KNOWN_IMAGES: usize = 1000;

impl Known {
    fn get(&self, digest: &Digest) -> Option<Parsed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    fn remember(&self, digest: &Digest, parsed: Parsed) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_IMAGES {
            known.retain(|_, parsed| parsed.hold.strong_count() > 0);
        }
        known.insert(digest.clone(), parsed);
    }

    fn set_free(&self, digest: &Digest) {
        if let Some(parsed) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(digest) {
            parsed.is_free = true;
        }
    }
}

impl Inner {
    /// The image, if it is here with all its layers. Costs one small file to read when it was
    /// asked for before.
    pub(crate) fn local(&self, reference: &Reference) -> Result<Option<Image>, ImageError> {
        let named = self.named(reference)?;
        let digest = named.or_else(|| reference.digest().and_then(Digest::parse));
        digest.map_or(Ok(None), |digest| self.ready(reference, &digest))
    }

    /// Whether anyone may use the image of a manifest.
    pub(super) fn is_free(&self, digest: &Digest) -> bool {
        if self.known.get(digest).is_some_and(|parsed| parsed.is_free) {
            return true;
        }
        let is_free = self.is_granted(digest, &Access::Everyone);
        if is_free {
            self.known.set_free(digest);
        }
        is_free
    }

    /// Notes that anyone may use the image of a manifest.
    pub(super) fn set_free(&self, digest: &Digest) -> Result<(), ImageError> {
        let layers = self.parsed(digest)?.map(|parsed| parsed.diff_ids);
        layers
            .iter()
            .flat_map(|layers| layers.iter())
            .chain([digest])
            .try_for_each(|content| self.grant(content, &Access::Everyone))
    }

    /// The image of a manifest, if it is here with all its layers.
    fn ready(&self, reference: &Reference, digest: &Digest) -> Result<Option<Image>, ImageError> {
        let Some(mut parsed) = self.parsed(digest)? else { return Ok(None) };
        let hold = match parsed.hold.upgrade() {
            Some(hold) => hold,
            None => match self.hold_all(&parsed.diff_ids)? {
                Some(layers) => Arc::new(Hold::new(layers)),
                None => return Ok(None),
            },
        };
        parsed.hold = Arc::downgrade(&hold);
        let layers = parsed.diff_ids.iter().map(|diff_id| self.layer_files(diff_id)).collect();
        let config = parsed.config.clone();
        self.known.remember(digest, parsed);
        Ok(Some(Image { reference: reference.clone(), digest: digest.to_string(), config, layers, hold }))
    }

    fn hold_all(&self, diff_ids: &[Digest]) -> Result<Option<Vec<LayerHold>>, ImageError> {
        diff_ids.iter().map(|diff_id| self.hold_layer(diff_id)).collect()
    }

    /// The layers of a manifest, if it is here.
    pub(super) fn diff_ids(&self, digest: &Digest) -> Result<Option<Arc<[Digest]>>, ImageError> {
        Ok(self.parsed(digest)?.map(|parsed| parsed.diff_ids))
    }

    fn parsed(&self, digest: &Digest) -> Result<Option<Parsed>, ImageError> {
        if let Some(known) = self.known.get(digest) {
            return Ok(Some(known));
        }
        let Some(manifest) = self.blob(digest)? else { return Ok(None) };
        let image = digest.to_string();
        // A digest may also be that of a configuration; only manifests are images.
        let Ok(Document::Manifest(manifest)) = Document::parse(&manifest, &image) else { return Ok(None) };
        let Some(config) = self.blob(&digest_of(manifest.config())?)? else { return Ok(None) };
        let config = Configuration::parse(&config, &image, &self.limits)?;
        Ok(Some(Parsed {
            config: config.run,
            diff_ids: topmost(&config.diff_ids).into(),
            hold: Weak::new(),
            is_free: false,
        }))
    }
}

/// Without repetitions: overlayfs refuses a directory twice. The topmost stays: whatever the lower
/// one adds or hides, the upper one adds or hides over everything in between.
pub(crate) fn topmost(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut seen = HashSet::new();
    let mut kept: Vec<_> = diff_ids.iter().rev().filter(|diff_id| seen.insert(*diff_id)).cloned().collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_layers_count_where_they_are_topmost() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|name| Digest::of(name));
        let layers = [a.clone(), b.clone(), a.clone(), c.clone(), c.clone()];
        assert_eq!(topmost(&layers), [b, a, c]);
    }
}
