//! All mirrors, under `<data_dir>/repositories/<id>.git`.

use super::fault::GitFault;
use super::mirror::Mirror;
use super::source::Source;
use crate::config::Limits;
use crate::disk_floor::{DiskFloor, Growing};
use crate::slots::{Slot, Slots};
use jobs::Namespace;
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use store::{NewRepository, RepositoryRow, Store};
use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::Instant;

/// Directories that are being filled or emptied. Whatever is left of them at a start goes.
const UNFINISHED: &str = "unfinished-";

/// The repositories and their mirrors.
pub(crate) struct Repositories {
    dir: PathBuf,
    pub(super) store: Arc<dyn Store>,
    pub(super) limits: Limits,
    disk_floor: Arc<DiskFloor>,
    /// Whether other servers may have the same repositories.
    pub(super) shared: bool,
    /// One slot per fetch from a source, half of them at most for any one namespace.
    fetches: Slots<String>,
    /// One update at a time per mirror, and when the latest good one began.
    updates: Mutex<HashMap<i64, Arc<tokio::sync::Mutex<Option<Instant>>>>>,
}

impl Repositories {
    /// Opens the directory and clears away what a crash may have left in it.
    pub(crate) async fn open(
        dir: PathBuf,
        store: Arc<dyn Store>,
        limits: Limits,
        disk_floor: Arc<DiskFloor>,
        shared: bool,
    ) -> Result<Self, GitFault> {
        crate::private_files::make_private_dir(&dir)?;
        let rows = store.repositories().await?;
        let known: Vec<String> = rows.iter().map(|row| dir_name(row.id)).collect();
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let orphan =
                Path::new(&name).extension().is_some_and(|ext| ext == "git") && !known.contains(&name);
            if orphan || name.starts_with(UNFINISHED) {
                tracing::info!(directory = name, "clearing away an unfinished mirror");
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        let fetches = Slots::new(limits.git_fetches, limits.git_fetches.div_ceil(2));
        let opened = Self { dir, store, limits, disk_floor, shared, fetches, updates: Mutex::default() };
        opened.tell_credentials(&rows).await?;
        Ok(opened)
    }

    /// Mirrors `source` into a directory of no consequence yet. Dropping the result removes it.
    pub(crate) async fn fetch_new(
        &self,
        of: &Namespace,
        name: &str,
        source: &Source,
    ) -> Result<TempDir, GitFault> {
        if self.store.repository(of, name).await?.is_some() {
            let (name, namespace) = (name.to_owned(), of.clone());
            return Err(store::StoreError::RepositoryExists { name, namespace }.into());
        }
        self.check_room(of).await?;
        self.fetch(of, name, source).await
    }

    /// None but the global namespace may have more than half of all, so that nobody takes everybody's room.
    async fn check_room(&self, of: &Namespace) -> Result<(), GitFault> {
        let total = self.limits.repositories;
        let rows = self.store.repositories().await?;
        if rows.len() >= total {
            return Err(GitFault::TooMany { limit: total });
        }
        let limit = total / 2;
        let own = rows.iter().filter(|row| row.namespace == *of).count();
        if *of != Namespace::Global && own >= limit {
            return Err(GitFault::TooManyOf { namespace: of.clone(), limit, total });
        }
        Ok(())
    }

    pub(super) fn unfinished(&self) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(&self.dir)
    }

    /// Makes a fetched mirror a repository: all of it, or nothing.
    pub(crate) async fn keep(
        &self,
        unfinished: TempDir,
        namespace: Namespace,
        name: String,
        source: &Source,
    ) -> Result<RepositoryRow, GitFault> {
        let new = NewRepository { namespace, name, source: source.shown().to_owned() };
        let row = self.store.add_repository(new).await?;
        match self.put_in_place(unfinished, &row, source).await {
            Ok(()) => Ok(row),
            Err(fault) => {
                self.store.remove_repository(&row.namespace, &row.name).await?;
                Err(fault)
            }
        }
    }

    async fn put_in_place(
        &self,
        unfinished: TempDir,
        row: &RepositoryRow,
        source: &Source,
    ) -> Result<(), GitFault> {
        let updating = self.update_lock(row.id);
        let _alone = updating.lock().await;
        if let Some(credentials) = source.credentials() {
            self.store.put_repository_credentials(row.id, &credentials.into()).await?;
        }
        let dir = self.mirror_dir(row);
        // Who was told of it may have needed it already.
        if !dir.is_dir() {
            std::fs::rename(unfinished.path(), dir)?;
            // It is somebody's now: nothing is left to remove.
            let _ = unfinished.keep();
        }
        Ok(())
    }

    /// Forgets a repository and removes its mirror; says whether there was one.
    pub(crate) async fn remove(&self, of: &Namespace, name: &str) -> Result<bool, GitFault> {
        let Some(row) = self.store.repository(of, name).await? else { return Ok(false) };
        let updating = self.update_lock(row.id);
        let _alone = updating.lock().await;
        let removed = self.store.remove_repository(of, name).await?;
        let leaving = self.dir.join(format!("{UNFINISHED}{}", dir_name(row.id)));
        match std::fs::rename(self.mirror_dir(&row), &leaving) {
            Ok(()) => tokio::fs::remove_dir_all(leaving).await?,
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => {}
            Err(fault) => return Err(fault.into()),
        }
        self.updates.lock().unwrap_or_else(PoisonError::into_inner).remove(&row.id);
        Ok(removed)
    }

