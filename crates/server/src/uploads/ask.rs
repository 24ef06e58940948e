//! What a call asks for, from its query and its headers.

use super::UploadFault;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use jobs::Namespace;
use std::collections::HashMap;
use store::NewUpload;
use url::form_urlencoded;
use wire::headers::UNCOMPRESSED_SIZE;
use wire::upload::LSIF;

/// Parts of one upload at most.
const MAX_PARTS: u32 = 1_000;
/// Bytes of a name, a version, a path and a type at most.
const MAX_TEXT: usize = 1_024;
/// Characters that are told of a value that can't be what it should.
const MAX_TOLD: usize = 60;
/// Digits of a commit.
const COMMIT: usize = 40;

/// What a call asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To take an index.
    Whole(NewUpload),
    /// To begin one that comes in parts.
    Begin(NewUpload),
    /// To take a part.
    Part {
        /// Of which upload.
        id: i64,
        /// Which one.
        index: u32,
    },
    /// To complete an upload.
    Finish {
        /// Which one.
        id: i64,
    },
}

impl Ask {
    /// Reads it. The namespace is not known yet.
    pub(crate) fn read(query: &str, headers: &HeaderMap) -> Result<Self, UploadFault> {
        let mut values = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            values.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        let query = Query(values);
        match query.get("uploadId") {
            Some(id) => Self::of_known(id, &query),
            None => Self::new(&query, headers),
        }
    }

    fn of_known(id: &str, query: &Query) -> Result<Self, UploadFault> {
        // What is no number is the id of none.
        let id = id.parse().map_err(|_| UploadFault::NoId(id.chars().take(MAX_TOLD).collect()))?;
        match query.get("index") {
            Some(_) => Ok(Self::Part { id, index: query.number("index")? }),
            None if query.get("done") == Some("true") => Ok(Self::Finish { id }),
            None => Err(UploadFault::query("uploadId without index or done=true: say which part it is")),
        }
    }

    fn new(query: &Query, headers: &HeaderMap) -> Result<Self, UploadFault> {
        let commit = query.get("commit").unwrap_or_default();
        let is_digit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        if commit.len() != COMMIT || !commit.bytes().all(is_digit) {
            return Err(UploadFault::query("commit must be a 40-character revhash"));
        }
        let repository = query.text("repository")?;
        if repository.is_empty() {
            return Err(UploadFault::query("repository is missing"));
        }
        let in_parts = query.get("multiPart") == Some("true");
        let parts = if in_parts { query.number("numParts")? } else { 1 };
        if !(1..=MAX_PARTS).contains(&parts) {
            return Err(UploadFault::query(format!(
                "numParts is {parts}, but must be from 1 to {MAX_PARTS}"
            )));
        }
        let associated =
            query.get("associatedIndexId").map(|id| id.parse::<i64>().map_err(|_| id)).transpose();
        let new = NewUpload {
            namespace: Namespace::Global,
            repository,
            commit: commit.to_owned(),
            root: query.text("root")?,
            indexer_name: query.text("indexerName")?,
            indexer_version: query.text("indexerVersion")?,
            associated_index_id: associated.map_err(|id| {
                UploadFault::query(format!("associatedIndexId is {id:?}, and no whole number"))
            })?,
            by_job: None,
            content_type: content_type(headers)?,
            uncompressed_size: uncompressed_size(headers)?,
            parts,
        };
        Ok(if in_parts { Self::Begin(new) } else { Self::Whole(new) })
    }
}

struct Query(HashMap<String, String>);

impl Query {
    /// An empty value is none.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Result<String, UploadFault> {
        let value = self.get(name).unwrap_or_default();
        if value.len() > MAX_TEXT || value.chars().any(char::is_control) {
            return Err(UploadFault::query(format!(
                "{name} must have at most {MAX_TEXT} bytes and no control characters"
            )));
        }
        Ok(value.to_owned())
    }

    fn number(&self, name: &str) -> Result<u32, UploadFault> {
        let value = self.get(name).unwrap_or_default();
        value.parse().map_err(|_| UploadFault::query(format!("{name} is {value:?}, and no whole number")))
    }
}

fn content_type(headers: &HeaderMap) -> Result<String, UploadFault> {
    let Some(value) = headers.get(CONTENT_TYPE).filter(|value| !value.is_empty()) else {
        return Ok(LSIF.to_owned());
    };
    let value = value.to_str().ok().filter(|value| value.len() <= MAX_TEXT);
    value.map(str::to_owned).ok_or_else(|| UploadFault::query("Content-Type can't be read"))
}

fn uncompressed_size(headers: &HeaderMap) -> Result<Option<u64>, UploadFault> {
    let Some(value) = headers.get(UNCOMPRESSED_SIZE).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let size = value.to_str().ok().and_then(|value| value.parse().ok());
    let told = || String::from_utf8_lossy(value.as_bytes()).chars().take(MAX_TOLD).collect();
    size.map(Some).ok_or_else(|| UploadFault::UncompressedSize(told()))
}
