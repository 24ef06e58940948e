//! Taking a large body in: hashed and kept as it comes, whole or not at all.

use crate::app::App;
use crate::disk_floor::{BelowFloor, DiskFloor, Growing};
use crate::pace::Pace;
use axum::body::Body;
use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use std::time::Duration;
use store::{NewObject, ObjectWriter, ObjectsFault, StoreError};
use tokio::time::timeout_at;

/// A body was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeFault {
    /// It is too large.
    #[error("the body is larger than {limit} bytes, which is the limit for it")]
    TooLarge {
        /// Bytes that it may have.
        limit: u64,
    },
    /// It comes too slowly, or not at all.
    #[error(
        "the body did not arrive in time: some of it every {} seconds, after that {rate} bytes a second, all of it within {} \
         seconds",
        .idle.as_secs(),
        .whole.as_secs()
    )]
    TooSlow {
        /// How long nothing may come.
        idle: Duration,
        /// Bytes a second that must have come on average once that time is over.
        rate: u64,
        /// How long all of it may take.
        whole: Duration,
    },
    /// The connection broke, or what came is no proper body.
    #[error("the body could not be read to its end")]
    Broken,
    /// Too little of our disk is free.
    #[error(transparent)]
    BelowFloor(#[from] BelowFloor),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ObjectsFault> for IntakeFault {
    fn from(fault: ObjectsFault) -> Self {
        Self::Store(fault.into())
    }
}

/// Writes `body` to the object store, under a key with that beginning and ending. Run it to its end, whoever hangs up: of what
/// did not come whole, nothing is left.
pub(crate) async fn receive(
    app: &App,
    body: Body,
    (beginning, ending): (&str, &str),
    limit: u64,
) -> Result<NewObject, IntakeFault> {
    app.disk_floor.check(Growing::Results)?;
    // Wherever it is kept, what is known of it is a row.
    app.disk_floor.check(Growing::Database)?;
    let key = app.store.new_object(beginning, ending).await?;
    let mut writer = app.store.objects().writer(&key);
    let taken =
        match take((app.limits.upload_pace(), app.disk_floor.as_ref()), body, &mut writer, limit).await {
            Ok(sha256) => writer.finish().await.map(|size| (size, sha256)).map_err(IntakeFault::from),
            Err(fault) => {
                writer.abort().await;
                Err(fault)
            }
        };
    match taken {
        Ok((size, sha256)) => Ok(NewObject { key, size, sha256 }),
        Err(fault) => {
            give_up(app, &key).await;
            Err(fault)
        }
    }
}

/// Lets go of an object that nobody took.
pub(crate) async fn give_up(app: &App, key: &str) {
    if let Err(fault) = app.store.give_up_object(key).await {
        // It is found again in a day.
        tracing::warn!(key, error = &fault as &dyn std::error::Error, "can't give an object up");
    }
}

async fn take(
    (pace, floor): (Pace, &DiskFloor),
    body: Body,
    writer: &mut ObjectWriter,
    limit: u64,
) -> Result<String, IntakeFault> {
    let Pace { idle, rate, whole } = pace;
    let (mut hash, mut arrival) = (Sha256::new(), pace.begin());
    let mut body = body.into_data_stream();
    loop {
        let next = timeout_at(arrival.late(), body.next()).await;
        let Some(chunk) = next.map_err(|_| IntakeFault::TooSlow { idle, rate, whole })? else { break };
        let chunk = chunk.map_err(|_| IntakeFault::Broken)?;
        arrival.add(chunk.len() as u64);
        if arrival.bytes() > limit {
            return Err(IntakeFault::TooLarge { limit });
        }
        floor.check(Growing::Results)?;
        hash.update(&chunk);
        writer.put(chunk).await?;
    }
    Ok(hex::encode(hash.finalize()))
}
