//! Container images: references, pulling from registries, local archives, the content-addressed
//! store that jobs share, unpacking, garbage collection.
//!
//! Invariant: nothing here runs a container, and nothing in a layer is believed: unpacking can't
//! leave the layer's own directory.

mod credentials;
mod digest;
mod documents;
mod error;
mod import;
mod limits;
mod model;
mod platform;
mod pull;
mod reference;
mod store;
mod unpack;
mod words;

pub use credentials::{CredentialsError, DockerConfig, Login, RegistryCredentials};
pub use error::ImageError;
pub use limits::Limits;
pub use model::{Image, ImageConfig, ImageInfo, Progress};
pub use pull::Mirror;
pub use reference::Reference;
pub use store::{Collected, ImageStore, Keep, LetGo, Options};
