//! What the modules share.

use images::{Image, ImageError, ImageStore, Limits, Options, Progress, Reference, RegistryCredentials};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;
use testkit::image::Archive;

/// A store in a directory of its own.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
    pub(crate) store: ImageStore,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::with_options(Options { limits, ..Options::default() })
    }

    pub(crate) fn with_options(options: Options) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().join("store");
        let store = ImageStore::open_with(root, options).expect("a new store opens");
        Self { directory, store }
    }

    /// The store's directory.
    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Writes an archive beside the store.
    pub(crate) fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join("archive");
        fs::write(&path, bytes).expect("the archive is written");
        path
    }

    /// Imports and gives the image.
    pub(crate) async fn imported(&self, name: &str, archive: &[u8]) -> Result<Image, ImageError> {
        self.store.import(&reference(name), &self.write(archive))?;
        self.local(name).await
    }

    pub(crate) async fn imported_image(&self, name: &str, archive: &Archive) -> Result<Image, ImageError> {
        self.imported(name, &archive.docker()).await
    }

    pub(crate) async fn local(&self, name: &str) -> Result<Image, ImageError> {
        self.resolve(name, &RegistryCredentials::default()).await
    }

    pub(crate) async fn resolve(
        &self,
        name: &str,
        credentials: &RegistryCredentials,
    ) -> Result<Image, ImageError> {
        self.store.resolve(&reference(name), credentials, &Silent).await
    }

    /// What is in the store, unfinished work included, as paths relative to it.
    pub(crate) fn content(&self) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for part in ["access", "blobs/sha256", "layers", "names"] {
            for entry in fs::read_dir(self.root().join(part)).expect("the store has its directories") {
                all.push(Path::new(part).join(entry.expect("the directory can be read").file_name()));
            }
        }
        for session in fs::read_dir(self.root().join("tmp")).expect("the store has its directories") {
            let session = session.expect("the directory can be read").path();
            for work in fs::read_dir(&session).into_iter().flatten() {
                let work = work.expect("the directory can be read").path();
                if work.file_name().is_some_and(|name| name != "alive") {
                    all.push(work);
                }
            }
        }
        all.sort();
        all
    }
}

/// Progress that is kept.
#[derive(Default)]
pub(crate) struct Told(Mutex<Vec<String>>);

impl Told {
    /// All that was told, and nothing from then on.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no test panicked"))
    }
}

impl Progress for Told {
    fn line(&self, text: &str) {
        self.0.lock().expect("no test panicked").push(text.to_owned());
    }
}

/// Progress that nobody reads.
pub(crate) struct Silent;

impl Progress for Silent {
    fn line(&self, _text: &str) {}
}

pub(crate) fn reference(name: &str) -> Reference {
    name.parse().expect("a good reference")
}

/// The error's text with its causes, as a user would see it.
pub(crate) fn told(error: &ImageError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
