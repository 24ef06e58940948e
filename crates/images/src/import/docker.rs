//! What `docker save` writes: `manifest.json`, a configuration and one tar per layer.

use super::Import;
use super::archive::Archive;
use crate::digest::Digest;
use crate::documents::check_digest;
use crate::{ImageError, ImageInfo, words};
use serde::Deserialize;

/// The file that makes an archive one of these.
pub(super) const MARK: &str = "manifest.json";

/// How many of its names a message about an archive names.
const TAGS_SHOWN: usize = 10;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

pub(super) fn import(import: &Import<'_>, archive: &Archive) -> Result<ImageInfo, ImageError> {
    let limits = &import.store.limits;
    let manifest = archive.bytes(MARK, limits.manifest_bytes)?;
    let saved: Vec<Saved> = serde_json::from_slice(&manifest).map_err(|error| {
        let fault = words::of_json(&error);
        import.bad(format!("its manifest.json can't be read: {fault}; make it by `docker save`"))
    })?;
    let saved = choose(import, saved)?;
    let config = archive.bytes(&saved.config, limits.config_bytes)?;
    if let Some(digest) = digest_in(&saved.config) {
        let what = format!("{} in {}", words::shown(&saved.config, words::NAME), import.what());
        check_digest(&what, &digest, &Digest::of(&config))?;
    }
    let configuration = import.configuration(&config)?;
    let members: Result<Vec<_>, _> =
        saved.layers.iter().map(|layer| Ok((archive.member(layer)?, None))).collect();
    let layers = import.layers(&configuration, &members?)?;
    import.publish(&import.manifest_of(&config, &layers)?, &config, &layers)
}

/// The only image, or the one that bears the name.
fn choose(import: &Import<'_>, mut saved: Vec<Saved>) -> Result<Saved, ImageError> {
    let is_named = |image: &Saved| {
        let tags = image.repo_tags.iter().flatten();
        tags.filter_map(|tag| tag.parse().ok()).any(|tag: crate::Reference| tag == *import.name)
    };
    match (saved.len(), saved.iter().position(is_named)) {
        (0, _) => Err(import.bad("it has no image; make it by `docker save`")),
        (1, _) => Ok(saved.remove(0)),
        (_, Some(named)) => Ok(saved.swap_remove(named)),
        (count, None) => {
            let tags = saved.iter().flat_map(|image| image.repo_tags.iter().flatten());
            let tags: Vec<_> = tags.take(TAGS_SHOWN).map(|tag| words::shown(tag, words::NAME)).collect();
            Err(import.bad(format!(
                "it has {count} images and none is {}; import it by one of their names: {}",
                import.name.familiar(),
                tags.join(", ")
            )))
        }
    }
}

/// Configurations are named by their digest: `<hex>.json` in the old layout, a blob in the new.
fn digest_in(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next()?;
    Digest::from_hex(name.strip_suffix(".json").unwrap_or(name))
}
