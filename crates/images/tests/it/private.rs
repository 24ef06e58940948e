//! Nobody gets a stranger's image from the store without showing that they may pull it.

use crate::fake::Fake;
use crate::real::{Known as _, example};
use crate::support::{Place, Told, reference, told};
use crate::tokens::TokenServer;
use axum::http::{HeaderMap, StatusCode};
use images::{Image, ImageError, Login, RegistryCredentials};
use testkit::image::{Archive, Layer, digest};
use testkit::registry::{PASSWORD, Registry, Setup};

fn nobody() -> RegistryCredentials {
    RegistryCredentials::default()
}

fn login(registry: &str, user: &str, password: &str) -> RegistryCredentials {
    RegistryCredentials::of_logins([(registry.to_owned(), Login::password(user, password))])
}

fn had(image: Result<Image, ImageError>) -> Image {
    image.unwrap_or_else(|error| panic!("{}", told(&error)))
}

#[tokio::test]
async fn a_private_image_in_the_store_is_for_those_who_may_pull_it() {
    let test = "a_private_image_in_the_store_is_for_those_who_may_pull_it";
    let setup = Setup { password: true, ..Setup::default() };
    let Some(mut registry) = Registry::start(test, &setup) else { return };
    registry.push("team/tool:1", &example());
    let place = Place::new();
    let name = registry.name("team/tool:1");
    let pulled = had(place.resolve(&name, &registry.credentials(PASSWORD)).await);
    let pinned = registry.name(&format!("team/tool@{}", pulled.digest));
    for asked in [&name, &pinned] {
        for (credentials, reason) in
            [(nobody(), "none are set"), (registry.credentials("wrong"), "not accepted")]
        {
            let error = place.resolve(asked, &credentials).await.expect_err(reason);
            assert!(matches!(error, ImageError::Unauthorised { .. }), "{}", told(&error));
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
    let progress = Told::default();
    let asked = reference(&name);
    let again = place.store.resolve(&asked, &registry.credentials(PASSWORD), &progress).await;
    assert_eq!(had(again).layers, pulled.layers);
    let lines = progress.take();
    assert!(lines.len() == 1 && lines[0].contains("asking"), "nothing was pulled: {lines:?}");

    registry.stop();
    let again = place.resolve(&name, &registry.credentials(PASSWORD)).await;
    assert_eq!(had(again).layers, pulled.layers, "what was proved a moment ago is");
    for credentials in [nobody(), registry.credentials("wrong")] {
        let error = place.resolve(&name, &credentials).await.expect_err("nobody says so");
        assert!(matches!(error, ImageError::Unproved { .. }) && error.is_temporary(), "{}", told(&error));
        assert!(told(&error).contains("can't reach"), "{}", told(&error));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_tenant_has_its_own_repository() {
    let tokens = TokenServer::start(&[("john:secret", "john/tool"), ("mary:secret", "mary/tool")]).await;
    let setup = Setup { tokens: Some(tokens.for_registry()), ..Setup::default() };
    let Some(registry) = Registry::start("each_tenant_has_its_own_repository", &setup) else { return };
    registry.push("john/tool:1", &example());
    registry.push("mary/tool:1", &example());
    let place = Place::new();
    let (john, mary) =
        (login(&registry.address, "john", "secret"), login(&registry.address, "mary", "secret"));
    let (of_john, of_mary) = (registry.name("john/tool:1"), registry.name("mary/tool:1"));
    let pulled = had(place.resolve(&of_john, &john).await);
    let error = place.resolve(&of_john, &mary).await.expect_err("it is John's");
    assert!(matches!(error, ImageError::Unauthorised { .. }), "{}", told(&error));

    // The same content, but she has to show that it is hers as well: by fetching it.
    let progress = Told::default();
    let same = had(place.store.resolve(&reference(&of_mary), &mary, &progress).await);
    assert_eq!(same.layers, pulled.layers);
    let fetched = progress.take().iter().filter(|line| line.contains("fetching")).count();
    assert_eq!(fetched, 2);
    let error = place.resolve(&of_mary, &john).await.expect_err("it is Mary's");
    assert!(matches!(error, ImageError::Unauthorised { .. }), "{}", told(&error));
    had(place.resolve(&of_john, &john).await);

    // Of the same repository nothing is fetched twice.
    registry.push("mary/tool:2", &example().layer(Layer::new().file("new", b"1")));
    had(place.store.resolve(&reference(&registry.name("mary/tool:2")), &mary, &progress).await);
    let lines = progress.take();
    assert_eq!(lines.iter().filter(|line| line.contains("is here already")).count(), 2, "{lines:?}");
}

/// A store with a stranger's private image, and a registry of the thief's own.
async fn with_a_private_image() -> (Place, Fake, Fake, Image) {
    let (place, honest, thief) = (Place::new(), Fake::start().await, Fake::start().await);
    honest.offer(&example());
    honest.want_token(None, Some("Basic dXNlcjpzZWNyZXQ="));
    let image = had(place.resolve(&honest.name(), &login(&honest.address, "user", "secret")).await);
    (place, honest, thief, image)
}

#[tokio::test]
async fn a_known_digest_opens_nothing() {
    let (place, honest, thief, image) = with_a_private_image().await;
    // A registry that says yes to everything, and has nothing.
    thief.put(&format!("manifests/{}", image.digest), Vec::new());
    let names = [
        format!("{}/team/tool@{}", thief.address, image.digest),
        format!("{}/team/tool:1@{}", thief.address, image.digest),
        format!("{}/other/tool@{}", honest.address, image.digest),
        format!("{}/team/tool@{}", honest.address, image.digest),
    ];
    for name in names {
        let error = place.resolve(&name, &nobody()).await.expect_err(&name);
        assert!(!error.is_temporary(), "{name}: {}", told(&error));
    }
}

#[tokio::test]
async fn a_manifest_of_ones_own_does_not_open_a_strangers_layers() {
    let (place, _honest, thief, image) = with_a_private_image().await;
    // All that names the layers is known, and their content isn't.
    let known = example();
    thief.put("manifests/1", known.manifest());
    thief.put(&format!("blobs/{}", digest(&known.config())), known.config());
    let error = place.local(&thief.name()).await.expect_err("the layers are not there");
    assert!(matches!(error, ImageError::NotFound { .. }), "{}", told(&error));
    for blob in known.blobs() {
        thief.put(&format!("blobs/{}", digest(&blob)), Archive::new().layer(Layer::new()).blobs().remove(0));
    }
    let error = place.local(&thief.name()).await.expect_err("the layers are others");
    assert!(told(&error).contains("must have") || told(&error).contains("cut off"), "{}", told(&error));
    // Whoever has the content may have it.
    thief.offer(&known);
    assert_eq!(had(place.local(&thief.name()).await).layers, image.layers);
}

#[tokio::test]
async fn what_is_for_everyone_needs_no_registry() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.offer(&example());
    // Tokens for whoever asks, as Docker Hub has for public images, also with a login.
    fake.want_token(None, None);
    had(place.local(&fake.name()).await);
    had(place.imported_image("imported", &example()).await);
    fake.refuse(StatusCode::BAD_GATEWAY, HeaderMap::new());
    let asked = fake.asked("");
    had(place.local(&fake.name()).await);
    had(place.local("imported").await);
    had(place.local(&format!("elsewhere.test/any@{}", digest(&example().manifest()))).await);
    assert_eq!(fake.asked(""), asked, "nobody was asked");
}

#[tokio::test]
async fn a_login_that_was_not_needed_makes_nothing_private() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.offer(&example());
    fake.want_token_of_anyone();
    had(place.resolve(&fake.name(), &login(&fake.address, "user", "secret")).await);
    assert!(fake.shown().iter().any(|shown| shown.starts_with("Basic ")), "the login was shown");
    fake.refuse(StatusCode::BAD_GATEWAY, HeaderMap::new());
    had(place.local(&fake.name()).await);
}

#[tokio::test]
async fn an_image_that_becomes_public_is_free_from_then_on() {
    let (place, honest, _, image) = with_a_private_image().await;
    honest.accept();
    had(place.local(&honest.name()).await);
    honest.refuse(StatusCode::BAD_GATEWAY, HeaderMap::new());
    had(place.local(&honest.name()).await);
    // Its layers, too, in another process.
    let other = images::ImageStore::open(place.root()).expect("a store may be opened twice");
    let anywhere = reference(&format!("elsewhere.test/any@{}", image.digest));
    had(other.resolve(&anywhere, &nobody(), &Told::default()).await);
}

#[tokio::test]
async fn an_image_that_the_registry_lost_is_pulled_anew() {
    let (place, honest, _, image) = with_a_private_image().await;
    let user = login(&honest.address, "user", "secret");
    let newer = example().layer(Layer::new().file("new", b"1"));
    honest.offer(&newer);
    honest.remove(&format!("manifests/{}", image.digest));
    let pulled = had(place.resolve(&honest.name(), &user).await);
    assert_eq!(pulled.digest, digest(&newer.manifest()));
    place.resolve(&honest.name(), &nobody()).await.expect_err("it is as private as before");
}

#[tokio::test]
async fn a_tag_that_moves_changes_nothing_here() {
    let (place, honest, _, image) = with_a_private_image().await;
    honest.offer(&example().layer(Layer::new().file("new", b"1")));
    let again = had(place.resolve(&honest.name(), &login(&honest.address, "user", "secret")).await);
    assert_eq!((again.digest, again.layers), (image.digest, image.layers));
}

#[tokio::test]
async fn only_a_clear_yes_opens() {
    let (place, honest, _, _) = with_a_private_image().await;
    let user = login(&honest.address, "user", "other");
    let name = honest.name();
    let asked = |status: u16| {
        honest.refuse(StatusCode::from_u16(status).expect("a status"), HeaderMap::new());
        place.resolve(&name, &user)
    };
    for status in [429, 500, 418] {
        let error = asked(status).await.expect_err("no answer");
        assert!(matches!(error, ImageError::Unproved { .. }), "{status}: {}", told(&error));
    }
    for status in [403, 404] {
        let error = asked(status).await.expect_err("a refusal");
        assert!(!error.is_temporary(), "{status}: {}", told(&error));
    }
}

#[tokio::test]
async fn garbage_collection_forgets_whose_it_was() {
    let (place, honest, _, image) = with_a_private_image().await;
    assert_eq!(place.content().iter().filter(|path| path.starts_with("access")).count(), 3);
    drop(image);
    place.store.collect_garbage().expect("garbage is collected");
    assert_eq!(place.content().iter().filter(|path| path.starts_with("access")).count(), 3, "it has a name");
    place.store.remove(&reference(&honest.name())).expect("it has a name");
    place.store.collect_garbage().expect("garbage is collected");
    assert_eq!(place.content(), Vec::<std::path::PathBuf>::new());
}
