//! Pulled images that nobody used for long, and disks that are short of room.

use crate::fake::Fake;
use crate::support::{Place, reference, told};
use images::{Image, ImageStore, Keep, LetGo};
use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use testkit::image::{Archive, Layer};

const DAY: Duration = Duration::from_hours(24);

fn image(own: &[u8]) -> Archive {
    Archive::new().layer(Layer::new().file("shared", b"both")).layer(Layer::new().file("own", own))
}

/// A registry with one image, which was pulled from it.
async fn pulled(place: &Place, own: &[u8]) -> (Fake, Image) {
    let fake = Fake::start().await;
    fake.offer(&image(own));
    let image = place.local(&fake.name()).await.unwrap_or_else(|error| panic!("{}", told(&error)));
    (fake, image)
}

/// Keeps what was used within a week, `later`.
fn after(later: Duration, store: &ImageStore) -> LetGo {
    let now = SystemTime::now() + later;
    let keep = Keep { now, used_within: 7 * DAY, always_within: DAY / 24, is_short: &|| false };
    store.let_go_of_unused(&keep).expect("it looks")
}

/// The same of a disk that is short until `enough` images are gone.
fn short_until(enough: usize, place: &Place) -> LetGo {
    let now = SystemTime::now() + DAY;
    let before = place.store.list().expect("it can be listed").len();
    let is_short = || place.store.list().expect("it can be listed").len() + enough > before;
    let keep = Keep { now, used_within: 7 * DAY, always_within: DAY / 24, is_short: &is_short };
    place.store.let_go_of_unused(&keep).expect("it looks")
}

fn used(place: &Place, name: &str, when: SystemTime) {
    let file = place.root().join("names").join(file_of(&reference(name).to_string()));
    let file = std::fs::OpenOptions::new().write(true).open(file).expect("it has a name");
    file.set_modified(when).expect("the test may write");
}

/// The name's file is named by the digest of the name.
fn file_of(name: &str) -> String {
    testkit::image::digest(name.as_bytes()).trim_start_matches("sha256:").to_owned()
}

fn names(place: &Place) -> Vec<String> {
    let all = place.store.list().expect("it can be listed");
    all.into_iter().map(|image| image.reference.to_string()).collect()
}

#[tokio::test]
async fn what_was_pulled_goes_when_unused_for_long_and_what_was_imported_stays() {
    let place = Place::new();
    drop(place.imported_image("mine", &image(b"mine")).await.expect("it is imported"));
    let (fake, pulled) = pulled(&place, b"theirs").await;
    drop(pulled);
    assert_eq!(after(6 * DAY, &place.store), LetGo::default());
    let gone = after(8 * DAY, &place.store);
    assert_eq!(gone.images.len(), 1);
    assert_eq!(gone.images[0].reference, reference(&fake.name()));
    assert_eq!((gone.collected.layers, gone.collected.bytes), (1, 6), "the other one is shared");
    assert_eq!(names(&place), [reference("mine").to_string()]);
    drop(place.local(&fake.name()).await.expect("it is pulled again"));
    assert_eq!(after(900 * DAY, &place.store).images.len(), 1);
    place.local("mine").await.expect("it is whole");
}

#[tokio::test]
async fn what_is_in_use_stays_and_counts_as_used() {
    let place = Place::new();
    let (_fake, held) = pulled(&place, b"theirs").await;
    let other = ImageStore::open(place.root()).expect("a store may be opened twice");
    for store in [&place.store, &other] {
        assert_eq!(after(8 * DAY, store), LetGo::default());
    }
    assert!(held.layers.iter().all(|layer| layer.exists()));
    drop(held);
    assert_eq!(after(9 * DAY, &other), LetGo::default(), "it was in use a day before");
    assert_eq!(after(16 * DAY, &other).images.len(), 1);
    assert_eq!(place.content(), Vec::<PathBuf>::new());
}

/// The records and marks of a version that noted neither uses nor where an image came from.
fn as_an_older_version_left_it(place: &Place, with_marks: bool) {
    for name in std::fs::read_dir(place.root().join("names")).expect("there are names") {
        let path = name.expect("it is listed").path();
        let text = std::fs::read(&path).expect("it is read");
        let mut record: serde_json::Value = serde_json::from_slice(&text).expect("it is JSON");
        record.as_object_mut().expect("it is a record").remove("pulled").expect("it says so now");
        std::fs::write(&path, record.to_string()).expect("the test may write");
    }
    if !with_marks {
        let access = place.root().join("access");
        std::fs::remove_dir_all(&access).and_then(|()| std::fs::create_dir(&access)).expect("the test may");
    }
}

#[tokio::test]
async fn what_an_older_version_pulled_counts_as_used_when_it_is_first_seen() {
    let place = Place::new();
    let (fake, image) = pulled(&place, b"theirs").await;
    drop(image);
    as_an_older_version_left_it(&place, false);
    used(&place, &fake.name(), SystemTime::now() - 30 * DAY);
    assert_eq!(after(8 * DAY, &place.store), LetGo::default());
    assert_eq!(after(14 * DAY, &place.store), LetGo::default());
    assert_eq!(after(16 * DAY, &place.store).images.len(), 1);
    assert_eq!(place.content(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn what_an_older_version_may_have_imported_stays() {
    let place = Place::new();
    drop(place.imported_image("mine", &image(b"mine")).await.expect("it is imported"));
    as_an_older_version_left_it(&place, true);
    for later in [8 * DAY, 900 * DAY] {
        assert_eq!(after(later, &place.store), LetGo::default());
    }
    place.local("mine").await.expect("it is whole");
}

#[tokio::test]
async fn a_use_is_noted() {
    let place = Place::new();
    let (fake, image) = pulled(&place, b"theirs").await;
    drop(image);
    used(&place, &fake.name(), SystemTime::now() - 30 * DAY);
    drop(place.local(&fake.name()).await.expect("it is here"));
    assert_eq!(after(Duration::ZERO, &place.store), LetGo::default());
}

#[tokio::test]
async fn a_short_disk_costs_the_least_recently_used_first() {
    let place = Place::new();
    let now = SystemTime::now();
    let mut fakes = Vec::new();
    for (own, ago) in [(b"a", DAY), (b"b", 3 * DAY), (b"c", 2 * DAY)] {
        let (fake, image) = pulled(&place, own).await;
        drop(image);
        used(&place, &fake.name(), now - ago);
        fakes.push(fake);
    }
    assert!(short_until(0, &place).images.is_empty(), "there is room");
    let gone = short_until(2, &place);
    let gone: Vec<_> = gone.images.into_iter().map(|image| image.reference).collect();
    assert_eq!(gone, [reference(&fakes[1].name()), reference(&fakes[2].name())]);
    assert_eq!(names(&place), [reference(&fakes[0].name()).to_string()]);
}

#[tokio::test]
async fn what_was_just_used_stays_however_short_the_disk_is() {
    let place = Place::new();
    let (_fake, image) = pulled(&place, b"theirs").await;
    drop(image);
    let asked = Cell::new(0);
    let is_short = || {
        asked.set(asked.get() + 1);
        true
    };
    let now = SystemTime::now();
    let keep = Keep { now, used_within: 7 * DAY, always_within: DAY, is_short: &is_short };
    assert_eq!(place.store.let_go_of_unused(&keep).expect("it looks"), LetGo::default());
    assert!(asked.get() > 0);
    assert_eq!(names(&place).len(), 1);
}
