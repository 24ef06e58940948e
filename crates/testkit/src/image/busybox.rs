//! The smallest image with a shell: Debian's static busybox.

use super::{Archive, Layer};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const BUSYBOX: &str = "/bin/busybox";

/// Writes the tar of a root file system with busybox to `path`. None when this machine has no static
/// busybox.
pub fn busybox_rootfs_tar(path: &Path) -> Option<PathBuf> {
    let layer = layer()?;
    Some(write(path, &layer.bytes()))
}

/// Writes a `docker save` archive with busybox to `path`; it wants `PATH` set and runs as root in
/// `/`. None when this machine has no static busybox.
pub fn busybox_archive(path: &Path) -> Option<PathBuf> {
    Some(write(path, &busybox_image()?.docker()))
}

/// The same image, to be written in whatever form. None when this machine has no static busybox.
pub fn busybox_image() -> Option<Archive> {
    Some(Archive::new().layer(layer()?).run_as(&["PATH=/bin"], "", ""))
}

fn write(path: &Path, bytes: &[u8]) -> PathBuf {
    fs::write(path, bytes).expect("the test's own directory can be written");
    path.to_owned()
}

fn layer() -> Option<Layer> {
    let program = fs::read(BUSYBOX).ok()?;
    let applets = Command::new(BUSYBOX).arg("--list").output().ok()?;
    let applets = String::from_utf8(applets.stdout).expect("applets have plain names");
    let mut layer = Layer::new()
        .directory("bin")
        .file_with_mode("bin/busybox", &program, 0o755)
        .directory("dev")
        .directory("etc")
        .file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n")
        .file("etc/group", b"root:x:0:\nnogroup:x:65534:\n")
        .directory("proc")
        .directory_with_mode("root", 0o700)
        .directory("sys")
        .directory_with_mode("tmp", 0o1777);
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        layer = layer.symlink(&format!("bin/{applet}"), "busybox");
    }
    Some(layer)
}
