//! The places that have an image, in the order in which they are tried.

use super::Registries;
use super::endpoint::Endpoint;
use crate::digest::Digest;
use crate::documents::{Document, check_digest, digest_of, too_deep};
use crate::limits::INDEX_DEPTH;
use crate::reference::DOCKER_HUB;
use crate::{ImageError, Progress, Reference, RegistryCredentials, platform};
use oci_spec::image::ImageManifest;

/// Mirrors first, if it is an image of Docker Hub, then its registry.
///
/// A mirror that fails is passed over for the rest of the pull: what it has, the registry has as well.
pub(super) struct Source<'a> {
    reference: &'a Reference,
    mirrors: Vec<Endpoint<'a>>,
    registry: Endpoint<'a>,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        registries: &'a Registries,
        reference: &'a Reference,
        credentials: &'a RegistryCredentials,
    ) -> Self {
        let is_mirrored = reference.registry() == DOCKER_HUB;
        let mirrors = registries.mirrors.iter().filter(|_| is_mirrored);
        let endpoint = |mirror| Endpoint::new(&registries.transport, reference, credentials, mirror);
        Self {
            reference,
            mirrors: mirrors.map(|mirror| endpoint(Some(mirror))).collect(),
            registry: endpoint(None),
        }
    }

    /// Where to ask, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = &Endpoint<'a>> {
        self.mirrors.iter().filter(|mirror| !mirror.is_given_up()).chain([&self.registry])
    }

    /// Says why a mirror is not asked any more.
    pub(super) fn pass_over(&self, mirror: &Endpoint<'_>, error: &ImageError, progress: &dyn Progress) {
        mirror.give_up();
        let (name, why) = (mirror.name(), error.told());
        tracing::warn!(mirror = name, image = %self.reference, why, "a mirror is passed over");
        progress.line(&format!("the mirror {name} is passed over: {why}"));
    }

    /// Whether anything was had for a login.
    pub(super) fn used_login(&self) -> bool {
        self.mirrors.iter().chain([&self.registry]).any(Endpoint::used_login)
    }

    /// The manifest for this machine and its bytes.
    pub(super) async fn manifest(
        &self,
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<(Vec<u8>, ImageManifest), ImageError> {
        for place in self.places() {
            match self.manifest_at(place, limit).await {
                Err(error) if place.is_mirror() => self.pass_over(place, &error, progress),
                done => return done,
            }
        }
        Err(self.nowhere())
    }

    /// A configuration that is what its digest says.
    pub(super) async fn configuration(
        &self,
        digest: &Digest,
        limit: u64,
        progress: &dyn Progress,
    ) -> Result<Vec<u8>, ImageError> {
        for place in self.places() {
            let read = place.configuration(&digest.to_string(), limit).await.and_then(|bytes| {
                check_digest("the configuration", digest, &Digest::of(&bytes))?;
                Ok(bytes)
            });
            match read {
                Err(error) if place.is_mirror() => self.pass_over(place, &error, progress),
                done => return done,
            }
        }
        Err(self.nowhere())
    }

    /// Follows indexes to the manifest for this machine.
    async fn manifest_at(
        &self,
        place: &Endpoint<'_>,
        limit: u64,
    ) -> Result<(Vec<u8>, ImageManifest), ImageError> {
        let image = self.reference.to_string();
        let mut expected = self.reference.digest().and_then(Digest::parse);
        for _ in 0..=INDEX_DEPTH {
            let wanted = expected.as_ref().map(ToString::to_string);
            let wanted = wanted.as_deref().or(self.reference.tag()).unwrap_or("latest");
            let bytes = place.manifest(wanted, limit).await?;
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

    /// The registry is always among the places, so this is only for the compiler.
    pub(super) fn nowhere(&self) -> ImageError {
        ImageError::NotFound {
            image: self.reference.to_string(),
            place: self.reference.registry().to_owned(),
        }
    }
}
