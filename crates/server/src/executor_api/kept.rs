//! Secrets that are kept here, for a job that was just claimed.

use super::{Failure, given};
use crate::app::App;
use jobs::secrets::{DOCKER_AUTH_CONFIG, docker_auth};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use store::{Claimed, OpenedSecret, StoreError};
use wire::DockerAuthConfig;

/// What a job is given of them.
#[derive(Default)]
pub(super) struct Kept {
    /// What its steps ask for, by key.
    pub(super) values: BTreeMap<String, SecretString>,
    /// What its images are pulled with, asked for or not.
    pub(super) docker_auth: DockerAuthConfig,
}

/// Opens what the job asks for, and notes that. The inner error tells why the job can't be run as it is.
pub(super) async fn open(app: &App, claimed: &Claimed) -> Result<Result<Kept, String>, Failure> {
    let asked = claimed.spec.asked_secrets();
    let keys: Vec<String> = asked.iter().copied().chain([DOCKER_AUTH_CONFIG]).map(str::to_owned).collect();
    let (store, id, lease) = (app.store.clone(), claimed.job.id, given::lease(claimed));
    let opened = app.see_through(async move { store.open_secrets(id, &lease, &keys).await }).await?;
    let mut kept = Kept::default();
    match opened {
        Ok(opened) => {
            app.metrics.secrets_opened(opened.len());
            for OpenedSecret { key, value, .. } in opened {
                if key != DOCKER_AUTH_CONFIG {
                    kept.values.insert(key, value);
                    continue;
                }
                match docker_auth(value.expose_secret()) {
                    Ok(auth) => kept.docker_auth = auth,
                    Err(fault) => return Ok(Err(fault.to_string())),
                }
            }
        }
        // It was damaged, or put there by somebody who has no key: neither passes.
        Err(fault @ StoreError::Corrupt { .. }) => return Ok(Err(fault.to_string())),
        Err(fault) => return Err(Failure::store("executorSecrets.Get", &fault)),
    }
    // What the steps of an execution want from outside and is not there is empty.
    let is_needed = |key: &&str| claimed.spec.execution.is_none() && !kept.values.contains_key(*key);
    let missing: Vec<&str> = asked.into_iter().filter(is_needed).collect();
    if !missing.is_empty() {
        return Ok(Err(format!(
            "no secret {} is kept for the job any more: set it with `executor secret set`, and submit the job again",
            missing.join(", ")
        )));
    }
    let sizes = kept.values.iter().map(|(key, value)| (key.as_str(), value.expose_secret().len())).collect();
    Ok(claimed.spec.check_with_stored(&sizes).map(|()| kept).map_err(|fault| fault.to_string()))
}
