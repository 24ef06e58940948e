//! The product, built.

use crate::command::{program, run};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The checkout.
pub(crate) fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// How it is built to be shipped: smaller, which takes longer.
pub(crate) const SHIPPED: &str = "dist";

/// Builds `executor` to be tried; returns its path.
pub(crate) fn build() -> Result<PathBuf> {
    build_as("release", &["--package", "cli"])
}

/// Builds it as it is shipped, but for the machine at hand; returns its path.
pub(crate) fn build_shipped() -> Result<PathBuf> {
    build_as(SHIPPED, &["--package", "cli"])
}

/// The one that tests use: built with the same features as they are, so there is nothing left to build after them.
pub(crate) fn build_tested() -> Result<PathBuf> {
    build_as("dev", &["--workspace", "--bin", "executor"])
}

fn build_as(profile: &str, what: &[&str]) -> Result<PathBuf> {
    println!("building executor (a few minutes the first time)");
    run(cargo(["build", "--profile", profile, "--quiet"]).args(what).current_dir(checkout()))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    let binary = target().join(folder).join("executor");
    std::fs::canonicalize(&binary).with_context(|| format!("{} was not built", binary.display()))
}

/// Installs a program from the crates registry. Built to be had soon rather than to be fast: an optimised build of
/// such a tool takes longer than all that it is used for here.
pub(crate) fn install<const N: usize>(args: [&str; N]) -> std::process::Command {
    let mut command = cargo(["install", "--quiet", "--locked"]);
    command.args(args);
    for (setting, value) in
        [("OPT_LEVEL", "1"), ("LTO", "off"), ("DEBUG", "0"), ("CODEGEN_UNITS", "16"), ("STRIP", "symbols")]
    {
        command.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    command
}

pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> std::process::Command {
    let mut command = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args);
    // The settings that cargo gave to this program are not meant for the next cargo.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| checkout().join("target"), PathBuf::from)
}
