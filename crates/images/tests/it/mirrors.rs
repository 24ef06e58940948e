//! Mirrors of Docker Hub, which here is a registry of the test's own.

use crate::fake::Fake;
use crate::real::{Known as _, example};
use crate::support::{Place, Told, reference, told};
use axum::http::{HeaderMap, StatusCode};
use images::{Image, ImageError, Login, Mirror, Options, RegistryCredentials};
use std::net::TcpListener;
use testkit::image::{Archive, Layer, digest};
use testkit::registry::{PASSWORD, Registry, Setup, USER};

const IMAGE: &str = "team/tool:1";
/// What a Docker configuration calls Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";

fn mirror(address: &str) -> Mirror {
    format!("http://{address}").parse().expect("a good address")
}

fn place(hub: Mirror, mirrors: &[Mirror]) -> Place {
    let options = Options { docker_hub: Some(hub), mirrors: mirrors.to_vec(), ..Options::default() };
    Place::with_options(options)
}

fn had(image: Result<Image, ImageError>) -> Image {
    image.unwrap_or_else(|error| panic!("{}", told(&error)))
}

/// An address where nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").to_string()
}

#[tokio::test]
async fn a_pull_through_registry() {
    let Some(mut hub) = Registry::start("a_pull_through_registry", &Setup::default()) else { return };
    let setup = Setup { proxy_of: Some(&hub), ..Setup::default() };
    let Some(through) = Registry::start("a_pull_through_registry", &setup) else { return };
    hub.push("library/tool:1", &example());
    let mirrors = [through.mirror()];
    let image = had(place(hub.mirror(), &mirrors).local("tool:1").await);
    assert_eq!(image.layers.len(), 2);
    hub.stop();
    let progress = Told::default();
    let elsewhere = place(hub.mirror(), &mirrors);
    let nobody = RegistryCredentials::default();
    let again = had(elsewhere.store.resolve(&reference("tool:1"), &nobody, &progress).await);
    assert_eq!(again.digest, image.digest, "the mirror has it");
    let lines = progress.take();
    assert!(!lines.iter().any(|line| line.contains("passed over")), "{lines:?}");
    let error = elsewhere.local("other:1").await.expect_err("neither has it");
    assert!(matches!(error, ImageError::Network { .. }), "{}", told(&error));
    assert!(error.to_string().contains("docker.io"), "{error}");
}

#[tokio::test]
async fn mirrors_are_tried_in_order_and_passed_over_when_they_fail() {
    let (hub, empty, full) = (Fake::start().await, Fake::start().await, Fake::start().await);
    full.offer(&example());
    hub.offer(&example());
    let dead = nobody();
    let progress = Told::default();
    let mirrors = [mirror(&dead), mirror(&empty.address), mirror(&full.address)];
    let credentials = RegistryCredentials::default();
    let place_one = place(mirror(&hub.address), &mirrors);
    had(place_one.store.resolve(&reference(IMAGE), &credentials, &progress).await);
    let lines = progress.take();
    let over: Vec<_> = lines.iter().filter(|line| line.contains("passed over")).collect();
    assert_eq!(over.len(), 2, "{lines:?}");
    assert!(over[0].contains(&dead) && over[0].contains("can't reach"), "{over:?}");
    assert!(over[1].contains(&empty.address) && over[1].contains("was not found"), "{over:?}");
    assert_eq!((empty.asked(""), hub.asked("")), (1, 0));

    let place_two = place(mirror(&hub.address), &mirrors[..2]);
    had(place_two.local(IMAGE).await);
    assert!(hub.asked("manifests/1") == 1 && empty.asked("") == 2);
}

#[tokio::test]
async fn other_registries_are_not_mirrored() {
    let (other, fake) = (Fake::start().await, Fake::start().await);
    other.offer(&example());
    fake.offer(&example());
    had(place(mirror(&nobody()), &[mirror(&fake.address)]).local(&other.name()).await);
    assert_eq!(fake.asked(""), 0);
}

