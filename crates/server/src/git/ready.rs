//! Mirrors of repositories that other servers on the database know: made when they are missing, and brought up to date when
//! another one resolved what is not in them yet.

use super::fault::GitFault;
use super::mirror::Mirror;
use super::repositories::{Repositories, unreachable};
use super::source::Source;
use jobs::Namespace;
use std::time::Duration;
use store::RepositoryRow;
use tempfile::TempDir;
use tokio::time::Instant;

/// How old a mirror may be for somebody of whom nobody knows which commit they want.
const FRESH: Duration = Duration::from_secs(10);

impl Repositories {
    /// Whether the mirror is here, and no other server resolves revisions that are not in it.
    pub(crate) fn is_at_hand(&self, row: &RepositoryRow) -> bool {
        !self.shared && self.mirror_dir(row).is_dir()
    }

    /// Makes sure that the mirror is here, and `commit` in it where that is known. It may take as long as fetching all of the
    /// source; drive it to its end, so that it is done for whoever asks next.
    pub(crate) async fn ready(&self, row: &RepositoryRow, commit: Option<&str>) -> Result<(), GitFault> {
        let mirror = self.mirror(row).await?;
        if !self.shared {
            return Ok(());
        }
        let told = |cause| unreachable(&row.name, &row.source, cause);
        let Some(commit) = commit else {
            let fresh = Instant::now().checked_sub(FRESH).unwrap_or_else(Instant::now);
            if let Err(fault) = self.update_since(row, &mirror, fresh).await.map_err(told) {
                tracing::warn!(error = %fault, "a mirror may lack what another server resolved");
            }
            return Ok(());
        };
        if mirror.commit(commit).await?.is_some() {
            return Ok(());
        }
        self.update(row, &mirror).await.map_err(told)
    }

    /// The repository's mirror, made if it is missing: another server added the repository, or the directory was lost.
    pub(super) async fn mirror(&self, row: &RepositoryRow) -> Result<Mirror<'_>, GitFault> {
        let dir = self.mirror_dir(row);
        if !dir.is_dir() {
            let lock = self.update_lock(row.id);
            let mut latest = lock.lock().await;
            // Somebody else may have made it meanwhile.
            if !dir.is_dir() {
                let began = Instant::now();
                let credentials = self.store.repository_credentials(row.id).await?;
                let made =
                    self.fetch(&row.namespace, &row.name, &Source::known(&row.source, credentials)).await?;
                std::fs::rename(made.path(), &dir)?;
                // It is somebody's now: nothing is left to remove.
                let _ = made.keep();
                *latest = Some(began);
                tracing::info!(
                    repository = row.name,
                    "made the mirror of a repository that was added elsewhere"
                );
            }
        }
        Ok(Mirror::at(dir, &self.limits))
    }

    /// Mirrors `source` into a directory of no consequence yet. Dropping the result removes it.
    pub(super) async fn fetch(
        &self,
        of: &Namespace,
        name: &str,
        source: &Source,
    ) -> Result<TempDir, GitFault> {
        let _slot = self.fetch_slot(of).await?;
        let unfinished = self.unfinished()?;
        let mirror = Mirror::at(unfinished.path().to_owned(), &self.limits);
        let created = self.above_floor(mirror.create(source)).await;
        created.map_err(|cause| unreachable(name, source.shown(), cause))?;
        Ok(unfinished)
    }

    /// Has the database know what the sources of these repositories ask for, as far as their mirrors here were made with it.
    pub(super) async fn tell_credentials(&self, rows: &[RepositoryRow]) -> Result<(), GitFault> {
        for row in rows {
            let Some(credentials) = Mirror::at(self.mirror_dir(row), &self.limits).credentials()? else {
                continue;
            };
            if self.store.repository_credentials(row.id).await?.is_none() {
                self.store.put_repository_credentials(row.id, &credentials).await?;
            }
        }
        Ok(())
    }
}
