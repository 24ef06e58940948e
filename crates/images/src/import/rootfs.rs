//! The tar of a root file system, such as bootstrap tools write: an image of one layer.

use super::Import;
use super::archive::Archive;
use crate::store::LayerSource;
use crate::{ImageError, ImageInfo};
use oci_spec::image::{Arch, ImageConfigurationBuilder, Os, RootFsBuilder};

pub(super) fn import(import: &Import<'_>, archive: &Archive) -> Result<ImageInfo, ImageError> {
    let whole = archive.whole();
    let source = LayerSource { archive: whole.reader(), blob: None, diff_id: None };
    let layer = import.store.add_layer(source, &import.budget)?;
    if layer.counted.entries == 0 {
        return Err(import.bad("it holds no files; make the archive again"));
    }
    let failed =
        |error: oci_spec::OciSpecError| import.bad(format!("no configuration can be made for it: {error}"));
    let files = RootFsBuilder::default()
        .typ("layers")
        .diff_ids(vec![layer.diff_id.to_string()])
        .build()
        .map_err(failed)?;
    let config = ImageConfigurationBuilder::default()
        .os(Os::Linux)
        .architecture(Arch::default())
        .rootfs(files)
        .history(Vec::new())
        .build()
        .map_err(failed)?;
    let config = config.to_string().map_err(failed)?.into_bytes();
    let layers = [layer];
    import.publish(&import.manifest_of(&config, &layers)?, &config, &layers)
}
