//! Pulling from a registry that lies, refuses or stumbles.

use crate::fake::Fake;
use crate::support::{Place, Silent, reference, told};
use axum::http::{HeaderMap, StatusCode};
use images::{ImageError, Limits, Login, RegistryCredentials};
use std::path::PathBuf;
use std::time::Duration;
use testkit::image::{Archive, Layer, digest};

fn example() -> Archive {
    Archive::new().layer(Layer::new().file("a", b"1")).layer(Layer::new().file("b", b"2")).gzip_layers()
}

/// Pulls, expects to hear `rule`, and finds nothing left behind.
async fn refused(place: &Place, fake: &Fake, rule: &str) -> ImageError {
    let error = place.local(&fake.name()).await.expect_err(rule);
    assert!(told(&error).contains(rule), "{rule}: {}", told(&error));
    place.store.collect_garbage().expect("garbage is collected");
    assert_eq!(place.content(), Vec::<PathBuf>::new());
    error
}

#[tokio::test]
async fn an_index_leads_to_this_machine_s_manifest() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.offer_index(&example());
    let image = place.local(&fake.name()).await.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(image.digest, digest(&example().manifest()));
    let pinned = format!("{}/team/tool@{}", fake.address, digest(&example().index()));
    fake.put(&format!("manifests/{}", digest(&example().index())), example().index());
    assert_eq!(place.local(&pinned).await.expect("an index can be pinned").digest, image.digest);
}

/// Which layers an image is of is said by whoever offers it.
#[tokio::test]
async fn who_serves_a_layer_slowly_keeps_nobody_from_it_elsewhere() {
    let (place, slow, quick) = (Place::new(), Fake::start().await, Fake::start().await);
    let layer = format!("blobs/{}", digest(&example().blobs()[0]));
    slow.offer(&example());
    slow.keep_waiting(layer.clone());
    quick.offer(&example());
    let (first, second) = (slow.name(), quick.name());
    let second = async {
        while slow.asked(&layer) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        place.local(&second).await
    };
    let either = async {
        tokio::select! {
            _ = place.local(&first) => panic!("it is still on its way"),
            image = second => image,
        }
    };
    let image = tokio::time::timeout(Duration::from_secs(30), Box::pin(either))
        .await
        .expect("it waits for the other");
    image.unwrap_or_else(|error| panic!("{}", told(&error)));
}

#[tokio::test]
async fn tokens() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.offer(&example());
    fake.want_token(None, None);
    place.local(&fake.name()).await.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(
        fake.asked("/token?service=fake&scope=repository%3Ateam%2Ftool%3Apull"),
        1,
        "one token opens all"
    );
}

#[tokio::test]
async fn tokens_for_a_user() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.offer(&example());
    fake.want_token(None, Some("Basic dXNlcjpzZWNyZXQ="));
    let error = refused(&place, &fake, "none are set").await;
    assert!(matches!(error, ImageError::Unauthorised { .. }));
    let login = Login::password("user", "secret");
    let credentials = RegistryCredentials::of_logins([(fake.address.clone(), login)]);
    place.resolve(&fake.name(), &credentials).await.unwrap_or_else(|error| panic!("{}", told(&error)));
}

#[tokio::test]
async fn a_token_that_runs_out_is_renewed() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.offer(&example());
    fake.want_token(None, None);
    let expiring = Expiring(&fake);
    let name = reference(&fake.name());
    place
        .store
        .resolve(&name, &RegistryCredentials::default(), &expiring)
        .await
        .unwrap_or_else(|error| panic!("{}", told(&error)));
    assert!(fake.asked("/token") > 1);
}

/// Lets tokens run out while layers are being fetched.
struct Expiring<'a>(&'a Fake);

impl images::Progress for Expiring<'_> {
    fn line(&self, text: &str) {
        if text.starts_with("layer 1 of 2: fetching") {
            self.0.expire_tokens();
        }
    }
}

#[tokio::test]
async fn a_token_server_where_none_may_be() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.offer(&example());
    fake.want_token(Some("http://169.254.169.254/latest/meta-data"), None);
    refused(&place, &fake, "must not be asked").await;
}

