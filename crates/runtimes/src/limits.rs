//! What a job may use.

/// Limits of one sandbox. `None` means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// CPUs, as a share of time: 4.0 means four CPUs' worth.
    pub cpus: Option<f64>,
    /// Bytes of memory, page cache of the job's own files included; swap is off.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// Bytes of disk for the workspace and everything written to the root file system.
    pub disk: Option<u64>,
}
