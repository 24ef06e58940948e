//! The units as they are shipped, under systemd itself, in guests with version 2 of control groups alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use testkit::guest::{self, Guest};

/// Some 60 s of an idle machine.
const LIMIT: Duration = Duration::from_secs(280);
/// In MiB.
const MEMORY: u32 = 1024;
/// Bytes, for the program and what goes with it.
const GIVEN: u64 = 128 << 20;
/// Each after those that it needs.
const MODULES: [&str; 16] = [
    "virtio_ring.ko",
    "virtio.ko",
    "virtio_mmio.ko",
    "virtio_blk.ko",
    "loop.ko",
    "overlay.ko",
    "tun.ko",
    "veth.ko",
    "libcrc32c.ko",
    "nfnetlink.ko",
    "nf_tables.ko",
    "nft_reject.ko",
    "nf_reject_ipv4.ko",
    "nft_reject_ipv4.ko",
    "nf_reject_ipv6.ko",
    "nft_reject_ipv6.ko",
];
const INIT: &str = include_str!("init.sh");
const WORDS: &str = include_str!("words.sh");
const WITHOUT_DELAYS: &str = "systemd.unit=guest.target systemd.show_status=0";

/// A small Debian, which `cargo xtask test` makes.
fn system() -> PathBuf {
    guest::cache().join("guest-system/disk")
}

fn hold(name: &str, scenario: &str) {
    let missing = guest::missing(&MODULES).or_else(|| {
        let system = system();
        (!system.exists()).then(|| system.display().to_string())
    });
    if let Some(part) = missing {
        return testkit::missing_part(name, &part);
    }
    let dir = tempfile::tempdir().unwrap();
    let machine = Guest {
        initial: initial_files(dir.path()),
        disks: vec![system(), given(dir.path(), scenario)],
        memory: MEMORY,
        words: WITHOUT_DELAYS.to_owned(),
    };
    let console = machine.run(LIMIT).unwrap();
    assert!(console.contains("ALL OF IT HOLDS"), "{console}");
}

/// What mounts the disks and starts systemd.
fn initial_files(dir: &Path) -> PathBuf {
    let root = dir.join("initial");
    for made in ["bin", "dev", "modules", "new", "proc", "sys"] {
        fs::create_dir_all(root.join(made)).unwrap();
    }
    for module in MODULES {
        fs::copy(guest::kernel(module), root.join("modules").join(module)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    fs::write(root.join("modules/order"), MODULES.join(" ")).unwrap();
    fs::write(root.join("init"), INIT).unwrap();
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755)).unwrap();
    let archive = dir.join("initial.cpio");
    guest::pack(&root, &archive).unwrap();
    archive
}

/// What is installed there.
fn given(dir: &Path, scenario: &str) -> PathBuf {
    let root = dir.join("given");
    fs::create_dir(&root).unwrap();
    guest::add_program(Path::new(env!("CARGO_BIN_EXE_executor")), &root.join("executor")).unwrap();
    testkit::image::busybox_archive(&root.join("busybox.tar")).unwrap();
    fs::write(root.join("words.sh"), WORDS).unwrap();
    fs::write(root.join("scenario.sh"), scenario).unwrap();
    let disk = dir.join("given.disk");
    guest::disk(&root, &disk, GIVEN).unwrap();
    disk
}

#[test]
fn roots_units_keep_what_they_promise() {
    hold("guest::roots_units_keep_what_they_promise", include_str!("root.sh"));
}

#[test]
fn the_unit_of_an_ordinary_user_keeps_what_it_promises() {
    hold("guest::the_unit_of_an_ordinary_user_keeps_what_it_promises", include_str!("ordinary.sh"));
}