#[tokio::test]
async fn content_that_is_not_what_it_says() {
    let example = example();
    let layer = example.blobs().remove(1);
    for (kind, mut content) in
        [("manifests", example.manifest()), ("blobs", example.config()), ("blobs", layer)]
    {
        let (place, fake) = (Place::new(), Fake::start().await);
        fake.offer_index(&example);
        let path = format!("{kind}/{}", digest(&content));
        // In a compressed layer this is only the time of compression: it unpacks to the same files.
        content[4] ^= 1;
        fake.put(&path, content);
        let error = refused(&place, &fake, "but must have").await;
        assert!(matches!(error, ImageError::DigestMismatch { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_layer_that_is_cut_off_or_goes_on() {
    let blob = example().blobs().remove(0);
    let path = format!("blobs/{}", digest(&blob));
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.offer(&example());
    fake.put(&path, blob[..blob.len() - 10].to_vec());
    refused(&place, &fake, "cut off").await;
    fake.put(&path, [&blob[..], &[0; 100]].concat());
    refused(&place, &fake, "bytes that a layer has").await;
}

#[tokio::test]
async fn documents_that_are_too_large() {
    let (place, fake) = (
        Place::with_limits(Limits { manifest_bytes: 1000, config_bytes: 1000, ..Limits::default() }),
        Fake::start().await,
    );
    fake.put("manifests/1", vec![b' '; 2000]);
    refused(&place, &fake, "the manifest of").await;
    let archive = example().run_as(&[&"x".repeat(2000)], "", "");
    fake.offer(&archive);
    refused(&place, &fake, "the configuration of").await;
}

#[tokio::test]
async fn documents_that_are_nonsense() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.put("manifests/1", b"<html>".to_vec());
    refused(&place, &fake, "its manifest can't be read").await;
    let itself = Archive::new().index();
    fake.put("manifests/1", itself);
    refused(&place, &fake, "was not found").await;
    fake.offer(&Archive::new());
    refused(&place, &fake, "no layers").await;
    fake.put("manifests/1", br#"{"schemaVersion":2,"manifests":[]}"#.to_vec());
    refused(&place, &fake, "is for no platform").await;
}

#[tokio::test]
async fn a_registry_that_has_had_enough() {
    let (place, fake) = (Place::new(), Fake::start().await);
    let wait = [(axum::http::header::RETRY_AFTER, "30".parse().expect("a header"))];
    fake.refuse(StatusCode::TOO_MANY_REQUESTS, wait.into_iter().collect());
    let error = refused(&place, &fake, "retry after: 30").await;
    assert!(matches!(error, ImageError::RateLimited { .. }));
    fake.refuse(StatusCode::FORBIDDEN, HeaderMap::new());
    refused(&place, &fake, "set credentials").await;
    fake.refuse(StatusCode::IM_A_TEAPOT, HeaderMap::new());
    refused(&place, &fake, "418").await;
}

#[tokio::test]
async fn a_refusal_carries_what_the_registry_said() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.refuse_with(
        StatusCode::FORBIDDEN,
        r#"{"errors":[{"code":"DENIED","message":"project is archived"}]}"#,
    );
    let error = refused(&place, &fake, "it said: project is archived").await;
    assert!(matches!(error, ImageError::Unauthorised { .. }));
    // Some say so with another status than the one for it.
    fake.refuse_with(
        StatusCode::FORBIDDEN,
        r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#,
    );
    let error = refused(&place, &fake, "use a mirror").await;
    assert!(matches!(error, ImageError::RateLimited { .. }) && error.is_temporary());
}

#[tokio::test]
async fn an_index_without_this_machine_tells_what_it_has() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.put("manifests/1", example().for_architecture("s390x").index());
    let error = refused(&place, &fake, "is for plan9/mips, linux/s390x, this machine needs linux/").await;
    assert!(matches!(error, ImageError::WrongPlatform { .. }) && !error.is_temporary());
}

#[tokio::test]
async fn a_full_disk_is_named() {
    let Some(disk) = testkit::SmallDisk::mount("a_full_disk_is_named", 16 << 20) else { return };
    let fake = Fake::start().await;
    let noise = (0..20_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>();
    fake.offer(&Archive::new().layer(Layer::new().file("large", &noise)));
    let root = disk.path().join("store");
    {
        let store = images::ImageStore::open(root.clone()).expect("a new store opens");
        let nobody = RegistryCredentials::default();
        let error = store.resolve(&reference(&fake.name()), &nobody, &Silent).await.expect_err("it is full");
        let ImageError::DiskFull { path } = &error else { panic!("{}", told(&error)) };
        assert!(*path == root && path.exists() && error.is_temporary());
        assert!(error.to_string().contains("no room left"), "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_stumbles_is_asked_again() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.refuse(StatusCode::BAD_GATEWAY, HeaderMap::new());
    refused(&place, &fake, "502").await;
    assert_eq!(fake.asked("manifests/1"), 3);
}

#[tokio::test]
async fn a_redirect_out_of_this_machine_in_plain_text_is_not_followed() {
    let (place, fake) = (Place::new(), Fake::start().await);
    let to = [(axum::http::header::LOCATION, "http://169.254.169.254/".parse().expect("a header"))];
    fake.refuse(StatusCode::TEMPORARY_REDIRECT, to.into_iter().collect());
    refused(&place, &fake, "plain HTTP").await;
}

#[tokio::test]
async fn a_registry_that_is_not_there() {
    let place = Place::new();
    // Bound, so that nobody else listens there, and closed at once by us.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|free| free.local_addr())
        .expect("a free port")
        .port();
    let error = place.local(&format!("127.0.0.1:{port}/a:1")).await.expect_err("nobody answers");
    assert!(matches!(error, ImageError::Network { .. }), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn asking_twice_at_once_does_the_work_once() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.offer(&example());
    let name = reference(&fake.name());
    let nobody = RegistryCredentials::default();
    let resolve = || place.store.resolve(&name, &nobody, &Silent);
    let (a, b, c) = tokio::join!(resolve(), resolve(), resolve());
    let layers = a.expect("it is pulled").layers;
    assert_eq!((&layers, &layers), (&b.expect("it is pulled").layers, &c.expect("it is pulled").layers));
    assert_eq!(fake.asked("manifests/1"), 1);
    for blob in example().blobs() {
        assert_eq!(fake.asked(&digest(&blob)), 1);
    }
}

#[tokio::test]
async fn layers_that_are_here_are_not_fetched() {
    let (place, fake) = (Place::new(), Fake::start().await);
    place
        .imported_image("base", &Archive::new().layer(Layer::new().file("a", b"1")))
        .await
        .expect("it is imported");
    fake.offer(&example());
    place.local(&fake.name()).await.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(fake.asked(&digest(&example().blobs()[0])), 0);
    assert_eq!(fake.asked(&digest(&example().blobs()[1])), 1);
}

#[tokio::test]
async fn a_pull_that_is_given_up_leaves_nothing() {
    let (place, fake) = (Place::new(), Fake::start().await);
    fake.offer(&example());
    let name = reference(&fake.name());
    let nobody = RegistryCredentials::default();
    {
        let mut pulling = std::pin::pin!(place.store.resolve(&name, &nobody, &Silent));
        std::future::poll_fn(|context| {
            let _ = pulling.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
    }
    place.local(&fake.name()).await.expect("the next one is not in its way");
}
