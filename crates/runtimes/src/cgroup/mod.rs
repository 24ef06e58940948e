//! Control groups: one per sandbox, below the agent's own, whatever the host's layout.
//!
//! Version 1, version 2 and the hybrid of both are treated alike: for each controller there is one
//! directory and one set of file names. The version 2 hierarchy, where there is one, also kills.

mod detect;
mod enable;
mod entrances;
mod group;
mod kill;
mod record;
mod usage;

pub(crate) use detect::Hierarchies;
pub(crate) use entrances::Entrances;
pub(crate) use group::Group;
pub(crate) use usage::Reading;

use std::path::{Path, PathBuf};

/// What can be limited or watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Controller {
    Memory,
    Pids,
    Cpu,
    /// Version 1 only; in version 2 every group can be frozen.
    Freezer,
    /// Version 1 only; in version 2 every group counts its time.
    Cpuacct,
}

impl Controller {
    const ALL: [Self; 5] = [Self::Memory, Self::Pids, Self::Cpu, Self::Freezer, Self::Cpuacct];
    /// Those that version 2 has under the same name.
    const UNIFIED: [Self; 3] = [Self::Memory, Self::Pids, Self::Cpu];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Freezer => "freezer",
            Self::Cpuacct => "cpuacct",
        }
    }
}

/// Where a controller's files are, and which names they have there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    V1(&'a Path),
    V2(&'a Path),
}

/// One directory per controller of version 1, and one in the version 2 hierarchy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Directories {
    v1: Vec<(Controller, PathBuf)>,
    v2: Option<PathBuf>,
    /// Controllers that work in `v2`.
    unified: Vec<Controller>,
}

impl Directories {
    pub(crate) fn place(&self, controller: Controller) -> Option<Place<'_>> {
        let v1 = self.v1.iter().find(|(of, _)| *of == controller).map(|(_, path)| Place::V1(path));
        let v2 = || self.v2.as_deref().filter(|_| self.unified.contains(&controller)).map(Place::V2);
        v1.or_else(v2)
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &Path> {
        let mut paths: Vec<&Path> =
            self.v1.iter().map(|(_, path)| path.as_path()).chain(self.v2.as_deref()).collect();
        // Controllers that are mounted together share a directory.
        paths.sort_unstable();
        paths.dedup();
        paths.into_iter()
    }

    /// Leaves out what does not have `id` in its path.
    fn retain_named(&mut self, id: &str) {
        let named = |path: &Path| path.to_string_lossy().contains(id);
        self.v1.retain(|(_, path)| named(path));
        self.v2 = self.v2.take().filter(|path| named(path));
    }

    fn join(&self, name: &str) -> Self {
        Self {
            v1: self.v1.iter().map(|(of, path)| (*of, path.join(name))).collect(),
            v2: self.v2.as_ref().map(|path| path.join(name)),
            unified: self.unified.clone(),
        }
    }
}
