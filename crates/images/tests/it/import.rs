//! Archives on this machine.

use crate::support::{Place, reference, told};
use images::{ImageConfig, ImageError, ImageInfo, Limits};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use testkit::image::{Archive, Layer, busybox_archive, busybox_rootfs_tar, gzip};

fn two_layers() -> Archive {
    Archive::new()
        .layer(
            Layer::new()
                .directory("etc")
                .file("etc/motd", b"hello")
                .file("etc/gone", b"x")
                .directory("var")
                .file("var/old", b"x"),
        )
        .layer(
            Layer::new()
                .directory("etc")
                .file("etc/.wh.gone", b"")
                .directory("var")
                .file("var/.wh..wh..opq", b"")
                .file("var/new", b"y"),
        )
        .run_as(&["A=b"], "/work", "1000:1000")
}

#[tokio::test]
async fn every_kind_of_archive_gives_the_same_layers() {
    let archive = two_layers();
    let mut seen = Vec::new();
    for bytes in [
        archive.docker(),
        gzip(&archive.docker()),
        two_layers().gzip_layers().docker(),
        archive.oci(),
        gzip(&archive.oci_nested()),
        two_layers().gzip_layers().oci(),
    ] {
        let place = Place::new();
        let image = place.imported("example/tool:1", &bytes).await.expect("it is imported");
        let expected = ImageConfig {
            env: vec!["A=b".to_owned()],
            working_dir: "/work".to_owned(),
            user: "1000:1000".to_owned(),
        };
        assert_eq!(image.config, expected);
        assert_eq!(image.layers.len(), 2);
        assert_eq!(fs::read(image.layers[0].join("etc/motd")).expect("the file is there"), b"hello");
        seen.push(
            image
                .layers
                .iter()
                .map(|layer| layer.parent().and_then(|hex| hex.file_name()).map(ToOwned::to_owned))
                .collect::<Vec<_>>(),
        );
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "layers are named by their content");
}

#[tokio::test]
async fn a_root_file_system_is_an_image_of_one_layer() {
    let tar = Layer::new()
        .directory("./")
        .directory_with_mode("./tmp", 0o1777)
        .file_with_mode("./bin/su", b"#!", 0o4755)
        .bytes();
    for bytes in [tar.clone(), gzip(&tar)] {
        let place = Place::new();
        place.imported("before", &bytes).await.expect("it is imported");
        let image =
            place.imported("rootfs", &bytes).await.expect("it is imported although the layer is here");
        assert_eq!(image.config, ImageConfig::default());
        let mode = |path: &str| {
            fs::metadata(image.layers[0].join(path)).expect("it is there").permissions().mode() & 0o7777
        };
        assert_eq!((mode(""), mode("tmp"), mode("bin")), (0o755, 0o1777, 0o755));
        if testkit::have_root() {
            assert_eq!(mode("bin/su"), 0o4755);
        }
        assert_eq!(fs::metadata(image.layers[0].join("bin/su")).expect("it is there").mtime(), 1_700_000_000);
    }
}

#[tokio::test]
async fn whiteouts_are_in_the_form_of_overlayfs() {
    let place = Place::new();
    let image = place.imported_image("example", &two_layers()).await.expect("it is imported");
    let upper = &image.layers[1];
    let whiteout = fs::symlink_metadata(upper.join("etc/gone")).expect("the whiteout is there");
    assert!(whiteout.file_type().is_char_device());
    assert_eq!(whiteout.rdev(), 0);
    assert!(!upper.join("etc/.wh.gone").exists() && !upper.join("var/.wh..wh..opq").exists());
    let mut value = [0_u8; 8];
    let attribute = if testkit::have_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
    let length =
        rustix::fs::getxattr(upper.join("var"), attribute, &mut value).expect("the directory is opaque");
    assert_eq!(&value[..length], b"y");
}

#[tokio::test]
async fn listing_and_removing() {
    let place = Place::new();
    for name in ["b:1", "a:2"] {
        place.imported_image(name, &two_layers()).await.expect("it is imported");
    }
    let listed = place.store.list().expect("the store can be listed");
    let names: Vec<_> = listed.iter().map(|info| info.reference.familiar()).collect();
    assert_eq!(names, ["a:2", "b:1"]);
    let ImageInfo { size, created_at, .. } = &listed[0];
    assert_eq!(*size, 8, "hello, x, x and y");
    assert!(*created_at > 1_700_000_000);
    place.store.remove(&reference("a:2")).expect("it is removed");
    let error = place.store.remove(&reference("a:2")).expect_err("it is gone");
    assert!(matches!(error, ImageError::NotFound { .. }), "{error}");
    assert_eq!(place.store.list().expect("the store can be listed").len(), 1);
}

#[tokio::test]
async fn a_local_digest_needs_no_name() {
    let place = Place::new();
    let image = place.imported_image("example:1", &two_layers()).await.expect("it is imported");
    let pinned = place.local(&format!("example@{}", image.digest)).await.expect("it is known by digest");
    assert_eq!(pinned.layers, image.layers);
}

