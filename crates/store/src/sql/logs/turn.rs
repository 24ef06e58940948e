//! A writer's turn at the log of a try: nobody else writes to it meanwhile, on no server.

use super::super::SqlStore;
use super::super::database::Write;
use super::super::session::Session;
use super::files::TryFiles;
use super::hold::Held;
use super::lease::{check_lease, write_as_holder};
use super::{Texts, rows};
use crate::error::StoreError;
use crate::sql::news::News;
use jobs::{JobId, Lease};
use std::ops::{Deref, DerefMut};

/// The turn of a job's holder. End it with [`Turn::end`].
pub(super) struct Turn<'s> {
    store: &'s SqlStore,
    id: JobId,
    lease: &'s Lease,
    /// Before `held`: it is dropped, and so rolled back, first.
    write: Option<Write<'s>>,
    held: Option<Held>,
}

impl<'s> Turn<'s> {
    /// Waits for the turn, and refuses everybody but the job's holder.
    pub(super) async fn begin(store: &'s SqlStore, id: JobId, lease: &'s Lease) -> Result<Self, StoreError> {
        let held = Some(store.logs.hold(id, lease.epoch).await);
        let write = match store.logs.texts {
            // A row that is not on the disk goes with a database that is killed, unlike a file.
            Texts::Rows => Some(write_as_holder(store, id, lease).await?),
            Texts::Files => {
                check_lease(&mut store.database.lookup().await?, id, lease).await?;
                None
            }
        };
        Ok(Self { store, id, lease, write, held })
    }

    /// What to look things up with.
    pub(super) async fn lookup(&mut self) -> Result<Look<'_>, StoreError> {
        Ok(match &mut self.write {
            Some(write) => Look::Within(write),
            None => Look::Alone(self.store.database.lookup().await?),
        })
    }

    /// The transaction in which nobody ends the holder's lease; begun, if it was not.
    pub(super) async fn write(&mut self) -> Result<&mut Session, StoreError> {
        let write = match self.write.take() {
            Some(write) => write,
            None => write_as_holder(self.store, self.id, self.lease).await?,
        };
        Ok(&mut **self.write.insert(write))
    }

    /// Adds what is new in `text`, which begins at byte `offset` of the entry's text, and returns where the latter ends now.
    /// With `last`, a file is on the disk when this returns.
    pub(super) async fn add_at(
        &mut self,
        entry: i64,
        offset: u64,
        text: Vec<u8>,
        last: bool,
    ) -> Result<u64, StoreError> {
        match self.store.logs.texts {
            Texts::Rows => {
                let (at, limit) = (self.at(entry), self.store.logs.max_bytes);
                rows::add_at(self.write().await?, at, offset, &text, limit).await
            }
            Texts::Files => {
                self.with_files(move |files| {
                    let length = files.add_at(entry, offset, &text)?;
                    if last { files.sync(entry).map(|()| length) } else { Ok(length) }
                })
                .await
            }
        }
    }

    /// Makes `text` the entry's text; `last` as above.
    pub(super) async fn put(&mut self, entry: i64, text: Vec<u8>, last: bool) -> Result<(), StoreError> {
        match self.store.logs.texts {
            Texts::Rows => {
                let (at, limit) = (self.at(entry), self.store.logs.max_bytes);
                rows::put(self.write().await?, at, &text, limit).await
            }
            Texts::Files => {
                self.with_files(move |files| {
                    files.put(entry, &text)?;
                    if last { files.sync(entry) } else { Ok(()) }
                })
                .await
            }
        }
    }

    /// Makes so what was done, or takes it back where it failed; then others have their turn.
    pub(super) async fn end<T>(mut self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        let done = match self.write.take() {
            Some(write) => self.store.settle(write, outcome).await?,
            None => outcome?,
        };
        drop(self.held.take());
        self.store.announce(News::Log(self.id));
        Ok(done)
    }

    const fn at(&self, entry: i64) -> rows::Entry {
        (self.id, self.lease.epoch, entry)
    }

    async fn with_files<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut TryFiles) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let held = match self.held.take() {
            Some(held) => held,
            None => self.store.logs.hold(self.id, self.lease.epoch).await,
        };
        let (held, done) = held.run(work).await?;
        self.held = Some(held);
        done
    }
}

/// A session of its own, or the transaction's.
pub(super) enum Look<'t> {
    Alone(Session),
    Within(&'t mut Session),
}

impl Deref for Look<'_> {
    type Target = Session;
    fn deref(&self) -> &Session {
        match self {
            Self::Alone(session) => session,
            Self::Within(session) => session,
        }
    }
}

impl DerefMut for Look<'_> {
    fn deref_mut(&mut self) -> &mut Session {
        match self {
            Self::Alone(session) => session,
            Self::Within(session) => session,
        }
    }
}
