//! Layers that try to leave their directory or to fill the machine.

use crate::support::{Place, told};
use images::Limits;
use std::fs;
use std::path::PathBuf;
use tar::EntryType;
use testkit::image::{Archive, Layer};

/// Imports an image of this one layer and expects to hear `rule`.
async fn refused(layer: Layer, rule: &str) {
    let limits = Limits { entries: 1000, unpacked_bytes: 64 * 1024 * 1024, ..Limits::default() };
    let place = Place::with_limits(limits);
    let outside = place.directory.path().join("outside");
    fs::create_dir(&outside).expect("a directory beside the store");
    let error = place.imported_image("evil", &Archive::new().layer(layer)).await.expect_err(rule);
    assert!(told(&error).contains(rule), "{rule}: {}", told(&error));
    assert_eq!(place.content(), Vec::<PathBuf>::new(), "nothing stays");
    assert_eq!(fs::read_dir(&outside).expect("it can be listed").count(), 0);
}

#[tokio::test]
async fn paths_that_climb_out() {
    refused(Layer::new().file("../outside/x", b""), "'..'").await;
    refused(Layer::new().file("a/../../outside/x", b""), "'..'").await;
    refused(Layer::new().directory("a/.."), "'..'").await;
    refused(Layer::new().file("/tmp/x", b""), "absolute").await;
    refused(Layer::new().file(&"a".repeat(256), b""), "255 bytes").await;
    refused(Layer::new().file(&"a/".repeat(300), b""), "256 directories").await;
    refused(Layer::new().file(&"a/".repeat(2100), b""), "4096 bytes").await;
}

#[tokio::test]
async fn writing_through_a_link() {
    for target in ["/tmp", "../../../../../../tmp", ".", "real"] {
        let layer = Layer::new().directory("real").symlink("link", target).file("link/x", b"");
        refused(layer, "leads through a link").await;
        let layer = Layer::new().directory("real").symlink("link", target).symlink("link/x", "y");
        refused(layer, "leads through a link").await;
        let layer = Layer::new().directory("real").symlink("link", target).file("link/.wh.x", b"");
        refused(layer, "leads through a link").await;
        let layer = Layer::new().file("f", b"").symlink("link", target).hard_link("x", "link/f");
        refused(layer, "leads through a link").await;
    }
    refused(Layer::new().file("file", b"").file("file/x", b""), "leads through a link or a file").await;
}

#[tokio::test]
async fn hard_links_to_elsewhere() {
    refused(Layer::new().hard_link("x", "/etc/passwd"), "outside the layer").await;
    refused(Layer::new().hard_link("x", "../../../../etc/passwd"), "outside the layer").await;
    refused(Layer::new().hard_link("x", "missing"), "doesn't have").await;
    refused(Layer::new().hard_link("x", "missing/y"), "doesn't have").await;
    refused(Layer::new().directory("d").hard_link("x", "d"), "a directory").await;
    refused(Layer::new().hard_link("x", "."), "root").await;
}

#[tokio::test]
async fn whiteouts_of_the_root() {
    for path in [".wh..", ".wh...", ".wh.", "a/.wh..", ".wh..wh..opq"] {
        refused(Layer::new().directory("a").file(path, b""), "hide").await;
    }
}

#[tokio::test]
async fn entries_that_replace_the_root() {
    refused(Layer::new().file("./", b"x"), "root").await;
    refused(Layer::new().symlink(".", "/"), "root").await;
}

#[tokio::test]
async fn too_many_entries() {
    let layer = (0..1001).fold(Layer::new(), |layer, number| layer.file(&number.to_string(), b""));
    refused(layer, "the limit of 1000").await;
}

#[tokio::test]
async fn more_bytes_than_allowed() {
    let limits = Limits { unpacked_bytes: 1_000_000, ..Limits::default() };
    let place = Place::with_limits(limits);
    let bomb = Archive::new().layer(Layer::new().file("zeros", &vec![0; 2_000_000])).gzip_layers();
    let error = place.imported_image("bomb", &bomb).await.expect_err("it is too large");
    assert!(told(&error).contains("1000000 bytes"), "{}", told(&error));
    assert_eq!(place.content(), Vec::<PathBuf>::new());
    let split = (0..3).fold(Archive::new(), |archive, number| {
        archive.layer(Layer::new().file(&number.to_string(), &vec![number; 400_000]))
    });
    place.imported_image("split", &split).await.expect_err("layers count together");
}

#[tokio::test]
async fn headers_that_fill_memory() {
    let layer = Layer::new().file(&"a".repeat(2 * 1024 * 1024), b"");
    refused(layer, "the headers of one entry").await;
}

