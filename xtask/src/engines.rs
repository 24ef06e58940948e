//! `cargo xtask engines`: the tests of container engines and OCI runtimes against other releases than those that are
//! installed.
//!
//! Each release is in a root file system of a Debian suite. Tests of engines take engine, client and OCI runtime from
//! there; those of OCI runtimes are themselves run there, with the programs for jobs' networks. No part of `cargo xtask test`: it takes about as long again as all of that, and what it finds comes with new releases
//! of others rather than with changes here.

use crate::command::{capture, program, run as run_command};
use crate::test::{Count, tests};
use crate::{parts, product, rootfs};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// What a system with engines is made of, besides its suite.
const RECIPE: &[&str] = &[
    "--variant=minbase",
    "--include=busybox-static,ca-certificates,crun,docker-cli,docker.io,e2fsprogs,golang-github-containers-common,\
     golang-github-containers-image,iproute2,iptables,netavark,nftables,passt,podman,runc,runsc,slirp4netns,uidmap",
    "--aptopt=Acquire::Languages \"none\"",
    // Mirrors of suites that never end may be some days late.
    "--aptopt=Acquire::Check-Valid-Until \"false\"",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
];

/// The tests that have an engine, but for those of Podman, which have it in their names.
const DOCKER: &str = "binary(it) and not test(/podman/) and (package(runtimes) and test(/^(docker|engine)::/) or \
                      package(cli) and test(/^(engine|conformance::engine|conformance::src_steps|doctor::services)/))";
const PODMAN: &str = "binary(it) and test(/podman/)";
/// Those of the daemonless runtime.
const CRUN: &str = "binary(it) and package(runtimes) and test(/^(own::)?crun(_host)?::|^network::/)";
const RUNC: &str = "binary(it) and package(runtimes) and test(/^(own::)?runc::/)";

/// Runs a test in the system at `$ROOT`.
const RUNNER: &str = concat!(
    include_str!("../../crates/testkit/src/engine/enter.sh"),
    r#"
if [ -z "${ENTERED:-}" ]; then ENTERED=1 exec unshare --mount --propagation slave /bin/sh "$0" "$@"; fi
here=$PWD
enter "$ROOT" "${TMPDIR:-/tmp}" /run "$CHECKOUT"
cd "$here" && exec "$@"
"#
);
/// Where cargo's test programs look for what runs them.
const RUNNER_VARIABLE: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER";

/// One engine, and how it is to be.
struct Round {
    what: &'static str,
    package: &'static str,
    suite: &'static str,
    tests: &'static str,
    /// Told with the result.
    note: &'static str,
    env: Option<(&'static str, &'static str)>,
}

const fn docker(suite: &'static str, note: &'static str, env: Option<(&'static str, &'static str)>) -> Round {
    Round { what: "Docker", package: "docker.io", suite, tests: DOCKER, note, env }
}

const fn podman(suite: &'static str) -> Round {
    Round { what: "Podman", package: "podman", suite, tests: PODMAN, note: "", env: None }
}

const fn runtime(what: &'static str, tests: &'static str) -> Round {
    Round { what, package: what, suite: "sid", tests, note: "", env: None }
}

