//! `executor sim`.

use crate::support::text;
use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_executor")).arg("sim").args(args).env_clear().output().unwrap()
}

#[test]
fn schedules_are_counted_and_a_seed_prints_the_same_again() {
    let many = sim(&["--schedules", "3", "--seed", "7"]);
    assert_eq!(many.status.code(), Some(0), "{}", text(&many));
    assert!(text(&many).contains("3 schedules from seed 7 on, "), "{}", text(&many));
    let lines = || {
        let one = sim(&["--seed", "8", "--timeline", "--json"]);
        assert_eq!(one.status.code(), Some(0), "{}", text(&one));
        let json: serde_json::Value = serde_json::from_slice(&one.stdout).unwrap();
        json["timeline"].clone()
    };
    let first = lines();
    assert!(first.as_array().is_some_and(|lines| lines.len() > 10), "{first}");
    assert_eq!(first, lines());
}

#[test]
fn a_broken_rule_is_told_with_its_seed_and_what_led_there() {
    let args = ["--plant", "commit-lost", "--faults", "servers", "--schedules", "100"];
    let (first, second) = (sim(&args), sim(&args));
    assert_eq!(first.status.code(), Some(1), "{}", text(&first));
    let told = String::from_utf8(first.stdout).unwrap();
    let broken = |line: &&str| line.starts_with("seed ") && line.contains(" breaks durable: ");
    assert!(told.lines().any(|line| broken(&line)), "{told}");
    assert!(told.contains("server    dies, for "), "{told}");
    assert_eq!(told, String::from_utf8(second.stdout).unwrap());
    let unknown = sim(&["--faults", "rain"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown));
    assert!(text(&unknown).contains("unknown fault \"rain\""), "{}", text(&unknown));
}
