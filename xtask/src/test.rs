//! `cargo xtask test`: every check and every test, and one line that counts them.

use crate::command::{exists, output, program, run as run_command};
use crate::{demo, parts, product, rootfs};
use anyhow::{Context, Result, bail};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How long the database of known faults may take to fetch.
const FETCH_LIMIT: &str = "60s";

/// What was counted.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Count {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

pub(crate) fn run() -> Result<()> {
    parts::ensure(&[parts::DEMO, parts::TEST])?;
    parts::tun()?;
    tools()?;
    for (part, made) in [
        ("youki", parts::youki()),
        ("s3s-fs", parts::s3_server()),
        ("guests' kernel", parts::guest_kernel()),
        ("guests' system", rootfs::guest()),
    ] {
        if let Err(fault) = made {
            // Its tests say that they are skipped.
            println!("there is no {part}: {fault:#}");
        }
    }
    // The demo needs it; made here, so that making it counts as no test.
    rootfs::debian()?;
    let skips = tempfile::NamedTempFile::new().context("failed to make a file for skipped tests")?;

    let mut count = Count::default();
    check("formatting", product::cargo(["fmt", "--all", "--check"]), &mut count)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    check("lints", product::cargo(clippy), &mut count)?;
    let deny = ["deny", "--all-features", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"];
    check("dependencies", product::cargo(deny), &mut count)?;
    let unchecked = advisories(fetch_advisories(), &mut count)?;

    let mut nextest = product::cargo(["nextest", "run", "--workspace", "--profile", "ci", "--no-fail-fast"]);
    nextest.env("EXECUTOR_TEST_SKIPS", skips.path());
    tests(nextest, &mut count)?;
    check("documentation examples", product::cargo(["test", "--workspace", "--doc", "--quiet"]), &mut count)?;
    demos(&mut count)?;

    let skipped = std::fs::read_to_string(skips.path())?;
    let said = skipped.lines().count();
    count.passed -= said.min(count.passed);
    count.skipped += said;
    for line in skipped.lines().chain(unchecked.as_deref()) {
        println!("{line}");
    }
    println!("{count}");
    if count.failed > 0 {
        bail!("there are failures: see above");
    }
    Ok(())
}

/// Test tools that are no packages of Debian's. Built once; a few minutes each.
fn tools() -> Result<()> {
    for (program, package) in [("cargo-nextest", "cargo-nextest"), ("cargo-deny", "cargo-deny")] {
        if !exists(program) {
            println!("installing {package} from the crates registry");
            run_command(&mut product::install([package]))?;
        }
    }
    Ok(())
}

/// The database is on GitHub, which answers late or never where a network is closed.
fn fetch_advisories() -> Command {
    let mut command = program(
        "timeout",
        ["--kill-after=5s", FETCH_LIMIT, "cargo", "deny", "--all-features", "fetch", "db"],
    );
    // Nobody is there to be asked for a password.
    command.env("GIT_TERMINAL_PROMPT", "0");
    command
}

/// Known faults of dependencies, where `fetch` gets the database of them. Machines that check a change need not
/// reach more than the registries of packages: there it is skipped, and the line that says so is returned.
fn advisories(mut fetch: Command, count: &mut Count) -> Result<Option<String>> {
    let fetched = output(fetch.current_dir(product::checkout()))?;
    if fetched.status.success() {
        let deny = ["deny", "--all-features", "--offline", "check", "--hide-inclusion-graph", "advisories"];
        check("known faults of dependencies", product::cargo(deny), count)?;
        return Ok(None);
    }
    count.skipped += 1;
    let said = String::from_utf8_lossy(&fetched.stderr);
    let why = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let why = why.map_or_else(|| format!("it took longer than {FETCH_LIMIT}"), str::to_owned);
    let line = format!("SKIPPED known faults of dependencies: their database can't be fetched: {why}");
    println!("{line}");
    Ok(Some(line))
}

/// One check is one test.
fn check(name: &str, mut command: Command, count: &mut Count) -> Result<()> {
    println!("checking {name}");
    let output = output(command.current_dir(product::checkout()))?;
    if output.status.success() {
        count.passed += 1;
    } else {
        count.failed += 1;
        println!("FAILED {name}");
        println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Runs the tests and reads their count out of the closing line.
pub(crate) fn tests(mut command: Command, count: &mut Count) -> Result<()> {
    let mut child = command
        .current_dir(product::checkout())
        .stderr(Stdio::piped())
        .spawn()
        .context("failed to start the tests")?;
    let stderr = child.stderr.take().context("no standard error")?;
    let mut summary = None;
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        println!("{line}");
        if line.trim_start().starts_with("Summary [") {
            summary = Some(line);
        }
    }
    let status = child.wait()?;
    let summary = summary.context("the tests were not run: see above")?;
    let failed =
        ["failed", "exec failed", "timed out"].map(|how| number_before(&summary, &format!(" {how}")));
    let failed: usize = failed.iter().sum();
    count.passed += number_before(&summary, " passed");
    // Whatever the line says: a run that failed is at least one failure.
    count.failed += if status.success() { failed } else { failed.max(1) };
    count.skipped += number_before(&summary, " skipped");
    Ok(())
}

fn number_before(text: &str, word: &str) -> usize {
    let before = text.split(word).next().filter(|before| before.len() < text.len()).unwrap_or_default();
    before.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// The demo works on this checkout, and again on clones of it, in time, and leaves nothing behind.
fn demos(count: &mut Count) -> Result<()> {
    let checkout = std::fs::canonicalize(product::checkout())?;
    let binary = product::build_tested()?;
    let clones = tempfile::Builder::new().prefix("executor-xtask-").tempdir()?;
    let rounds: [(_, Option<&[&str]>); 3] =
        [("this checkout", None), ("a fresh clone", Some(&[])), ("a shallow clone", Some(&["--depth", "1"]))];
    for (round, how) in rounds {
        println!("checking the demo on {round}");
        let done = how.map_or(Ok(checkout.clone()), |options| clone(&checkout, clones.path(), options));
        match done.and_then(|repo| demo::run_once(binary.clone(), &repo.to_string_lossy())) {
            Ok(took) => {
                count.passed += 1;
                println!("the demo on {round} took {:.1} s", took.as_secs_f64());
            }
            Err(fault) => {
                count.failed += 1;
                println!("FAILED the demo on {round}: {fault:#}");
            }
        }
    }
    Ok(())
}

/// Gives out a checkout whoever owns it, as `executor` does for repositories that it is told of.
const UPLOAD_PACK: &str = "git -c safe.directory='*' upload-pack";

/// A new clone of `source`, below `dir`.
fn clone(source: &Path, dir: &Path, options: &[&str]) -> Result<PathBuf> {
    let target = tempfile::Builder::new().prefix("clone-").tempdir_in(dir)?.keep();
    let url = format!("file://{}", source.display());
    let clone = ["clone", "--quiet", "--upload-pack", UPLOAD_PACK];
    run_command(program("git", clone).args(options).args(["--", &url]).arg(&target))?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_can_not_be_fetched_is_told_and_counted_as_skipped() {
        for (script, why) in
            [("echo no such host >&2; exit 1", "no such host"), ("exit 124", "longer than 60s")]
        {
            let mut count = Count::default();
            let line = advisories(program("sh", ["-c", script]), &mut count).unwrap().unwrap();
            assert!(line.starts_with("SKIPPED known faults of dependencies") && line.contains(why), "{line}");
            assert_eq!((count.passed, count.failed, count.skipped), (0, 0, 1));
        }
    }

    #[test]
    fn the_closing_line_is_read() {
        let line = "     Summary [   0.249s] 25 tests run: 23 passed (1 slow), 2 failed, 1 exec failed, 1 timed out, 7 skipped";
        assert_eq!(number_before(line, " passed"), 23);
        assert_eq!(number_before(line, " failed"), 2);
        assert_eq!(number_before(line, " exec failed"), 1);
        assert_eq!(number_before(line, " timed out"), 1);
        assert_eq!(number_before(line, " skipped"), 7);
        assert_eq!(number_before(line, " leaky"), 0);
    }
}
