//! Indexes that a job uploads: the answers to it.
//!
//! The body of an upload is the index, compressed with gzip, whole or in numbered parts; its
//! `Content-Type` names the kind of index, and [`crate::headers::UNCOMPRESSED_SIZE`] may tell its size.

use serde::{Deserialize, Serialize};

/// The `Content-Type` of an index in the older format, also meant when there is none.
pub const LSIF: &str = "application/x-ndjson+lsif";
/// The `Content-Type` of an index in the newer format.
pub const SCIP: &str = "application/x-protobuf+scip";

/// An upload was taken whole, or begun in parts: 202.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadAccepted {
    /// The upload's id, which its parts name: a decimal number, written as a string.
    pub id: String,
}

/// Which `src` a control plane wants to be spoken to with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SrcCliVersion {
    /// Its release, such as `5.6.0`.
    pub version: String,
}
