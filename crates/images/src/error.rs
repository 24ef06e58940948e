//! What can go wrong with an image.

use crate::words;
use std::error::Error as _;
use std::io;
use std::net::IpAddr;
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
    #[error(
        "image {image} was not found in {place}; check the name and the tag, or import the image first: \
         `executor image list` tells which are on this host"
    )]
    NotFound {
        /// The image.
        image: String,
        /// The store or the registry.
        place: String,
    },
    /// The registry wants other credentials.
    #[error(
        "{registry} refused image {image}: {reason}; set credentials for {registry} that may pull it \
         (registries also answer so for images that don't exist: `executor image list` tells which are on this host)"
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
    /// The executor's own credentials could not be looked up, and none are not enough.
    #[error("{registry} gives image {image} only for credentials, and none could be looked up: {fault}")]
    Credentials {
        /// The image.
        image: String,
        /// The registry.
        registry: String,
        /// Why not, and what to do.
        fault: String,
    },
    /// The image is here, for those who may pull it, and its registry can't say who that is.
    #[error(
        "image {image} is here, but came for credentials, and whether this job may use it could not be asked"
    )]
    Unproved {
        /// The image.
        image: String,
        /// Why it could not be asked, and what to do.
        source: Box<Self>,
    },
    /// The registry shows no certificate that we believe, or speaks no TLS that we do.
    #[error(
        "{registry} can't be trusted over TLS; if its certificate is of a private authority, add that one's to \
         the certificates of this machine"
    )]
    Tls {
        /// The registry.
        registry: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// The registry is where no registry may be.
    #[error(
        "{registry} has the address {address}, which is link-local or a metadata service's and is not connected \
         to; name a registry that has another"
    )]
    ForbiddenAddress {
        /// The registry.
        registry: String,
        /// One of its addresses.
        address: IpAddr,
    },
    /// The registry's name is nobody's.
    #[error(
        "there is no registry {registry}: DNS was asked and has no host of that name; correct the image's name, or, \
         if it is right, have DNS or /etc/hosts of this machine know it"
    )]
    UnknownHost {
        /// The registry.
        registry: String,
    },
    /// The registry could not be talked to.
    #[error(
        "can't reach {registry}; check its name, the network and the proxy, or import the image: \
         `executor image list` tells which are on this host"
    )]
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
    #[error("{what} is damaged, cut off or no archive: {found}; fetch or make it again")]
    BrokenStream {
        /// The layer or file.
        what: String,
        /// What was found, in our own words: decoders quote what they read.
        found: String,
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
    /// Whether somebody other than whoever asked has to act, or time has to pass: the image may be
    /// perfectly good.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Self::Network { .. }
                | Self::Tls { .. }
                | Self::RateLimited { .. }
                | Self::BadRegistry { .. }
                | Self::EnginePull { .. }
                | Self::Credentials { .. }
                | Self::Unproved { .. }
                | Self::DiskFull { .. }
                | Self::Io { .. }
        )
    }

    /// The kind of fault, for programs: lower case with underscores, stable.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::BadReference { .. } => "bad_reference",
            Self::NotFound { .. } => "not_found",
            Self::Unauthorised { .. } => "unauthorised",
            Self::RateLimited { .. } => "rate_limited",
            Self::Credentials { .. } => "credentials",
            Self::Unproved { .. } => "unproved",
            Self::Tls { .. } => "tls",
            Self::ForbiddenAddress { .. } => "forbidden_address",
            Self::UnknownHost { .. } => "unknown_host",
            Self::Network { .. } => "network",
            Self::EnginePull { .. } => "engine_pull",
            Self::BadRegistry { .. } => "bad_registry",
            Self::WrongPlatform { .. } => "wrong_platform",
            Self::DigestMismatch { .. } => "digest_mismatch",
            Self::TooLarge { .. } => "too_large",
            Self::BadImage { .. } => "bad_image",
            Self::BadEntry { .. } => "bad_entry",
            Self::BrokenStream { .. } => "broken_stream",
            Self::DiskFull { .. } => "disk_full",
            Self::Io { .. } => "io",
        }
    }

    /// Whether it is the doing of whoever was asked, so that another may do better.
    pub(crate) fn is_of_registry(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Unauthorised { .. }
                | Self::Credentials { .. }
                | Self::ForbiddenAddress { .. }
                | Self::UnknownHost { .. }
                | Self::Network { .. }
                | Self::Tls { .. }
                | Self::RateLimited { .. }
                | Self::BadRegistry { .. }
                | Self::DigestMismatch { .. }
                | Self::BrokenStream { .. }
        )
    }

    /// A full disk, told by a directory that stays.
    pub(crate) fn on_disk_of(self, directory: &Path) -> Self {
        match self {
            Self::DiskFull { .. } => Self::DiskFull { path: directory.to_owned() },
            other => other,
        }
    }

    /// The error and its causes in one line.
    pub(crate) fn told(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        words::shown(&line, usize::MAX)
    }

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
            Err(error) => Self::BrokenStream { what, found: words::of_stream(&error) },
        }
    }

    pub(crate) fn bad_image(what: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::BadImage { what: what.into(), rule: rule.into() }
    }

    pub(crate) fn too_large(what: impl Into<String>, limit: impl Into<String>) -> Self {
        Self::TooLarge { what: what.into(), limit: limit.into() }
    }
}
