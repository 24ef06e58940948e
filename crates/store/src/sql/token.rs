//! Tokens: shown once, stored as a hash.

use crate::error::StoreError;
use sha2::{Digest, Sha256};

/// Random bytes of a job token, as the protocol has it, and of every other one.
const JOB_TOKEN_BYTES: usize = 20;
const SHOWN_BYTES: usize = 32;

/// What a token of ours is good for. Each begins so that people and programs that look for secrets where they should
/// not be can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The public API.
    Api,
    /// An identity for an executor.
    Registration,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Api => wire::additions::API_TOKEN_PREFIX,
            Self::Registration => wire::additions::REGISTRATION_TOKEN_PREFIX,
        }
    }
}

/// A new job token: 40 hexadecimal digits.
pub(super) fn generate() -> Result<String, StoreError> {
    random_hex::<JOB_TOKEN_BYTES>()
}

/// A new token for people: its kind's prefix and 64 hexadecimal digits.
pub(super) fn generate_shown(kind: Kind) -> Result<String, StoreError> {
    Ok(format!("{}{}", kind.prefix(), random_hex::<SHOWN_BYTES>()?))
}

/// What a session's cookie holds: 64 hexadecimal digits.
pub(super) fn generate_session() -> Result<String, StoreError> {
    random_hex::<SHOWN_BYTES>()
}

fn random_hex<const BYTES: usize>() -> Result<String, StoreError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Database(Box::new(error)))?;
    Ok(hex::encode(bytes))
}

/// What is stored of a token. It is random and long, so a plain hash can't be undone by guessing,
/// and looking a hash up gives away nothing of the token by its timing.
pub(super) fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}
