//! What can go wrong with an image.

use std::io;
use std::path::{Path, PathBuf};

/// An image could not be had. Each text says what, which value, which rule, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The reference can't be read.
    #[error("invalid image reference {value:?}: {rule}")]
    BadReference {
        /// What was given.
        value: String,
        /// The rule it breaks.
        rule: String,
    },
    /// Neither the store nor the registry has it.
    #[error("image {image} was not found in {place}; check the name and the tag, or import the image first")]
    NotFound {
        /// The image.
        image: String,
        /// The store or the registry.
        place: String,
    },
    /// The registry wants other credentials.
    #[error(
        "{registry} refused image {image}: {reason}; set credentials for {registry} that may pull it \
         (registries also answer so for images that don't exist)"
    )]
    Unauthorised {
        /// The image.
        image: String,
        /// The registry.
        registry: String,
        /// What it said, or what was missing.
        reason: String,
    },
    /// The registry wants us to wait.
    #[error(
        "{registry} limits the rate of pulls (retry after: {retry_after}); wait, set credentials for \
         {registry}, or use a mirror"
    )]
    RateLimited {
        /// The registry.
        registry: String,
        /// What the registry asked for, in its own words.
        retry_after: String,
    },
    /// The registry could not be talked to.
    #[error("can't reach {registry}; check the network, the proxy and the registry's certificate")]
    Network {
        /// The registry.
        registry: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// A container engine, which pulls by itself, could not.
    #[error(
        "the container engine could not pull image {image} from {registry}: {said}; check the engine's network, \
         proxy and certificates"
    )]
    EnginePull {
        /// The image.
        image: String,
        /// The registry.
        registry: String,
        /// What the engine said.
        said: String,
    },
    /// The registry answered what no registry should.
    #[error("{registry} answered {answer}; the registry is out of order or is not a registry")]
    BadRegistry {
        /// The registry.
        registry: String,
        /// What it answered.
        answer: String,
    },
    /// The image is for other machines.
    #[error("image {image} is for {offered}, this machine needs {wanted}; choose an image for {wanted}")]
    WrongPlatform {
        /// The image.
        image: String,
        /// `os/architecture` of this machine.
        wanted: String,
        /// `os/architecture` of the image, several separated by commas.
        offered: String,
    },
    /// Content is not what its digest says.
    #[error(
        "{what} has digest {actual} but must have {expected}; it was damaged or tampered with: fetch it again \
         from a place you trust"
    )]
    DigestMismatch {
        /// Manifest, configuration or layer.
        what: String,
        /// From the reference, the index or the manifest.
        expected: String,
        /// Of what was received.
        actual: String,
    },
    /// A limit was reached.
    #[error("{what} is more than the limit of {limit}; use a smaller image")]
    TooLarge {
        /// What was counted.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },
    /// A manifest, a configuration or an archive breaks a rule.
    #[error("{what} is not a usable image: {rule}")]
    BadImage {
        /// The file or document.
        what: String,
        /// The rule it breaks and what to do.
        rule: String,
    },
    /// An entry of a layer breaks a rule.
    #[error("a layer's entry {entry:?} is refused: {rule}; build the image anew without it")]
    BadEntry {
        /// Its path, with bytes that are not UTF-8 replaced.
        entry: String,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// Compressed or archived data can't be read.
    #[error("{what} is damaged or cut off; fetch or make it again")]
    BrokenStream {
        /// The layer or file.
        what: String,
        /// What the decoder found.
        source: io::Error,
    },
    /// No room is left for the store.
    #[error("no room left on the disk of {path}; free some space or collect unused images")]
    DiskFull {
        /// Where it was written.
        path: PathBuf,
    },
    /// The store's files could not be used.
    #[error("can't {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

impl ImageError {
    /// For `map_err` on file operations.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { action, path, source },
        }
    }

    /// For `map_err` on reads from a stream: an `ImageError` that travelled through a decoder
    /// inside an `io::Error` comes out as itself.
    pub(crate) fn stream(what: &str) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_owned();
        move |error| match error.downcast::<Self>() {
            Ok(own) => own,
            Err(source) => Self::BrokenStream { what, source },
        }
    }

    pub(crate) fn bad_image(what: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::BadImage { what: what.into(), rule: rule.into() }
    }

    pub(crate) fn too_large(what: impl Into<String>, limit: impl Into<String>) -> Self {
        Self::TooLarge { what: what.into(), limit: limit.into() }
    }
}
