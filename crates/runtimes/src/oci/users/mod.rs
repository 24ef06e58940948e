//! Users of a job that are nobody on the host.
//!
//! A job runs in a user namespace whose ids are a range of the host's that nobody else has. Layers, which
//! all jobs share, are shown to it with their owners translated into that range. What it writes is owned by
//! ids of the range on its disk; its workspace is shown to the agent translated back, so that the agent,
//! which is root, and the job's root see each other's files there as their own.

pub(super) mod namespace;
mod range;

pub(super) use range::{Range, SIZE, here, layers};

use super::Helper;
use super::instance::Instance;
use crate::RuntimeError;
use rustix::fs::{Mode, OFlags, open};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Gives jobs users of their own, where that can be.
#[derive(Debug)]
pub(super) struct Users {
    pool: Result<Pool, Lack>,
    strict: bool,
}

/// Why jobs have no users of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lack {
    /// The operator wants it so.
    Unwanted,
    /// They can't have.
    Impossible(String),
}

/// Ranges that were taken and are not in use. A range stays ours once it was taken: making what belongs to it
/// costs two processes.
#[derive(Debug, Clone)]
struct Pool {
    helper: Helper,
    dir: PathBuf,
    idle: Arc<Mutex<Vec<Range>>>,
}

impl Users {
    /// Nobody's, as the operator wants it.
    pub(super) fn unwanted() -> Self {
        Self { pool: Err(Lack::Unwanted), strict: false }
    }

    /// Looks, and tries, whether jobs can have users of their own; `layers` are what jobs share.
    pub(super) fn probe(helper: &Helper, instance: &Instance, layers: &Path, strict: bool) -> Self {
        let pool = Pool { helper: helper.clone(), dir: instance.dir().to_owned(), idle: Arc::default() };
        let tried = pool.try_out(&instance.volumes(), layers);
        Self { pool: tried.map(|()| pool).map_err(|error| Lack::Impossible(error.to_string())), strict }
    }

    /// Why jobs have no users of their own, if they have none.
    pub(super) fn lack(&self) -> Option<&Lack> {
        self.pool.as_ref().err()
    }

    /// Users for one job; none where there can't be any.
    pub(super) fn lend(&self) -> Result<Option<Lent>, RuntimeError> {
        match &self.pool {
            Ok(pool) => {
                let range = pool.take().map_err(RuntimeError::io("give a job users of its own"))?;
                Ok(Some(Lent { range: Some(range), idle: Arc::clone(&pool.idle) }))
            }
            Err(Lack::Impossible(why)) if self.strict => Err(RuntimeError::Refused(format!(
                "jobs can't have users of their own here: {why}; mend that, set EXECUTOR_USER_NAMESPACE=false, or \
                 run without strict isolation"
            ))),
            Err(_) => Ok(None),
        }
    }
}

impl Pool {
    fn take(&self) -> io::Result<Range> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Range::take(&self.helper, &self.dir), Ok)
    }

    /// Does everything that a job needs, once, in the directory `scratch`: what is there may not be allowed.
    fn try_out(&self, scratch: &Path, layers: &Path) -> io::Result<()> {
        let told = |what: &'static str| {
            move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
        };
        let range = self.take().map_err(told("failed to make a user namespace"))?;
        namespace::try_out(&self.helper, range.root(), SIZE)
            .map_err(told("failed to mount /proc and /sys in a user namespace"))?;
        let trial = tempfile::tempdir_in(scratch)?;
        let at = |name: &str| trial.path().join(name);
        ["volume", "layers", "root"].iter().try_for_each(|name| fs::create_dir(at(name)))?;
        let tried = range
            .hand_over(&at("volume"))
            .map_err(told("the file system of the data directory can't show files with other owners"))
            .and_then(|()| {
                range
                    .show(layers, &at("layers"))
                    .map_err(told("the file system of the images can't show files with other owners"))
            })
            .and_then(|()| {
                overlay(&[at("layers"), at("volume")], &at("root"))
                    .map_err(told("overlayfs can't show files with other owners (Linux 5.19 can)"))
            });
        for name in ["root", "layers", "volume"] {
            // What was not mounted can't be unmounted.
            let _ = unmount(at(name), UnmountFlags::DETACH);
        }
        tried?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(range);
        Ok(())
    }
}

/// An overlay of `layers` that nothing can be written to.
fn overlay(layers: &[PathBuf], at: &Path) -> io::Result<()> {
    // Paths may hold the characters that separate them.
    let open = |path: &PathBuf| Ok(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
    let held = layers.iter().map(open).collect::<io::Result<Vec<_>>>()?;
    let names: Vec<String> =
        held.iter().map(|layer| format!("/proc/self/fd/{}", layer.as_raw_fd())).collect();
    let options = CString::new(format!("lowerdir={}", names.join(":")))?;
    Ok(mount(c"overlay", at, c"overlay", MountFlags::RDONLY, options.as_c_str())?)
}

/// A job's users. Given back when nothing of the job is left; else no other job gets them while this process
/// lives.
#[derive(Debug)]
pub(super) struct Lent {
    range: Option<Range>,
    idle: Arc<Mutex<Vec<Range>>>,
}

impl Lent {
    pub(super) fn range(&self) -> Option<&Range> {
        self.range.as_ref()
    }

    pub(super) fn give_back(mut self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(self.range.take());
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(range) = self.range.take() {
            std::mem::forget(range);
        }
    }
}
