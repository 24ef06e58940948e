//! A directory of a workspace, with what is wanted of it.

use jobs::artifacts::{MAX_ARTIFACT_PATH, Place, is_artifact_path};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Characters of a path that a remark tells at most.
const LONGEST_TOLD: usize = 300;

/// One that is looked through.
pub(super) struct Directory<'a> {
    /// Where it is below the workspace, which is itself nowhere.
    pub(super) path: String,
    /// What is left of the artifacts' patterns there, by the artifact.
    pub(super) places: Vec<(usize, Place<'a>)>,
}

impl<'a> Directory<'a> {
    pub(super) fn enter(&self, name: &str) -> Self {
        let enter = |(artifact, place): &(usize, Place<'a>)| Some((*artifact, place.enter(name)?));
        Self { path: self.path_of(name), places: self.places.iter().filter_map(enter).collect() }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.path) }
    }

    /// The path of what is in it, or why no artifact can have it.
    pub(super) fn path_for(&self, name: &[u8]) -> Result<String, String> {
        let Ok(name) = str::from_utf8(name) else { return Err("its name is not UTF-8".to_owned()) };
        let path = self.path_of(name);
        match path.len() {
            _ if is_artifact_path(&path) => Ok(path),
            ..=MAX_ARTIFACT_PATH => {
                Err("its name is blank, or has a control, invisible or direction-changing character"
                    .to_owned())
            }
            bytes => Err(format!("its path has {bytes} bytes, and may have {MAX_ARTIFACT_PATH}")),
        }
    }

    /// The same for people, whatever it is.
    pub(super) fn shown_path_of(&self, name: &[u8]) -> String {
        let path = Path::new(&self.path).join(OsStr::from_bytes(name));
        #[expect(
            clippy::unnecessary_debug_formatting,
            reason = "what would not be seen is escaped by it alone"
        )]
        let shown = format!("{path:?}");
        match shown.char_indices().nth(LONGEST_TOLD) {
            Some((end, _)) => format!("{}…\"", &shown[..end]),
            None => shown,
        }
    }

    /// The artifacts that have such a place here.
    pub(super) fn artifacts(&self, wanted: impl Fn(&Place<'a>) -> bool) -> Vec<usize> {
        let wanted = self.places.iter().filter(|(_, place)| wanted(place));
        wanted.map(|(artifact, _)| *artifact).collect()
    }
}
