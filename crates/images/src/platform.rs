//! Which images run on this machine.

use crate::{ImageError, words};
use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageIndex, Os, Platform};

/// Chooses the manifest for this machine from an index.
///
/// An index of a single manifest without a platform, as archives have it, is taken at its word:
/// the configuration is checked later.
pub(crate) fn choose<'a>(index: &'a ImageIndex, image: &str) -> Result<&'a Descriptor, ImageError> {
    let manifests = index.manifests();
    if let [only] = manifests.as_slice()
        && only.platform().is_none()
    {
        return Ok(only);
    }
    let fits = |platform: &Platform| runs_here(platform.os(), platform.architecture());
    manifests.iter().find(|manifest| manifest.platform().as_ref().is_some_and(fits)).ok_or_else(|| {
        let offered = manifests.iter().filter_map(|manifest| manifest.platform().as_ref());
        let offered: Vec<_> = offered.map(|platform| shown(platform.os(), platform.architecture())).collect();
        wrong(image, if offered.is_empty() { "no platform".to_owned() } else { offered.join(", ") })
    })
}

/// Refuses a configuration for other machines.
pub(crate) fn check(config: &ImageConfiguration, image: &str) -> Result<(), ImageError> {
    if runs_here(config.os(), config.architecture()) {
        return Ok(());
    }
    Err(wrong(image, shown(config.os(), config.architecture())))
}

fn runs_here(os: &Os, architecture: &Arch) -> bool {
    *os == Os::Linux && *architecture == Arch::default()
}

fn shown(os: &Os, architecture: &Arch) -> String {
    words::shown(&format!("{os}/{architecture}"), words::NAME)
}

fn wrong(image: &str, offered: String) -> ImageError {
    ImageError::WrongPlatform {
        image: image.to_owned(),
        wanted: shown(&Os::Linux, &Arch::default()),
        offered,
    }
}
