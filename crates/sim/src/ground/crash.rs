//! The death of the server: what it had written is there, whatever it still meant to do is not.

use super::time::{read_by_store, watch};
use super::{Ground, io, options};
use crate::flaw::Flaw;
use crate::invariant::{DURABLE, Step};
use jobs::LeasePolicy;
use jobs::dispatch::Turns;
use std::path::Path;
use std::time::Duration;
use store::SqlStore;

impl Ground {
    /// Takes the files as they are at this moment, as a kernel keeps them whose process was killed: nobody closes
    /// anything, and what the process does with its own from now on reaches nobody.
    pub(crate) async fn crash(&mut self) -> Step {
        let left = self.path();
        self.life += 1;
        let next = self.path();
        copy(&left, &next)?;
        if self.has(Flaw::CommitLost) {
            std::fs::remove_file(next.join("executor.db-wal")).or_else(missing).map_err(io)?;
        }
        // Only so that nothing is left of it here: nobody sees these files again.
        self.close().await;
        std::fs::remove_dir_all(left).map_err(io)
    }

    /// Lets go of the store.
    pub(crate) async fn close(&mut self) {
        if let Some(store) = self.store.take() {
            let _ = store.close().await;
        }
    }

    /// Opens what is there, for leases of that length, and compares it with what was there before.
    pub(crate) async fn start(&mut self, lease: Duration) -> Step {
        let leases = LeasePolicy::of(lease);
        self.watched = watch(&self.clock, &leases, self.flaw);
        let options = options(self.path(), read_by_store(&self.watched, &leases, self.flaw))?;
        self.store = Some(SqlStore::open(options).await?);
        self.turns = Turns::default();
        let before = self.seen.clone();
        let looked = self.look().await;
        let changed = looked.map_err(|broken| DURABLE.broken(broken.detail))?;
        if let Some((id, was)) = changed.into_iter().next() {
            let was = was.or_else(|| before.get(&id).cloned());
            let was = was.map_or("not there".to_owned(), |was| was.to_string());
            return Err(DURABLE.broken(format!("job {id} was {was}, and is {} now", self.seen[&id])));
        }
        Ok(())
    }
}

/// Copies a data directory. The index of the write-ahead log is memory that processes share: it is made anew.
pub(crate) fn copy(from: &Path, to: &Path) -> Step {
    std::fs::create_dir_all(to).map_err(io)?;
    for entry in std::fs::read_dir(from).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if entry.file_type().map_err(io)?.is_dir() {
            copy(&entry.path(), &target)?;
        } else if name != "lock" && name != "executor.db-shm" {
            std::fs::copy(entry.path(), target).map_err(io)?;
        }
    }
    Ok(())
}

fn missing(fault: std::io::Error) -> std::io::Result<()> {
    if fault.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(fault) }
}
