//! A step that waits until the test lets it go on. It has no network, so its gate is a file in its workspace, which
//! is found through the step's own process, whatever that is a child of.

use crate::support::{SOON, wait};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A gate that is closed.
pub(crate) struct Gate(String);

impl Gate {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("/data/gate-{}-{number}", std::process::id()))
    }

    /// The line of a step's script that waits here.
    pub(crate) fn script(&self) -> String {
        let file = &self.0;
        format!("touch {file}; while [ -e {file} ]; do usleep 10000; done")
    }

    /// Waits until a step has come to the gate.
    pub(crate) fn reached(&self) {
        wait(SOON, "a step at its gate", || self.is_reached().then_some(()));
    }

    /// Whether a step waits here.
    pub(crate) fn is_reached(&self) -> bool {
        !self.files().is_empty()
    }

    /// Lets the step go on that has come, or will.
    pub(crate) fn open(&self) {
        wait(SOON, "a step at its gate", || {
            let files = self.files();
            for file in &files {
                // Several processes see the same file.
                let _ = std::fs::remove_file(file);
            }
            (!files.is_empty()).then_some(())
        });
    }

    /// The gate's file as each process sees it that has it.
    fn files(&self) -> Vec<PathBuf> {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let seen = processes.map(|entry| PathBuf::from(format!("{}/root{}", entry.path().display(), self.0)));
        seen.filter(|path| path.exists()).collect()
    }
}
