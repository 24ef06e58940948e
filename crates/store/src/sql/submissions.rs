//! Submissions that may be made again, and what came of them.

use super::session::Session;
use super::statements::statements;
use super::values::to_json;
use crate::error::StoreError;
use crate::model::NewJob;
use jobs::{JobId, JobSpec};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap};

macro_rules! insert {
    ($rows:literal) => {
        concat!(
            "INSERT INTO submissions (owner, key, job, digest) ",
            $rows,
            " ORDER BY 1, 2 ON CONFLICT (owner, key) DO NOTHING RETURNING owner, key"
        )
    };
}

statements! {
    FIND in sqlite = "SELECT key, job, digest FROM submissions WHERE owner = $1 AND key IN (SELECT value FROM json_each($2))",
         in postgres = "SELECT key, job, digest FROM submissions WHERE owner = $1 \
                        AND key IN (SELECT json_array_elements_text($2::json))";
    /// The same one that another server takes at this moment is waited for; in one order, so that nobody waits in a circle.
    INSERT in sqlite = insert!(
               "SELECT value->>'owner', value->>'key', value->>'job', unhex(value->>'digest') FROM json_each($1) WHERE TRUE"
           ),
           in postgres = insert!(
               "SELECT owner, key, job, decode(digest, 'hex') FROM json_to_recordset($1::json) \
                AS rows (owner TEXT, key TEXT, job BIGINT, digest TEXT)"
           );
}

/// What is known of submissions by owner and key.
#[derive(Default)]
pub(super) struct Known<'j> {
    made: HashMap<(&'j str, String), Made>,
    /// Those that are made now.
    new: Vec<Row<'j>>,
}

/// A submission that was made.
struct Made {
    job: JobId,
    digest: Vec<u8>,
}

/// One as the statements take it.
#[derive(Serialize)]
struct Row<'j> {
    owner: &'j str,
    key: &'j str,
    job: i64,
    digest: String,
}

impl<'j> Known<'j> {
    /// Looks up all that `jobs` have keys for.
    pub(super) async fn of(session: &mut Session, jobs: &'j [NewJob]) -> Result<Self, StoreError> {
        let keyed = jobs.iter().filter_map(|job| Some((&*job.owner, job.idempotency_key.as_deref()?)));
        Self::by(session, keyed).await
    }

    /// Looks up these, each an owner and a key.
    pub(super) async fn by(
        session: &mut Session,
        keyed: impl Iterator<Item = (&'j str, &'j str)>,
    ) -> Result<Self, StoreError> {
        let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (owner, key) in keyed {
            keys.entry(owner).or_default().insert(key);
        }
        let mut known = Self::default();
        for (owner, keys) in keys {
            let found: Vec<(String, i64, Vec<u8>)> =
                session.query(FIND).bind(owner).bind(to_json(&keys)?).all().await?;
            let made = |(key, id, digest)| ((owner, key), Made { job: JobId(id), digest });
            known.made.extend(found.into_iter().map(made));
        }
        Ok(known)
    }

    /// The job that came of the same submission before, if there was one.
    pub(super) fn job(&self, owner: &'j str, key: &str, spec: &JobSpec) -> Result<Option<JobId>, StoreError> {
        match self.made.get(&(owner, key.to_owned())) {
            None => Ok(None),
            Some(made) if made.digest == digest(spec)? => Ok(Some(made.job)),
            Some(made) => Err(StoreError::KeyReused { key: key.to_owned(), job: made.job }),
        }
    }

    /// The same of what may have no key.
    pub(super) fn job_of(&self, job: &'j NewJob) -> Result<Option<JobId>, StoreError> {
        let Some(key) = &job.idempotency_key else { return Ok(None) };
        self.job(&job.owner, key, &job.spec)
    }

    /// Those of `jobs` that come to a job of their own: neither submitted before nor by an earlier one of them.
    pub(super) fn new_ones(&self, jobs: &'j [NewJob]) -> Result<Vec<&'j NewJob>, StoreError> {
        let (mut new, mut keys) = (Vec::with_capacity(jobs.len()), BTreeSet::new());
        for job in jobs {
            let is_first = job.idempotency_key.as_ref().is_none_or(|key| keys.insert((&job.owner, key)));
            if self.job_of(job)?.is_none() && is_first {
                new.push(job);
            }
        }
        Ok(new)
    }

    /// From now on `job` is known as `id`.
    pub(super) fn add(&mut self, job: &'j NewJob, id: JobId) -> Result<(), StoreError> {
        let Some(key) = &job.idempotency_key else { return Ok(()) };
        let digest = digest(&job.spec)?;
        self.new.push(Row { owner: &job.owner, key, job: id.0, digest: hex::encode(&digest) });
        self.made.insert((&job.owner, key.clone()), Made { job: id, digest });
        Ok(())
    }

    /// Keeps what was added.
    pub(super) async fn keep(self, session: &mut Session) -> Result<(), StoreError> {
        if self.new.is_empty() {
            return Ok(());
        }
        let kept: Vec<(String, String)> = session.query(INSERT).bind(to_json(&self.new)?).all().await?;
        let kept: BTreeSet<(&str, &str)> = kept.iter().map(|(owner, key)| (&**owner, &**key)).collect();
        let is_missing = |row: &&Row| !kept.contains(&(row.owner, row.key));
        match self.new.iter().find(is_missing) {
            Some(Row { key, .. }) => Err(StoreError::SubmittedTwice((*key).to_owned())),
            None => Ok(()),
        }
    }
}

/// What tells whether the same was asked for. Not by the values of secrets: a digest could be tried out. Nor by when uploads
/// were changed, which is noted after they were looked up.
fn digest(spec: &JobSpec) -> Result<Vec<u8>, StoreError> {
    let mut spec = spec.clone();
    spec.secrets.values_mut().for_each(String::clear);
    for file in spec.files.iter_mut().filter(|file| file.upload.is_some()) {
        file.modified_at = None;
    }
    Ok(Sha256::digest(to_json(&spec)?).to_vec())
}
