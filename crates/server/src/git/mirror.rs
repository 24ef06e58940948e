//! One mirror: a bare repository that follows a source.
//!
//! Credentials never show in an argument vector, where every user of the machine could read them:
//! they lie in a file beside the mirror that git's own credential store reads.

use super::command::{git, run};
use super::fault::GitFault;
use super::repositories::is_full_id;
use super::size::{is_larger, outgrown};
use super::source::Source;
use super::way::Way;
use crate::config::Limits;
use secrecy::SecretString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::process::Command;

/// The mirror's own trust: which directories of other users its source may be. Git takes that only
/// from a user's configuration, so this file stands in for it.
const TRUST_FILE: &str = "trust.gitconfig";
const CREDENTIALS_FILE: &str = "credentials";
/// Takes over where the history of a shallow source ends. Without it git leaves out what leads there,
/// and says nothing.
const UPDATE_SHALLOW: &str = "--update-shallow";
/// The protocol's name for what HEAD points at.
const SYMREF_PREFIX: &str = "ref: ";

/// What git's names for packs begin with that are not complete.
const UNFINISHED_PACK: &str = "tmp_";

/// A mirror's directory.
pub(super) struct Mirror<'a> {
    dir: PathBuf,
    limits: &'a Limits,
}

impl<'a> Mirror<'a> {
    pub(super) fn at(dir: PathBuf, limits: &'a Limits) -> Self {
        Self { dir, limits }
    }

    /// Makes the mirror in its directory, which is there and empty.
    pub(super) async fn create(&self, source: &Source) -> Result<(), GitFault> {
        let mut init = git(&self.dir);
        init.args(["init", "--quiet", "--bare", "--template=", "--initial-branch=main", "--", "."]);
        run(init, self.limits.git_lookup).await?;
        self.write(TRUST_FILE, &trust(source))?;
        if let Some(credentials) = source.credentials() {
            self.write(CREDENTIALS_FILE, &format!("{credentials}\n"))?;
        }
        let config = self.dir.join("config");
        let settings = std::fs::read_to_string(&config)? + &remote_settings(source);
        std::fs::write(config, settings)?;
        self.update(source.shown()).await
    }

    /// Takes over every ref of the source, which is the one it was made for, and what its HEAD points at.
    pub(super) async fn update(&self, source: &str) -> Result<(), GitFault> {
        let way = Way::to(source).await?;
        self.fetch_refs(&way).await?;
        match self.follow_head(&way).await {
            // The source may have gone on to a new branch in between.
            Err(GitFault::HeadWithheld { .. }) => {
                self.fetch_refs(&way).await?;
                self.follow_head(&way).await
            }
            followed => followed,
        }
    }

