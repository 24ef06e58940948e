//! `cargo xtask demo`: the main job, from nothing.

use crate::command::run as run_command;
use crate::leftovers::Snapshot;
use crate::system::{Place, Running};
use crate::{parts, product, rootfs};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Three steps on a repository: look at it, change it, show the change.
const JOB: &str = r#"repo: demo
image: debian:demo
env:
  GREETING: changed inside a sandbox
steps:
  - name: look
    run: |
      git log -1 --format='%h %s'
      git ls-files | wc -l
  - name: change
    run: |
      file=$(git ls-files '*.md' '*.txt' | head -n 1)
      echo "$GREETING" >> "${file:-GREETING.txt}"
  - name: diff
    run: |
      git add --intent-to-add .
      git diff --stat
      git diff
"#;

/// How long all of a demo may take once the program is built, from nothing until all of it is removed.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs the job on `repo`; tells how long all of it took.
pub(crate) fn run_once(binary: PathBuf, repo: &str) -> Result<Duration> {
    let before = Snapshot::take();
    let begun = Instant::now();
    let place = Place::new(binary)?;
    let data_dir = place.data_dir().to_string_lossy().into_owned();
    let job_file = place.path().join("job.yaml");
    std::fs::write(&job_file, JOB).context("failed to write the job file")?;

    let up = place.executor(["up", "--data-dir", &data_dir, "--listen", "127.0.0.1:0"]);
    let up = Running::start("executor up", up, "listening on ")?;
    let archive = rootfs::debian()?.to_string_lossy().into_owned();
    run_command(&mut place.executor(["image", "import", "debian:demo", &archive]))?;
    run_command(&mut place.executor(["repo", "add", "demo", repo]))?;
    let job = run_command(&mut place.executor(["job", "run", "--file", &job_file.to_string_lossy()]));
    run_command(&mut place.executor(["job", "list"]))?;
    up.stop()?;
    let own = place.temporary_files();
    drop(place);
    // What comes is a look at the machine, which others may keep busy.
    let took = begun.elapsed();
    job?;
    before.nothing_new()?;
    let own = own?;
    if !own.is_empty() {
        bail!("temporary files left behind: {}", own.join(", "));
    }
    if took > LIMIT {
        bail!("the demo took {:.1} s; it may take {LIMIT:?}", took.as_secs_f64());
    }
    Ok(took)
}

pub(crate) fn run(repo: Option<PathBuf>) -> Result<()> {
    parts::ensure(&[parts::DEMO])?;
    let repo = repo.unwrap_or_else(|| product::checkout().to_owned());
    let repo = std::fs::canonicalize(&repo)
        .with_context(|| format!("there is no repository at {}", repo.display()))?;
    let binary = product::build()?;
    rootfs::debian()?;

    println!("\nrunning a three-step job on {}\n", repo.display());
    let took = run_once(binary.clone(), &repo.to_string_lossy())?;
    let executor = binary.display();
    println!(
        "\nThat took {:.1} s, and nothing is left of it. Next:\n\
         \n  {executor} up                                  start your own\
         \n  {executor} image import debian:12 ROOTFS.tar   or name an image that a registry has\
         \n  {executor} repo add app PATH-OR-URL\
         \n  {executor} job run --repo app --image debian:12 -- make test\
         \n\nREADME.md tells the rest; docs/reference/environment.md every setting.",
        took.as_secs_f64(),
    );
    Ok(())
}
