//! The content-addressed store.
//!
//! ```text
//! lock                      shared while a name is written, exclusive while garbage is chosen
//! blobs/sha256/<hex>        manifests and configurations
//! layers/<diff id's hex>/   one unpacked layer
//!   fs/                     its files in overlayfs' own form
//!   counted.json            what it holds, in numbers
//!   lock                    shared while the layer is in use, exclusive while it is collected
//! access/<hex>.<whose>      whose the manifest or layer is; see `access.rs`
//! names/<hex>               one name, digested, and the manifest it stands for, as JSON; last changed when it
//!                           was last used
//! tmp/session-*/            unfinished work of one process, locked while that process lives
//! ```
//!
//! Everything is finished in `tmp` and renamed into place, so whoever looks sees it whole or not at
//! all, and a process may be killed at any point. Any number of processes may share a store.

mod access;
mod garbage;
mod layers;
mod layout;
mod local;
mod lock;
mod names;
mod session;
mod unused;

pub(crate) use access::Access;
pub(crate) use layers::{Hold, LayerHold, LayerSource};
pub(crate) use names::Publication;
pub(crate) use session::Scratch;

pub use garbage::Collected;
pub use unused::{Keep, LetGo};

use crate::digest::Digest;
use crate::pull::{Flights, Proof, Registries};
use crate::{Image, ImageError, ImageInfo, Limits, Mirror, Progress, Reference, RegistryCredentials};
use layout::Layout;
use local::Known;
use session::Session;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tls::Roots;

/// The content-addressed store of images. Clones share everything.
#[derive(Debug, Clone)]
pub struct ImageStore {
    pub(crate) inner: Arc<Inner>,
}

/// What a store may do, and whom it asks.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What an image may cost.
    pub limits: Limits,
    /// Whom registries may be.
    pub roots: Roots,
    /// Mirrors of Docker Hub, in the order in which they are tried.
    pub mirrors: Vec<Mirror>,
    /// Where Docker Hub is; `None` outside of tests, which have one of their own.
    pub docker_hub: Option<Mirror>,
}

/// What clones of a store share.
#[derive(Debug)]
pub(crate) struct Inner {
    layout: Layout,
    session: Session,
    pub(crate) limits: Limits,
    known: Known,
    pub(crate) registries: Registries,
    pub(crate) flights: Flights,
}

impl ImageStore {
    /// Opens the store in `root`, which is made if need be, and removes what dead processes left.
    /// Blocking.
    pub fn open(root: PathBuf) -> Result<Self, ImageError> {
        Self::open_with(root, Options::default())
    }

    /// Opens the store with other options than usual. Blocking.
    pub fn open_with(root: PathBuf, options: Options) -> Result<Self, ImageError> {
        // Callers mount the layers from other directories than ours.
        let root = if root.is_absolute() {
            root
        } else {
            std::path::absolute(&root).map_err(ImageError::io("find", &root))?
        };
        let layout = Layout::create(root)?;
        let session = Session::start(&layout)?;
        Ok(Self {
            inner: Arc::new(Inner {
                layout,
                session,
                limits: options.limits,
                known: Known::default(),
                registries: Registries::new(options.roots, options.mirrors, options.docker_hub),
                flights: Flights::default(),
            }),
        })
    }

    /// The directory that holds every image's layers.
    pub fn layers(&self) -> PathBuf {
        self.inner.layout.layers()
    }

    /// Imports an archive under `name`: what `docker save` writes, an OCI image layout, or the tar of
    /// a root file system, each also compressed by gzip or zstd. Replaces what had the name; leaves
    /// the store as it was when it fails. Blocking.
    pub fn import(&self, name: &Reference, archive: &Path) -> Result<ImageInfo, ImageError> {
        crate::import::import(&self.inner, name, archive)
    }

    /// The image for `reference`: from the store when its name or digest is here, else from its
    /// registry. Asking twice at once does the work once.
    ///
    /// Quick when the image is here and anyone may use it: it then reads one small file. For an image
    /// that came for a login, the registry is asked first whether `credentials` may have it.
    pub async fn resolve(
        &self,
        reference: &Reference,
        credentials: &RegistryCredentials,
        progress: &dyn Progress,
    ) -> Result<Image, ImageError> {
        let resolved = self.resolve_in(reference, credentials, progress).await;
        if resolved.is_ok() {
            self.inner.note_use(reference);
        }
        // What failed was in a directory that is gone by now.
        resolved.map_err(|error| error.on_disk_of(self.inner.layout.root()))
    }

    async fn resolve_in(
        &self,
        reference: &Reference,
        credentials: &RegistryCredentials,
        progress: &dyn Progress,
    ) -> Result<Image, ImageError> {
        if let Some(image) = self.usable(reference, credentials, progress).await? {
            return Ok(image);
        }
        let _only_one = self.inner.flights.enter(&reference.to_string()).await;
        match self.usable(reference, credentials, progress).await? {
            Some(image) => Ok(image),
            None => crate::pull::pull(&self.inner, reference, credentials, progress).await,
        }
    }

    /// The image, if it is here and whoever has `credentials` may use it.
    async fn usable(
        &self,
        reference: &Reference,
        credentials: &RegistryCredentials,
        progress: &dyn Progress,
    ) -> Result<Option<Image>, ImageError> {
        let Some(image) = self.inner.local(reference)? else { return Ok(None) };
        let Some(digest) = Digest::parse(&image.digest) else { return Ok(None) };
        if self.inner.is_free(&digest) {
            return Ok(Some(image));
        }
        let repository = Access::Repository(reference.whole_repository());
        if !self.inner.is_granted(&digest, &repository) {
            // Whoever asks here must show that this is where it is.
            return Ok(None);
        }
        let registry = reference.registry();
        progress.line(&format!("{reference} is here; asking {registry} whether this job may use it"));
        match self.inner.registries.prove(reference, &digest, credentials).await? {
            Proof::ThisLogin => Ok(Some(image)),
            Proof::Everyone => {
                self.inner.set_free(&digest)?;
                Ok(Some(image))
            }
            Proof::NotThere => Ok(None),
        }
    }

    /// The images by name. Blocking.
    pub fn list(&self) -> Result<Vec<ImageInfo>, ImageError> {
        self.inner.all_names()
    }

    /// Takes a name away. Its layers stay until they are collected. Blocking.
    pub fn remove(&self, name: &Reference) -> Result<(), ImageError> {
        if self.inner.forget(name)? {
            return Ok(());
        }
        Err(ImageError::NotFound { image: name.to_string(), place: "the store".to_owned() })
    }

    /// Takes the names of pulled images away that are not to be kept, and frees their room. One that is
    /// in use, in any process, counts as used now. What was imported stays. Blocking.
    pub fn let_go_of_unused(&self, keep: &Keep<'_>) -> Result<LetGo, ImageError> {
        self.inner.let_go_of_unused(keep)
    }

    /// Removes layers and documents that no name leads to and no process uses. Blocking.
    pub fn collect_garbage(&self) -> Result<Collected, ImageError> {
        self.inner.collect_garbage()
    }
}

impl Inner {
    /// A new empty directory in the store's file system, removed when it is dropped.
    pub(crate) fn scratch(&self) -> Result<Scratch, ImageError> {
        self.session.scratch()
    }

    /// A manifest or configuration; none when it isn't here.
    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ImageError> {
        let path = self.layout.blob(digest);
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ImageError::io("read", &path)(error)),
        }
    }
}