    /// What its source asks for, if it was made with something.
    pub(super) fn credentials(&self) -> io::Result<Option<SecretString>> {
        match std::fs::read_to_string(self.dir.join(CREDENTIALS_FILE)) {
            Ok(line) => Ok(Some(line.trim_end().into())),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn fetch_refs(&self, way: &Way) -> Result<(), GitFault> {
        let fetch = ["fetch", "--quiet", "--prune", "--force", "--no-write-fetch-head", UPDATE_SHALLOW];
        let origin = ["--no-recurse-submodules", "--no-auto-maintenance", "--", "origin"];
        self.ask_source(way, [&fetch[..], &origin].concat()).await.map(drop)
    }

    /// Runs a command that speaks to the source.
    async fn ask_source(&self, way: &Way, args: Vec<&str>) -> Result<Vec<u8>, GitFault> {
        let mut command = self.git();
        way.settings(&mut command);
        command.args(args);
        let limit = self.limits.mirror;
        let answer = tokio::select! {
            asked = run(command, self.limits.git_fetch) => asked.map_err(|fault| way.explained(fault))?,
            // Git ends when it is dropped, with its helpers.
            () = outgrown(&self.dir, limit) => return Err(GitFault::TooLarge { limit }),
        };
        if is_larger(&self.dir, limit).await {
            return Err(GitFault::TooLarge { limit });
        }
        Ok(answer)
    }

    /// Points our HEAD where the source's HEAD points: at a branch, or at a commit alone.
    async fn follow_head(&self, way: &Way) -> Result<(), GitFault> {
        let answer = self.ask_source(way, vec!["ls-remote", "--symref", "--", "origin", "HEAD"]).await?;
        let answer = String::from_utf8_lossy(&answer);
        let mut lines = answer.lines().filter_map(|line| line.strip_suffix("\tHEAD"));
        match lines.next().map(|target| target.strip_prefix(SYMREF_PREFIX).ok_or(target)) {
            Some(Ok(branch)) if branch.starts_with("refs/heads/") => self.point_head_at(branch).await,
            Some(Err(commit)) => self.detach_head_at(way, commit).await,
            // An empty repository has no HEAD yet.
            _ => Ok(()),
        }
    }

    async fn point_head_at(&self, branch: &str) -> Result<(), GitFault> {
        let mut point = self.git();
        point.args(["symbolic-ref", "HEAD", branch]);
        run(point, self.limits.git_lookup).await?;
        // Git tells of no ref that it could have fetched and did not.
        let here = self.commit("HEAD").await?.is_some();
        if here { Ok(()) } else { Err(GitFault::HeadWithheld { branch: branch.to_owned() }) }
    }

    /// No ref may lead to this commit, so it is fetched by its id.
    async fn detach_head_at(&self, way: &Way, commit: &str) -> Result<(), GitFault> {
        let fetch = ["fetch", "--quiet", "--no-write-fetch-head", "--no-auto-maintenance", "--refmap="];
        self.ask_source(way, [&fetch[..], &[UPDATE_SHALLOW, "--", "origin", commit]].concat()).await?;
        let mut detach = self.git();
        detach.args(["update-ref", "--no-deref", "HEAD", commit]);
        run(detach, self.limits.git_lookup).await.map(drop)
    }

    /// The commit that `rev` names, if there is one.
    pub(super) async fn commit(&self, rev: &str) -> Result<Option<String>, GitFault> {
        let mut ask = self.git();
        ask.args(["rev-parse", "--quiet", "--verify", "--end-of-options"]).arg(format!("{rev}^{{commit}}"));
        match run(ask, self.limits.git_lookup).await {
            // To git `^main` is a revision as well: all but what leads to main.
            Ok(commit) => {
                Ok(Some(String::from_utf8_lossy(&commit).trim().to_owned()).filter(|id| is_full_id(id)))
            }
            Err(GitFault::Refused { .. }) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Removes packs that were being fetched when git was stopped: nobody else would, and they may be all that fills the disk.
    /// Nobody may be fetching.
    pub(super) fn clear_unfinished(&self) {
        let packs = std::fs::read_dir(self.dir.join("objects/pack")).into_iter().flatten().flatten();
        for file in packs.filter(|file| file.file_name().to_string_lossy().starts_with(UNFINISHED_PACK)) {
            if let Err(fault) = std::fs::remove_file(file.path()) {
                tracing::warn!(file = %file.path().display(), error = %fault, "an unfinished pack stays");
            }
        }
    }

    /// A command that runs in this mirror.
    pub(super) fn git(&self) -> Command {
        let mut command = git(&self.dir);
        command.env("GIT_DIR", &self.dir).env("GIT_CONFIG_GLOBAL", self.dir.join(TRUST_FILE));
        command
    }

    fn write(&self, name: &str, content: &str) -> io::Result<()> {
        let path = self.dir.join(name);
        std::fs::write(&path, "")?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        std::fs::write(path, content)
    }
}

fn remote_settings(source: &Source) -> String {
    let mut settings = format!(
        "[remote \"origin\"]\n\turl = {}\n\tfetch = +refs/*:refs/*\n\tmirror = true\n",
        quoted(source.shown())
    );
    if source.credentials().is_some() {
        // Relative: git runs its helpers in the mirror's directory, wherever that is moved to.
        settings += "[credential]\n\thelper = store --file ";
        settings += CREDENTIALS_FILE;
        settings += "\n";
    }
    settings
}

/// Trusts the source's directory even if it belongs to another user: adding it was the decision.
fn trust(source: &Source) -> String {
    if !Path::new(source.shown()).is_absolute() {
        return String::new();
    }
    let dir = source.shown().trim_end_matches('/');
    let entry = |dir: &str| format!("\tdirectory = {}\n", quoted(dir));
    format!("[safe]\n{}{}", entry(dir), entry(&format!("{dir}/.git")))
}

/// A value for git's configuration files.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
