//! What one server at a time does for all.

use super::world::{Setup, World};
use jiff::SignedDuration;
use std::time::Duration;

const TERM: Duration = Duration::from_secs(20);

pub(crate) async fn a_duty_is_one_holders_until_its_time_is_over(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let holds = async |who: &str| world.store.hold_duty("scaling", who, TERM).await.unwrap();
    assert!(holds("a").await);
    assert!(!holds("b").await);
    assert!(world.store.hold_duty("other", "b", TERM).await.unwrap(), "each is somebody's own");
    // It is prolonged for as long as its holder asks.
    for _ in 0..5 {
        world.advance(15);
        assert!(holds("a").await && !holds("b").await);
    }
    world.advance(19);
    assert!(!holds("b").await);
    world.advance(1);
    assert!(holds("b").await, "the other one is gone");
    assert!(!holds("a").await, "and finds so when it comes again");
}

/// Servers take the time to be a little different, and each asks with its own.
pub(crate) async fn a_duty_is_not_taken_by_whoever_is_a_little_behind(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let holds = async |who: &str| world.store.hold_duty("scaling", who, TERM).await.unwrap();
    assert!(holds("a").await);
    for behind in [SignedDuration::from_millis(1), SignedDuration::from_secs(5)] {
        world.clock.advance(-behind);
        assert!(!holds("b").await, "{behind} behind");
        assert!(holds("a").await);
    }
}

pub(crate) async fn a_duty_that_is_given_up_is_anybodys(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let holds = async |who: &str| world.store.hold_duty("scaling", who, TERM).await.unwrap();
    assert!(holds("a").await);
    world.store.give_up_duty("scaling", "b").await.unwrap();
    assert!(!holds("b").await, "nobody gives up what is another's");
    world.store.give_up_duty("scaling", "a").await.unwrap();
    assert!(holds("b").await && !holds("a").await);
    // A clock that was set back leaves nobody with it for as long as that.
    world.clock.advance(SignedDuration::from_hours(-1));
    assert!(holds("a").await && !holds("b").await);
}

pub(crate) async fn of_those_that_race_for_a_duty_one_has_it(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for round in 0..10 {
        let names: Vec<String> = (0..8).map(|number| format!("{round}-{number}")).collect();
        let all = names.iter().map(|who| world.store.hold_duty("scaling", who, TERM));
        let held = futures_util::future::join_all(all).await;
        let holders = held.into_iter().filter(|held| *held.as_ref().unwrap()).count();
        assert_eq!(holders, 1, "round {round}");
        world.advance(20);
    }
}
