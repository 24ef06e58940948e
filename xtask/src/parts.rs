//! The parts of the system that demo, tests and benchmarks need, from Debian's packages.

use crate::command::{capture, exists, program, run};
use crate::{product, rootfs};
use anyhow::{Context, Result, bail};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// A program, and the package it comes from.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    program: &'static str,
    package: &'static str,
}

const fn part(program: &'static str, package: &'static str) -> Part {
    Part { program, package }
}

/// What a job needs.
pub(crate) const DEMO: &[Part] = &[
    part("git", "git"),
    part("crun", "crun"),
    part("mkfs.ext4", "e2fsprogs"),
    part("mmdebstrap", "mmdebstrap"),
    part("kill", "procps"),
];

/// What the tests need besides.
pub(crate) const TEST: &[Part] = &[
    part("runc", "runc"),
    part("runsc", "runsc"),
    part("busybox", "busybox-static"),
    part("docker-registry", "docker-registry"),
    part("htpasswd", "apache2-utils"),
    part("skopeo", "skopeo"),
    part("dash", "dash"),
    part("dockerd", "docker.io"),
    part("docker", "docker.io"),
    part("podman", "podman"),
    part("mkfs.xfs", "xfsprogs"),
    part("ip", "iproute2"),
    part("flock", "util-linux"),
    part("newuidmap", "uidmap"),
    part("pasta", "passt"),
    part("slirp4netns", "slirp4netns"),
    part("qemu-system-x86_64", "qemu-system-x86"),
    part("cpio", "cpio"),
    part("systemd-analyze", "systemd"),
    part("/usr/lib/postgresql/15/bin/initdb", "postgresql-15"),
    part("prometheus-node-exporter", "prometheus-node-exporter"),
    part("chromium", "chromium"),
    part("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "fonts-dejavu-core"),
    part("prometheus", "prometheus"),
    part("promtool", "prometheus"),
    part("zsh", "zsh"),
    part("fish", "fish"),
];

/// An OCI runtime that is no package of Debian's, and what it is built with.
const YOUKI: &str = "0.7.0";
const YOUKI_PARTS: &[Part] =
    &[part("pkg-config", "pkg-config"), part("/usr/include/seccomp.h", "libseccomp-dev")];

/// What the benchmarks need besides.
pub(crate) const BENCH: &[Part] =
    &[part("runc", "runc"), part("dockerd", "docker.io"), part("docker", "docker.io")];

/// What the queue is measured in and against.
pub(crate) const QUEUE: &[Part] =
    &[part("/usr/lib/postgresql/15/bin/initdb", "postgresql-15"), part("npm", "npm")];

/// Installs what is missing, as root; otherwise says what to install.
pub(crate) fn ensure(parts: &[&[Part]]) -> Result<()> {
    let missing: Vec<Part> =
        parts.iter().copied().flatten().copied().filter(|part| !exists(part.program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|part| part.package).collect();
    packages.dedup();
    println!("installing {}", packages.join(", "));
    if !is_root() || !exists("apt-get") {
        bail!("these packages are needed: {}; install them and start again", packages.join(" "));
    }
    run(program("apt-get", ["update", "-qq"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    let install = ["install", "-y", "-qq", "--no-install-recommends"];
    run(program("apt-get", install.iter().copied().chain(packages))
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(std::process::Stdio::null()))
}

/// Lets everybody have network devices of their own, as udev does where there is one.
pub(crate) fn tun() -> Result<()> {
    const TUN: &str = "/dev/net/tun";
    if is_root() && std::path::Path::new(TUN).exists() {
        std::fs::set_permissions(TUN, std::fs::Permissions::from_mode(0o666))
            .with_context(|| format!("failed to open {TUN} to everybody"))?;
    }
    Ok(())
}

pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Builds youki from the crates registry, where tests look for it. Once: two minutes on two processors.
pub(crate) fn youki() -> Result<()> {
    let place = rootfs::cache()?.join(format!("youki-{YOUKI}"));
    if place.join("bin/youki").is_file() {
        return Ok(());
    }
    ensure(&[YOUKI_PARTS])?;
    println!("building youki from the crates registry (about 2 min, kept for the next time)");
    // Without systemd, and without devices' filters for version 2: no job can make a device.
    let with = ["--no-default-features", "--features", "v1,v2,seccomp"];
    // As whoever runs it in earnest has it: how long it takes to start is part of what is tested.
    run(product::cargo(["install", "--quiet", "--locked", "youki", "--version", YOUKI])
        .args(with)
        .arg("--root")
        .arg(place))
}

/// A server that speaks S3, for tests: Debian has none, save what takes a cluster.
const S3S: &str = "0.14.1";

/// Builds it from the crates registry, where tests look for it. Once: two minutes on two processors.
pub(crate) fn s3_server() -> Result<()> {
    let place = rootfs::cache()?.join(format!("s3s-fs-{S3S}"));
    if place.join("bin/s3s-fs").is_file() {
        return Ok(());
    }
    println!("building s3s-fs from the crates registry (about 2 min, kept for the next time)");
    run(product::install(["s3s-fs", "--version", S3S, "--features", "binary"]).arg("--root").arg(place))
}

/// A kernel for the tests' guests, and of its modules those that they need.
const GUEST_KERNEL: &str = "linux-image-cloud-amd64";
const GUEST_MODULES: [&str; 16] = [
    "drivers/block/loop.ko",
    "drivers/block/virtio_blk.ko",
    "drivers/net/tun.ko",
    "drivers/net/veth.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_mmio.ko",
    "drivers/virtio/virtio_ring.ko",
    "fs/overlayfs/overlay.ko",
    "lib/libcrc32c.ko",
    "net/ipv4/netfilter/nf_reject_ipv4.ko",
    "net/ipv4/netfilter/nft_reject_ipv4.ko",
    "net/ipv6/netfilter/nf_reject_ipv6.ko",
    "net/ipv6/netfilter/nft_reject_ipv6.ko",
    "net/netfilter/nf_tables.ko",
    "net/netfilter/nfnetlink.ko",
    "net/netfilter/nft_reject.ko",
];

/// Unpacks a kernel from Debian's packages, where tests look for it. Nothing is installed.
pub(crate) fn guest_kernel() -> Result<()> {
    let place = rootfs::cache()?.join("guest-kernel");
    let name_of = |module: &'static str| module.rsplit('/').next().unwrap_or(module);
    let is_there = |name: &str| place.join(name).is_file();
    if is_there("vmlinuz") && GUEST_MODULES.into_iter().map(name_of).all(is_there) {
        return Ok(());
    }
    println!("unpacking a kernel for guests (some seconds, kept for the next time)");
    std::fs::create_dir_all(rootfs::cache()?)?;
    let scratch = tempfile::tempdir_in(rootfs::cache()?)?;
    let at = |name: &str| scratch.path().join(name);
    let depends = capture(&mut program("apt-cache", ["depends", GUEST_KERNEL]))?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package.with_context(|| format!("{GUEST_KERNEL} is no package: update apt's lists"))?;
    run(&mut program("apt-get", ["update", "-qq"]))?;
    let download = ["download", "-qq", "-o", "APT::Sandbox::User=root", package];
    run(program("apt-get", download).current_dir(scratch.path()))?;
    let archive = std::fs::read_dir(scratch.path())?.next().context("no package was downloaded")??.path();
    run(program("dpkg-deb", ["--extract"]).arg(archive).arg(at("package")))?;
    let release = package.trim_start_matches("linux-image-");
    std::fs::create_dir(at("kernel"))?;
    std::fs::copy(at("package/boot").join(format!("vmlinuz-{release}")), at("kernel/vmlinuz"))?;
    for module in GUEST_MODULES {
        let name = name_of(module);
        let from = at("package/lib/modules").join(release).join("kernel").join(module);
        std::fs::copy(from, at("kernel").join(name)).with_context(|| format!("no module {module}"))?;
    }
    if place.exists() {
        std::fs::remove_dir_all(&place).with_context(|| format!("failed to remove {}", place.display()))?;
    }
    std::fs::rename(at("kernel"), &place).with_context(|| format!("failed to make {}", place.display()))
}