#[tokio::test]
async fn devices_are_left_out() {
    let place = Place::new();
    let layer = Layer::new()
        .directory("dev")
        .device("dev/sda", EntryType::Block)
        .device("dev/null", EntryType::Char)
        .device("dev/pipe", EntryType::Fifo)
        .file("after", b"");
    let image = place.imported_image("debian", &Archive::new().layer(layer)).await.expect("it is imported");
    assert_eq!(fs::read_dir(image.layers[0].join("dev")).expect("it can be listed").count(), 0);
    assert!(image.layers[0].join("after").exists());
}

#[tokio::test]
async fn links_are_kept_but_lead_nowhere_yet() {
    let place = Place::new();
    let layer = Layer::new()
        .symlink("passwd", "/etc/passwd")
        .symlink("passwd", "/etc/shadow")
        .hard_link("again", "passwd");
    let image = place.imported_image("links", &Archive::new().layer(layer)).await.expect("it is imported");
    for name in ["passwd", "again"] {
        assert_eq!(fs::read_link(image.layers[0].join(name)).expect("a link").to_str(), Some("/etc/shadow"));
    }
}

#[tokio::test]
async fn one_entry_takes_the_place_of_another() {
    let place = Place::new();
    let layer = Layer::new()
        .directory("a")
        .file("a/deep/file", b"1")
        .file("a", b"now a file")
        .file("b", b"1")
        .directory("b")
        .file("b/x", b"now a directory")
        .file("c", b"first")
        .file("c", b"second")
        .file(".wh.d", b"")
        .file("d/e", b"")
        .hard_link("c", "c");
    let image = place.imported_image("example", &Archive::new().layer(layer)).await.expect("it is imported");
    let read = |path: &str| fs::read_to_string(image.layers[0].join(path)).expect(path);
    assert_eq!(
        (read("a"), read("b/x"), read("c")),
        ("now a file".into(), "now a directory".into(), "second".into())
    );
    let attribute = if testkit::have_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
    let mut value = [0_u8; 8];
    rustix::fs::getxattr(image.layers[0].join("d"), attribute, &mut value)
        .expect("what the whiteout hid stays hidden");
}

#[tokio::test]
async fn overlayfs_takes_no_orders_from_a_layer() {
    let place = Place::new();
    let layer = Layer::new()
        .file_with_attribute("good", "user.mime_type", b"text/plain")
        .file_with_attribute("evil", "trusted.overlay.redirect", b"/etc")
        .file_with_attribute("bad", "user.overlay.redirect", b"/etc");
    let image = place.imported_image("example", &Archive::new().layer(layer)).await.expect("it is imported");
    let names = |file: &str| {
        let mut names = [0_u8; 200];
        let length =
            rustix::fs::listxattr(image.layers[0].join(file), &mut names).expect("attributes can be listed");
        String::from_utf8_lossy(&names[..length]).into_owned()
    };
    assert_eq!(
        (names("good"), names("evil"), names("bad")),
        ("user.mime_type\0".into(), String::new(), String::new())
    );
}

#[tokio::test]
async fn sparse_files_are_whole_or_refused() {
    use std::io::Write;
    let test = "sparse_files_are_whole_or_refused";
    let place = Place::new();
    let files = place.directory.path().join("files");
    fs::create_dir(&files).expect("a directory beside the store");
    let mut file = fs::File::create(files.join("sparse")).expect("a file");
    file.set_len(1 << 20).and_then(|()| file.write_all(b"start")).expect("the file is written");
    for format in ["gnu", "posix"] {
        let tar = std::process::Command::new("tar")
            .args(["--create", "--sparse", &format!("--format={format}"), "--directory"])
            .arg(&files)
            .arg("sparse")
            .output();
        let Ok(tar) = tar else { return testkit::missing_part(test, "tar") };
        match place.imported(format, &tar.stdout).await {
            Ok(image) => {
                let content = fs::read(image.layers[0].join("sparse")).expect("the file is there");
                assert_eq!((content.len(), &content[..5]), (1 << 20, &b"start"[..]));
            }
            Err(error) => {
                assert!(told(&error).contains("sparse file") && format == "posix", "{}", told(&error));
            }
        }
    }
    let bomb = Limits { unpacked_bytes: 100_000, ..Limits::default() };
    let place = Place::with_limits(bomb);
    let tar = std::process::Command::new("tar")
        .args(["-cSf", "-", "--format=gnu", "-C"])
        .arg(&files)
        .arg("sparse")
        .output();
    let error = place.imported("bomb", &tar.expect("it ran before").stdout).await.expect_err("holes count");
    assert!(told(&error).contains("100000 bytes"), "{}", told(&error));
}
