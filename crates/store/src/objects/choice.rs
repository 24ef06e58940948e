//! Which object store.

use super::prefixed;
use crate::error::StoreError;
use crate::sql::make_private_dir;
use object_store::aws::AmazonS3Builder;
use object_store::client::{ClientOptions, HttpClient, HttpConnector};
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tls::Roots;
use url::Url;

/// How long it may take to connect, and to answer: a part of 8 MiB needs 140 kB a second.
const CONNECT: Duration = Duration::from_secs(5);
const REQUEST: Duration = Duration::from_mins(1);
/// How often a request is repeated, and for how long. Whoever waits for it waits that long.
const RETRIES: usize = 3;
const RETRY_FOR: Duration = Duration::from_secs(15);
/// What a region is called where there are none.
const ANY_REGION: &str = "us-east-1";

/// Where objects are kept.
#[derive(Debug, Clone, Default)]
pub enum ObjectsChoice {
    /// In the data directory.
    #[default]
    Directory,
    /// In a bucket of S3, or of what speaks like it: for several servers.
    S3(Box<S3Choice>),
}

/// A bucket.
#[derive(Debug, Clone)]
pub struct S3Choice {
    /// Its name.
    pub bucket: String,
    /// Where it is, unless Amazon's.
    pub endpoint: Option<Url>,
    /// Its region.
    pub region: Option<String>,
    /// What keys begin with: a path, or empty.
    pub prefix: String,
    /// Whether the bucket is named in the path of a URL rather than in its host.
    pub path_style: bool,
    /// Who we are there.
    pub credentials: S3Credentials,
    /// Whom we believe.
    pub roots: Roots,
}

/// A key of an account.
#[derive(Debug, Clone)]
pub struct S3Credentials {
    /// Its name.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: SecretString,
}

impl S3Credentials {
    /// Reads `ACCESS_KEY_ID:SECRET_ACCESS_KEY`; `None` where that is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.trim().split_once(':')?;
        let fits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
        (fits(id) && fits(secret))
            .then(|| Self { access_key_id: id.to_owned(), secret_access_key: secret.to_owned().into() })
    }
}

impl fmt::Display for ObjectsChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("the data directory"),
            Self::S3(s3) => {
                let S3Choice { bucket, endpoint, prefix, .. } = &**s3;
                let slash = if prefix.is_empty() { "" } else { "/" };
                write!(f, "s3://{bucket}{slash}{prefix}")?;
                endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, " of {endpoint}"))
            }
        }
    }
}

pub(super) fn directory(dir: &Path) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let failed = |source| StoreError::DataDir { path: dir.display().to_string(), source };
    make_private_dir(dir).map_err(failed)?;
    let store =
        LocalFileSystem::new_with_prefix(dir).map_err(|error| failed(std::io::Error::other(error)))?;
    Ok(Arc::new(store.with_fsync(true).with_automatic_cleanup(true)))
}

pub(super) fn s3(choice: &S3Choice) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let S3Credentials { access_key_id, secret_access_key } = &choice.credentials;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&choice.bucket)
        .with_region(choice.region.as_deref().unwrap_or(ANY_REGION))
        .with_access_key_id(access_key_id)
        .with_secret_access_key(secret_access_key.expose_secret())
        .with_virtual_hosted_style_request(!choice.path_style)
        // Not every look-alike has it.
        .with_disable_bulk_delete(true)
        .with_retry(RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES,
            retry_timeout: RETRY_FOR,
        })
        .with_http_connector(Connector(choice.roots.clone()));
    if let Some(endpoint) = &choice.endpoint {
        builder = builder
            .with_endpoint(endpoint.as_str().trim_end_matches('/'))
            .with_allow_http(endpoint.scheme() == "http");
    }
    let store = builder.build().map_err(|source| StoreError::ObjectStore { source: Box::new(source) })?;
    Ok(prefixed(store, &choice.prefix))
}

/// Makes HTTP clients that believe whom the rest of the process believes.
#[derive(Debug)]
struct Connector(Roots);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(self.0.client_config())
            .build();
        let failed = |error| object_store::Error::Generic { store: "S3", source: Box::new(error) };
        client.map(HttpClient::new).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_names_nor_debug_tell_the_secret() {
        let choice = ObjectsChoice::S3(Box::new(S3Choice {
            bucket: "results".to_owned(),
            endpoint: Some("http://127.0.0.1:9000".parse().unwrap()),
            region: None,
            prefix: "executor".to_owned(),
            path_style: true,
            credentials: S3Credentials::parse("AKIA:hush-hush\n").unwrap(),
            roots: Roots::default(),
        }));
        assert_eq!(choice.to_string(), "s3://results/executor of http://127.0.0.1:9000/");
        assert!(!format!("{choice:?}").contains("hush"));
        let dir = tempfile::tempdir().unwrap();
        let objects = super::super::Objects::open(&choice, dir.path()).unwrap();
        assert!(!format!("{objects:?}").contains("hush"), "{objects:?}");
    }

    #[test]
    fn credentials_are_two_parts() {
        for wrong in ["", "AKIA", ":x", "AKIA:", "AKIA:a b"] {
            assert!(S3Credentials::parse(wrong).is_none(), "{wrong}");
        }
    }
}
