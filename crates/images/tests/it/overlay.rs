//! Layers as overlayfs sees them.

use crate::support::Place;
use std::process::Command;
use testkit::image::{Archive, Layer};

#[tokio::test]
async fn overlayfs_hides_what_layers_say() {
    let test = "overlayfs_hides_what_layers_say";
    if !testkit::have_root() {
        return testkit::missing_part(test, "root");
    }
    let place = Place::new();
    let lower = Layer::new()
        .directory("etc")
        .file("etc/kept", b"lower")
        .file("etc/gone", b"x")
        .file("etc/changed", b"old")
        .directory("var")
        .file("var/old", b"x")
        .directory("opt")
        .directory("opt/a")
        .file("opt/a/old", b"x")
        .directory("again")
        .file("again/old", b"x");
    let upper = Layer::new()
        .directory("etc")
        .file("etc/.wh.gone", b"")
        .file("etc/changed", b"new")
        .directory("var")
        .file("var/.wh..wh..opq", b"")
        .file("var/new", b"y")
        .directory("opt")
        .file("opt/.wh.a", b"")
        .file(".wh.again", b"")
        .directory("again")
        .file("again/new", b"");
    let archive = Archive::new().layer(lower).layer(upper);
    let image = place.imported_image("example", &archive).await.expect("it is imported");
    let mut layers: Vec<_> = image.layers.iter().map(|layer| layer.display().to_string()).collect();
    layers.reverse();
    let target = place.directory.path().join("merged");
    std::fs::create_dir(&target).expect("a directory beside the store");
    // The mount lives in the child's own namespace and ends with it.
    let script = r#"mount -t overlay overlay -o "lowerdir=$1" "$2" || exit 77; cd "$2" && find . | sort && cat etc/changed"#;
    let listed = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh", &layers.join(":")])
        .arg(&target)
        .output()
        .expect("util-linux is everywhere");
    if listed.status.code() == Some(77) {
        return testkit::missing_part(test, "overlayfs");
    }
    let expected = ". ./again ./again/new ./etc ./etc/changed ./etc/kept ./opt ./var ./var/new new";
    let listed = String::from_utf8_lossy(&listed.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(listed, expected);
}