#[tokio::test]
async fn what_is_meant_for_docker_hub_is_shown_to_no_mirror() {
    let (hub, fake) = (Fake::start().await, Fake::start().await);
    hub.offer(&example());
    hub.want_token(None, Some("Basic dXNlcjpzZWNyZXQ="));
    // It wants a login, and would take any.
    fake.offer(&example());
    fake.want_token(None, Some("Basic dXNlcjpzZWNyZXQ="));
    let credentials =
        RegistryCredentials::of_logins([(HUB_KEY.to_owned(), Login::password("user", "secret"))]);
    let place = place(mirror(&hub.address), &[mirror(&fake.address)]);
    had(place.resolve(IMAGE, &credentials).await);
    assert!(fake.asked("") > 0 && !hub.shown().is_empty());
    assert_eq!(fake.shown(), Vec::<String>::new());
    // Nor when it is only asked who may have the image.
    had(place.resolve(IMAGE, &credentials).await);
    assert_eq!(fake.shown(), Vec::<String>::new());
    place.local(IMAGE).await.expect_err("it is private");
}

#[tokio::test]
async fn a_mirror_with_a_login_of_its_own() {
    let setup = Setup { password: true, ..Setup::default() };
    let Some(registry) = Registry::start("a_mirror_with_a_login_of_its_own", &setup) else { return };
    registry.push(IMAGE, &example());
    let hub = Fake::start().await;
    let logins = [
        (HUB_KEY.to_owned(), Login::password("user", "secret")),
        (registry.address.clone(), Login::password(USER, PASSWORD)),
    ];
    let place = place(mirror(&hub.address), &[registry.mirror()]);
    let credentials = RegistryCredentials::of_logins(logins);
    had(place.resolve(IMAGE, &credentials).await);
    had(place.resolve(IMAGE, &credentials).await);
    assert_eq!(hub.asked("blobs/"), 0);
    place.local(IMAGE).await.expect_err("it is private");
}

#[tokio::test]
async fn a_mirror_that_lies_is_passed_over() {
    let example = Archive::new().layer(Layer::new().file("a", b"1")).gzip_layers();
    let blob = example.blobs().remove(0);
    let layer = format!("blobs/{}", digest(&blob));
    let other = Archive::new().layer(Layer::new().file("a", b"2"));
    for (path, content) in [
        ("manifests/1".to_owned(), b"<html>".to_vec()),
        (format!("manifests/{}", digest(&example.manifest())), other.manifest()),
        (format!("blobs/{}", digest(&example.config())), other.config()),
        (layer.clone(), blob[..blob.len() - 10].to_vec()),
        (layer, other.blobs().remove(0)),
    ] {
        let (hub, fake) = (Fake::start().await, Fake::start().await);
        hub.offer_index(&example);
        fake.offer_index(&example);
        fake.put(&path, content);
        let progress = Told::default();
        let place = place(mirror(&hub.address), &[mirror(&fake.address)]);
        let nobody = RegistryCredentials::default();
        let image = had(place.store.resolve(&reference(IMAGE), &nobody, &progress).await);
        assert_eq!(image.digest, digest(&example.manifest()));
        let lines = progress.take();
        assert!(lines.iter().any(|line| line.contains("passed over")), "{path}: {lines:?}");
    }
}

#[tokio::test]
async fn a_layer_that_a_mirror_breaks_off_costs_the_image_nothing() {
    let large = Archive::new().layer(Layer::new().file("a", &vec![b'x'; 600_000]));
    let blob = large.blobs().remove(0);
    let (hub, fake) = (Fake::start().await, Fake::start().await);
    hub.offer(&large);
    fake.offer(&large);
    fake.put(&format!("blobs/{}", digest(&blob)), blob[..590_000].to_vec());
    let limits = images::Limits { unpacked_bytes: 1_000_000, ..images::Limits::default() };
    let place = Place::with_options(Options {
        limits,
        docker_hub: Some(mirror(&hub.address)),
        mirrors: vec![mirror(&fake.address)],
        ..Options::default()
    });
    had(place.local(IMAGE).await);
}

#[tokio::test]
async fn a_mirror_that_has_had_enough_is_not_asked_for_the_rest() {
    let (hub, fake) = (Fake::start().await, Fake::start().await);
    hub.offer(&example());
    fake.refuse(StatusCode::TOO_MANY_REQUESTS, HeaderMap::new());
    had(place(mirror(&hub.address), &[mirror(&fake.address)]).local(IMAGE).await);
    assert_eq!(fake.asked(""), 1);
}
