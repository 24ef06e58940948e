//! Job tokens: shown once, stored as a hash.

use crate::error::StoreError;
use sha2::{Digest, Sha256};

const TOKEN_BYTES: usize = 20;

/// A new token: 40 hexadecimal digits.
pub(super) fn generate() -> Result<String, StoreError> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Database(Box::new(error)))?;
    Ok(hex::encode(bytes))
}

/// What is stored of a token. It is random and long, so a plain hash can't be undone by guessing,
/// and looking a hash up gives away nothing of the token by its timing.
pub(super) fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}