#[tokio::test]
async fn importing_again_moves_the_name() {
    let place = Place::new();
    let old = place.imported_image("example", &two_layers()).await.expect("it is imported");
    let new = Archive::new().layer(Layer::new().file("new", b""));
    let new = place.imported_image("example", &new).await.expect("it is imported");
    assert_ne!(old.digest, new.digest);
    assert_eq!(place.local("example").await.expect("it is here").digest, new.digest);
}

#[tokio::test]
async fn repeated_layers_are_mounted_once() {
    let place = Place::new();
    let layer = || Layer::new().file("same", b"");
    let archive = Archive::new().layer(layer()).layer(Layer::new().file("other", b"")).layer(layer());
    let image = place.imported_image("example", &archive).await.expect("it is imported");
    assert_eq!(image.layers.len(), 2);
    assert!(image.layers[1].join("same").exists(), "the topmost stays");
}

#[tokio::test]
async fn what_is_refused_leaves_the_store_as_it_was() {
    let many = (0..5)
        .fold(Archive::new(), |archive, number| archive.layer(Layer::new().file(&number.to_string(), b"")));
    let docker = two_layers().docker();
    let mut damaged = two_layers().oci();
    let at = damaged.windows(5).position(|window| window == b"hello").expect("the content is plain");
    damaged[at] = b'j';
    let compressed = gzip(&docker);
    for (bytes, rule) in [
        (Archive::new().docker(), "no layers"),
        (many.docker(), "4 layers"),
        (two_layers().for_architecture("s390x").docker(), "for linux/s390x, this machine needs linux/"),
        (two_layers().for_architecture("s390x").oci_nested(), "linux/s390x"),
        (docker[..docker.len() / 2].to_vec(), "cut off"),
        (compressed[..compressed.len() / 2].to_vec(), "cut off"),
        (damaged, "but must have"),
        (b"this is no archive at all".to_vec(), "cut off"),
        (vec![0; 10240], "no files"),
    ] {
        let place = Place::with_limits(Limits { layers: 4, ..Limits::default() });
        let error = place.imported("example", &bytes).await.expect_err(rule);
        assert!(told(&error).contains(rule), "{rule}: {}", told(&error));
        assert!(place.store.list().expect("the store can be listed").is_empty());
        place.store.collect_garbage().expect("garbage is collected");
        assert_eq!(place.content(), Vec::<std::path::PathBuf>::new());
    }
}

#[tokio::test]
async fn busybox_is_imported_both_ways() {
    let place = Place::new();
    let path = place.directory.path().join("busybox.tar");
    let Some(path) = busybox_archive(&path).and_then(|path| {
        place.store.import(&reference("busybox:saved"), &path).expect("the archive is imported");
        busybox_rootfs_tar(&path)
    }) else {
        return testkit::missing_part("busybox_is_imported_both_ways", "static busybox");
    };
    place.store.import(&reference("busybox:rootfs"), &path).expect("the root file system is imported");
    let saved = place.local("busybox:saved").await.expect("it is here");
    let rootfs = place.local("busybox:rootfs").await.expect("it is here");
    assert_eq!(saved.layers, rootfs.layers);
    assert_eq!(
        fs::read_link(saved.layers[0].join("bin/sh")).expect("sh is a link").to_str(),
        Some("busybox")
    );
}

/// Something that must not be in a message, at the beginning of what no image begins with.
const PRIVATE: &str = "root:$6$private\n\u{1b}[31mprivate:x:0:0\r\n";

fn tells_nothing(error: &ImageError, what: &str) {
    let told = told(error);
    assert!(!told.contains("private") && !told.contains(char::is_control), "{what}: {told:?}");
    assert!(told.contains("/archive "), "{what}: {told:?} names the file");
}

#[tokio::test]
async fn nothing_of_a_file_that_is_no_image_is_told() {
    let text = PRIVATE.repeat(40).into_bytes();
    let header = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_data(&mut header, name, content).expect("memory writes");
        archive.into_inner().expect("memory writes")
    };
    let quoted = serde_json::to_string(PRIVATE).expect("a string is JSON");
    let manifest = |json: &str| header("manifest.json", json.as_bytes());
    let mut bad_size = header("x", b"");
    bad_size[124..136].copy_from_slice(b"private\n\x1b[0m");
    for (what, bytes) in [
        ("text", text.clone()),
        ("compressed text", gzip(&text)),
        ("what begins like a compressed file", [&[0x1f, 0x8b][..], &text].concat()),
        ("what begins like another compressed file", [&[0x28, 0xb5, 0x2f, 0xfd][..], &text].concat()),
        ("a header without a size", bad_size),
        ("a list of images that is a string", manifest(&quoted)),
        ("an image that is a string", manifest(&format!("[{quoted}]"))),
        ("an index", header("oci-layout", b"")),
    ] {
        let place = Place::new();
        let error = place.imported("x:1", &bytes).await.expect_err(what);
        tells_nothing(&error, what);
    }
    let missing = manifest(&format!(r#"[{{"Config": {quoted}, "Layers": []}}]"#));
    let error = Place::new().imported("x:1", &missing).await.expect_err("a file that is missing");
    assert!(told(&error).contains("is missing") && !told(&error).contains(char::is_control), "{error:?}");
}
