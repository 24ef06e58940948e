//! What is collected and what is not, also across processes.

use crate::support::{Place, reference};
use images::{Collected, ImageStore};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use testkit::image::{Archive, Layer};

fn image(content: &[u8]) -> Archive {
    Archive::new().layer(Layer::new().file("shared", b"both")).layer(Layer::new().file("own", content))
}

#[tokio::test]
async fn only_what_nobody_needs_is_collected() {
    let place = Place::new();
    let a = place.imported_image("a", &image(b"only a")).await.expect("it is imported");
    let b = place.imported_image("b", &image(b"only b")).await.expect("it is imported");
    drop(b);
    assert_eq!(place.store.collect_garbage().expect("it runs"), Collected::default(), "all have names");

    place.store.remove(&reference("a")).expect("it is removed");
    place.store.remove(&reference("b")).expect("it is removed");
    let collected = place.store.collect_garbage().expect("it runs");
    assert_eq!(collected, Collected { layers: 1, bytes: 6 }, "a holds its own and the shared layer");
    assert!(a.layers.iter().all(|layer| layer.exists()));

    let copy = a.clone();
    drop(a);
    assert_eq!(
        place.store.collect_garbage().expect("it runs"),
        Collected::default(),
        "the copy still holds them"
    );
    drop(copy);
    assert_eq!(place.store.collect_garbage().expect("it runs").layers, 2);
    assert_eq!(place.content(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn other_users_of_the_store_hold_layers_too() {
    let place = Place::new();
    let held = place.imported_image("a", &image(b"a")).await.expect("it is imported");
    let other = ImageStore::open(place.root()).expect("a store may be opened twice");
    other.remove(&reference("a")).expect("it is removed");
    assert_eq!(other.collect_garbage().expect("it runs"), Collected::default());
    drop(held);
    assert_eq!(other.collect_garbage().expect("it runs").layers, 2);
    place.local("a").await.expect_err("it is gone for us as well");
}

#[tokio::test]
async fn a_collected_image_can_be_had_again() {
    let place = Place::new();
    drop(place.imported_image("a", &image(b"a")).await.expect("it is imported"));
    place.store.remove(&reference("a")).expect("it is removed");
    place.store.collect_garbage().expect("it runs");
    let again = place.imported_image("a", &image(b"a")).await.expect("nothing remembers it wrongly");
    assert!(again.layers.iter().all(|layer| layer.exists()));
}

#[test]
fn what_dead_processes_left_is_removed_at_the_next_start() {
    let place = Place::new();
    let tmp = place.root().join("tmp");
    let session = |name: &str| {
        fs::create_dir_all(tmp.join(name).join("work-1/fs/sub")).expect("the test may write");
        fs::write(tmp.join(name).join("alive"), b"").expect("the test may write");
        tmp.join(name)
    };
    let (dead, living) = (session("session-dead"), session("session-living"));
    // Another process that holds its lock, as a living one does; it ends when its input does.
    let mut process = Command::new("flock")
        .arg(living.join("alive"))
        .args(["sh", "-c", "echo held; read end"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("util-linux is everywhere");
    let mut said = String::new();
    let mut lines = std::io::BufReader::new(process.stdout.take().expect("a pipe"));
    std::io::BufRead::read_line(&mut lines, &mut said).expect("it says when it has the lock");
    ImageStore::open(place.root()).expect("the store opens");
    assert!(!dead.exists());
    assert!(living.join("work-1/fs/sub").exists());
    drop(process.stdin.take());
    process.wait().expect("it ends");
    ImageStore::open(place.root()).expect("the store opens");
    assert!(!living.exists());
}

#[tokio::test]
async fn the_warm_path_is_quick() {
    let place = Place::new();
    let _held = place.imported_image("a", &image(b"a")).await.expect("it is imported");
    let mut times = Vec::new();
    for _ in 0..101 {
        let start = std::time::Instant::now();
        place.local("a").await.expect("it is here");
        times.push(start.elapsed());
    }
    times.sort();
    assert!(times[50].as_micros() < 1000, "median {:?}", times[50]);
}