const ROUNDS: &[Round] = &[
    docker("trixie", "", None),
    docker("sid", "", None),
    // What the next release takes at least.
    docker("sid", ", API 1.44 at least", Some(("DOCKER_MIN_API_VERSION", "1.44"))),
    // What the next release does by itself.
    docker(
        "sid",
        ", images kept by containerd",
        Some(("EXECUTOR_TEST_DOCKER_SETTINGS", r#"{"features": {"containerd-snapshotter": true}}"#)),
    ),
    podman("trixie"),
    podman("sid"),
    runtime("crun", CRUN),
    runtime("runc", RUNC),
];

/// Runs them all, or those of whose line `only` is a part, and tells of each in one line.
pub(crate) fn run(only: Option<&str>) -> Result<()> {
    parts::ensure(&[parts::DEMO, parts::TEST])?;
    let (mut lines, mut failed) = (Vec::new(), 0);
    for round in ROUNDS {
        let system = system(round.suite)?;
        let name = round.name(&system)?;
        if only.is_none_or(|part| name.contains(part)) {
            println!("testing with {name}");
            let count = round.run(&system)?;
            failed += count.failed;
            lines.push(format!("{name}: {count}"));
        }
    }
    for line in &lines {
        println!("{line}");
    }
    if lines.is_empty() || failed > 0 {
        bail!("{} rounds, {failed} failures: see above", lines.len());
    }
    Ok(())
}

impl Round {
    /// Such as `Docker 28.5.2 of sid`.
    fn name(&self, system: &Path) -> Result<String> {
        // Not every program tells its own without a `/proc`.
        let asked = ["dpkg-query", "--show", "--showformat=${Version}", self.package];
        let said = capture(program("chroot", [system]).args(asked))?;
        let release = said.split(['+', '-']).next().unwrap_or_default();
        Ok(format!("{} {release} of {}{}", self.what, self.suite, self.note))
    }

    /// Whether jobs need no engine for it.
    fn is_runtime(&self) -> bool {
        self.tests == CRUN || self.tests == RUNC
    }

    fn run(&self, system: &Path) -> Result<Count> {
        let skips = tempfile::NamedTempFile::new().context("failed to make a file for skipped tests")?;
        let mut nextest = product::cargo(["nextest", "run", "--profile", "ci", "--no-fail-fast"]);
        nextest.args(["--package", "runtimes", "--filterset", self.tests]);
        nextest.env("EXECUTOR_TEST_SKIPS", skips.path()).envs(self.env);
        let runner = tempfile::NamedTempFile::new().context("failed to make a file for a script")?;
        std::fs::write(runner.path(), RUNNER)?;
        if self.is_runtime() {
            let command = format!("/bin/sh {}", runner.path().display());
            nextest
                .env(RUNNER_VARIABLE, command)
                .env("ROOT", system)
                .env("CHECKOUT", std::fs::canonicalize(product::checkout())?);
        } else {
            nextest.args(["--package", "cli"]).env("EXECUTOR_TEST_ENGINE_SYSTEM", system);
        }
        let mut count = Count::default();
        tests(nextest, &mut count)?;
        // What nextest calls so is all that was not asked for.
        count.skipped = std::fs::read_to_string(skips.path())?.lines().count();
        count.passed -= count.skipped.min(count.passed);
        Ok(count)
    }
}

/// The root of a system of that suite; made when it is not there, in about a minute. One of a suite that moves stays as it
/// was made until somebody removes it.
fn system(suite: &str) -> Result<PathBuf> {
    let place = rootfs::cache()?.join("engines").join(suite);
    let recipe = RECIPE.join("\n");
    if std::fs::read_to_string(place.join("recipe")).is_ok_and(|made| made == recipe) {
        return Ok(place.join("root"));
    }
    println!(
        "making a Debian {suite} with engines at {} (about a minute, kept for the next time)",
        place.display()
    );
    let dir = rootfs::cache()?.join("engines");
    std::fs::create_dir_all(&dir).with_context(|| format!("failed to make {}", dir.display()))?;
    let scratch = tempfile::tempdir_in(&dir)?;
    let root = scratch.path().join("root");
    run_command(program("mmdebstrap", RECIPE).args(["--quiet", "--format=directory", suite]).arg(&root))?;
    std::fs::write(scratch.path().join("recipe"), recipe)?;
    if place.exists() {
        std::fs::remove_dir_all(&place).with_context(|| format!("failed to remove {}", place.display()))?;
    }
    let made = scratch.keep();
    std::fs::rename(&made, &place).with_context(|| format!("failed to make {}", place.display()))?;
    Ok(place.join("root"))
}
