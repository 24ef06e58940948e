//! Where groups are, as text: whoever has to remove them may be in other groups than who made them, such as those of
//! another unit of systemd.

use super::{Controller, Directories};
use std::fmt::Write as _;

/// What the hierarchy of version 2 is called.
const UNIFIED: &str = "unified";

impl Directories {
    /// A line for each: a controller of version 1 or `unified`, a blank, a path.
    pub(crate) fn to_record(&self) -> String {
        let v1 = self.v1.iter().map(|(controller, path)| (controller.name(), path));
        let all = v1.chain(self.v2.as_ref().map(|path| (UNIFIED, path)));
        all.fold(String::new(), |mut text, (name, path)| {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{name} {}", path.display());
            text
        })
    }

    /// What [`Self::to_record`] wrote, as far as it can be read; not which controllers work in version 2.
    pub(crate) fn of_record(text: &str) -> Self {
        let mut directories = Self::default();
        for (name, path) in text.lines().filter_map(|line| line.split_once(' ')) {
            if let Some(controller) = Controller::ALL.into_iter().find(|of| of.name() == name) {
                directories.v1.push((controller, path.into()));
            } else if name == UNIFIED {
                directories.v2 = Some(path.into());
            }
        }
        directories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let v1 = vec![(Controller::Memory, "/a b/x".into()), (Controller::Cpu, "/c".into())];
        let (v2, unified) = (Some("/d/x".into()), Vec::new());
        let all = Directories { v1, v2, unified };
        assert_eq!(all.to_record(), "memory /a b/x\ncpu /c\nunified /d/x\n");
        assert_eq!(Directories::of_record(&all.to_record()), all);
        assert_eq!(Directories::of_record("blkio /e\n\nx"), Directories::default());
    }
}
