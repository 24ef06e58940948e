//! Secrets: those that are kept under a key, those of jobs that have not ended, and what sources of repositories ask for. None is
//! stored but sealed.

mod accesses;
mod anew;
mod for_others;
mod keys;
mod of_jobs;
mod of_repositories;
mod stored;

pub(super) use accesses::{forget as forget_accesses, list as accesses};
pub(super) use anew::seal_anew;
pub(super) use for_others::{MissingKey, is_for_others};
pub(super) use keys::{adopt, all_are_there, missed, take_up};
pub(super) use of_jobs::{drop_all, keep, load_all};
pub(super) use of_repositories::{credentials, put_credentials};
pub(super) use stored::{add, by_id, known, list, open, put, remove};

#[cfg(test)]
use super::session::Sql;
use crate::error::StoreError;
use crate::sealing::{SealFault, Sealed};

#[cfg(test)]
pub(super) const ALL: [&[(&str, Sql)]; 6] =
    [accesses::ALL, for_others::ALL, keys::ALL, of_jobs::ALL, of_repositories::ALL, stored::ALL];

/// What is told of a seal that can't be made or opened.
fn told(fault: SealFault, row: impl FnOnce() -> String) -> StoreError {
    match fault {
        SealFault::UnknownKey(key) => StoreError::UnknownSealingKey { key },
        SealFault::Broken => {
            let row = row();
            tracing::error!(row, "a sealed value was damaged, or put there from elsewhere");
            StoreError::corrupt(row, "sealed value")
        }
        SealFault::Random => StoreError::Database(Box::new(fault)),
    }
}

/// A sealed value as it comes out of the database.
fn sealed((key_id, data_key, value): (String, Vec<u8>, Vec<u8>)) -> Sealed {
    Sealed { key_id, data_key, value }
}
