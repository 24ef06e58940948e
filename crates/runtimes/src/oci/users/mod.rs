//! Users of a job that are nobody on the host.
//!
//! A job runs in a user namespace whose ids are a range of the host's that nobody else has. Layers, which
//! all jobs share, are shown to it with their owners translated into that range. What it writes is owned by
//! ids of the range on its disk; its workspace is shown to the agent translated back, so that the agent,
//! which is root, and the job's root see each other's files there as their own.

pub(super) mod namespace;
mod range;
mod trial;

pub(super) use range::{Range, SIZE, give_back_all, here, layers, system};
pub(super) use trial::try_out;

use super::instance::Instance;
use super::{Helper, OwnUsers};
use crate::RuntimeError;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What an operator can do besides.
pub(super) const ELSE: &str = "set EXECUTOR_USER_NAMESPACE=false if jobs may have the host's";

/// Gives jobs users of their own, where that can be.
#[derive(Debug)]
pub(super) struct Users {
    pool: Result<Pool, Lack>,
    /// A job that can't have users of its own is refused.
    needed: bool,
}

/// Why jobs have no users of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Lack {
    /// The operator wants it so.
    Unwanted,
    /// They can't have.
    Impossible(Obstacle),
    /// They are an ordinary user's, whose own users are all that there are.
    Ordinary,
}

/// What is in the way, and what helps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Obstacle {
    pub(super) seen: String,
    pub(super) remedy: String,
}

/// Ranges that were taken and are not in use. A range stays ours once it was taken: making what belongs to it
/// takes two processes.
#[derive(Debug, Clone)]
struct Pool {
    /// Gone when nothing that uses one runs any more.
    dir: PathBuf,
    idle: Arc<Mutex<Vec<Range>>>,
}

impl Users {
    /// Looks, and tries, whether jobs can have users of their own, if they are to; `layers` are what jobs share.
    pub(super) fn probe(helper: &Helper, instance: &Instance, layers: &Path, wanted: OwnUsers) -> Self {
        let pool = Pool::new(instance.dir());
        let tried = || {
            let range = try_out(helper, instance.dir(), &instance.volumes(), layers);
            range.map(|range| pool.put(range)).map_err(Lack::Impossible)
        };
        let lack = if wanted == OwnUsers::Never { Some(Lack::Unwanted) } else { tried().err() };
        Self { pool: lack.map_or(Ok(pool), Err), needed: wanted == OwnUsers::Always }
    }

    /// As another process of this agent has found out.
    pub(super) fn known(instance: &Instance, lack: Option<Lack>, wanted: OwnUsers) -> Self {
        let pool = lack.map_or_else(|| Ok(Pool::new(instance.dir())), Err);
        Self { pool, needed: wanted == OwnUsers::Always }
    }

    /// Whether jobs without are refused.
    pub(super) fn are_needed(&self) -> bool {
        self.needed
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
                Ok(Some(Lent { range: Some(range), idle: Arc::clone(&pool.idle), in_use: false }))
            }
            Err(Lack::Impossible(Obstacle { seen, remedy })) if self.needed => Err(RuntimeError::Refused(
                format!("jobs can't have users of their own here: {seen}; {remedy}, or {ELSE}"),
            )),
            Err(Lack::Ordinary) if self.needed => Err(RuntimeError::Refused(format!(
                "jobs of an ordinary user can't have users of their own: run executor as root, or {ELSE}"
            ))),
            Err(_) => Ok(None),
        }
    }
}

impl Pool {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), idle: Arc::default() }
    }

    fn take(&self) -> io::Result<Range> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Range::take(&self.dir), Ok)
    }

    fn put(&self, range: Range) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(range);
    }
}

/// A job's users. Once they are in use they are given back when nothing of the job is left; else no other job
/// gets them while this process lives.
#[derive(Debug)]
pub(super) struct Lent {
    range: Option<Range>,
    idle: Arc<Mutex<Vec<Range>>>,
    in_use: bool,
}

impl Lent {
    pub(super) fn range(&self) -> Option<&Range> {
        self.range.as_ref()
    }

    /// A job gets them now.
    pub(super) fn put_to_use(&mut self) {
        self.in_use = true;
    }

    pub(super) fn give_back(mut self) {
        self.in_use = false;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        match self.range.take() {
            Some(range) if self.in_use => std::mem::forget(range),
            unused => self.idle.lock().unwrap_or_else(PoisonError::into_inner).extend(unused),
        }
    }
}
