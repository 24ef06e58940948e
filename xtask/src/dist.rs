//! `cargo xtask dist`: the static binary.

use crate::command::{capture, exists, program};
use crate::product;
use anyhow::{Result, bail};

const TARGET: &str = "x86_64-unknown-linux-musl";

pub(crate) fn run() -> Result<()> {
    if !exists("musl-gcc") {
        bail!("musl-gcc is needed: install Debian's package musl-tools");
    }
    let targets = capture(&mut program("rustup", ["target", "list", "--installed"])).unwrap_or_default();
    if !targets.contains(TARGET) {
        crate::command::run(&mut program("rustup", ["target", "add", TARGET]))?;
    }
    let build = ["build", "--profile", product::SHIPPED, "--package", "cli", "--target", TARGET];
    crate::command::run(product::cargo(build).current_dir(product::checkout()))?;
    let binary = product::target().join(TARGET).join(product::SHIPPED).join("executor");
    let size = std::fs::metadata(&binary)?.len();
    println!("{} ({:.1} MiB, static)", binary.display(), size as f64 / f64::from(1 << 20));
    Ok(())
}
