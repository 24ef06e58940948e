//! What this crate makes of a real registry.

use images::{Login, Mirror, RegistryCredentials};
use testkit::image::{Archive, Layer};
use testkit::registry::{Registry, USER};

/// A registry, as this crate speaks of it.
pub(crate) trait Known {
    /// Credentials for it with this password.
    fn credentials(&self, password: &str) -> RegistryCredentials;
    /// It, as a mirror.
    fn mirror(&self) -> Mirror;
}

impl Known for Registry {
    fn credentials(&self, password: &str) -> RegistryCredentials {
        RegistryCredentials::of_logins([(self.address.clone(), Login::password(USER, password))])
    }

    fn mirror(&self) -> Mirror {
        format!("http://{}", self.address).parse().expect("a good address")
    }
}

/// An image of two layers.
pub(crate) fn example() -> Archive {
    Archive::new()
        .layer(Layer::new().directory("etc").file("etc/motd", b"hello").file("etc/gone", b"x"))
        .layer(Layer::new().directory("etc").file("etc/.wh.gone", b""))
        .run_as(&["A=b"], "/work", "1000")
}