    /// The commit that `rev` names in the repository's source now.
    ///
    /// A full commit id that is here already can't mean anything else, so it costs no fetch. For who asked then, what was fetched
    /// since is good enough.
    pub(crate) async fn resolve(
        &self,
        of: &Namespace,
        name: &str,
        rev: &str,
        asked: Instant,
    ) -> Result<String, GitFault> {
        let row = self.store.repository(of, name).await?;
        let row = row.ok_or_else(|| GitFault::UnknownRepository(name.to_owned()))?;
        let mirror = self.mirror(&row).await?;
        if is_full_id(rev)
            && let Some(commit) = mirror.commit(rev).await?
        {
            return Ok(commit);
        }
        let updated = self.update_since(&row, &mirror, asked).await;
        updated.map_err(|cause| unreachable(&row.name, &row.source, cause))?;
        let unknown = || GitFault::UnknownRevision { repository: name.to_owned(), rev: rev.to_owned() };
        mirror.commit(rev).await?.ok_or_else(unknown)
    }

    /// The command that serves the repository to a client that fetches.
    pub(crate) fn upload_pack(&self, row: &RepositoryRow) -> Command {
        let dir = self.mirror_dir(row);
        // Ours, whichever user made it: a volume may outlive the user id of a container.
        let trusted = format!("safe.directory={}", dir.display());
        let mut command = Mirror::at(dir, &self.limits).git();
        command.args(["-c", &trusted]);
        command.args(["-c", "uploadpack.allowAnySHA1InWant=true", "-c", "uploadpack.allowFilter=true"]);
        command.args(["-c", "pack.windowMemory=100m", "upload-pack", "--stateless-rpc", "--strict"]);
        command.arg(format!("--timeout={}", self.limits.git_idle.as_secs()));
        command
    }

    /// Fetches once for all who asked before the fetch began.
    pub(super) async fn update(&self, row: &RepositoryRow, mirror: &Mirror<'_>) -> Result<(), GitFault> {
        self.update_since(row, mirror, Instant::now()).await
    }

    /// Fetches unless somebody has begun to after `asked`.
    pub(super) async fn update_since(
        &self,
        row: &RepositoryRow,
        mirror: &Mirror<'_>,
        asked: Instant,
    ) -> Result<(), GitFault> {
        let lock = self.update_lock(row.id);
        let mut latest = lock.lock().await;
        if latest.is_some_and(|began| began >= asked) {
            return Ok(());
        }
        let _slot = self.fetch_slot(&row.namespace).await?;
        let began = Instant::now();
        let updated = self.above_floor(mirror.update(&row.source)).await;
        if matches!(updated, Err(GitFault::Full { .. })) {
            mirror.clear_unfinished();
        }
        updated?;
        *latest = Some(began);
        Ok(())
    }

    /// Fetches while there is room for what comes. Git ends when it is dropped.
    pub(super) async fn above_floor(
        &self,
        fetch: impl Future<Output = Result<(), GitFault>>,
    ) -> Result<(), GitFault> {
        self.disk_floor.check(Growing::Files)?;
        tokio::select! {
            fetched = fetch => fetched,
            below = self.disk_floor.reached() => Err(below.into()),
        }
    }

    /// A turn to fetch. Sources answer as slowly as they like, so who waits is told before long.
    pub(super) async fn fetch_slot(&self, of: &Namespace) -> Result<Slot, GitFault> {
        let wait = self.limits.git_queue;
        let slot = self.fetches.take(of.key(), wait).await;
        slot.ok_or(GitFault::TooManyFetches { seconds: wait.as_secs() })
    }

    pub(super) fn update_lock(&self, id: i64) -> Arc<tokio::sync::Mutex<Option<Instant>>> {
        Arc::clone(self.updates.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default())
    }

    pub(crate) fn mirror_dir(&self, row: &RepositoryRow) -> PathBuf {
        self.dir.join(dir_name(row.id))
    }
}

pub(super) fn unreachable(repository: &str, source: &str, cause: GitFault) -> GitFault {
    // Nobody has asked it anything, or what it said has no room here.
    if matches!(cause, GitFault::TooManyFetches { .. } | GitFault::Full { .. }) {
        return cause;
    }
    let (repository, source_shown) = (repository.to_owned(), source.to_owned());
    GitFault::Unreachable { repository, source_shown, cause: Box::new(cause) }
}

fn dir_name(id: i64) -> String {
    format!("{id}.git")
}

/// A whole SHA-1 or SHA-256 id, which names one commit for ever.
pub(super) fn is_full_id(rev: &str) -> bool {
    matches!(rev.len(), 40 | 64) && rev.bytes().all(|byte| byte.is_ascii_hexdigit())
}
