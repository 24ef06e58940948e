//! Lanes of two owners.

use super::*;

fn row(id: i64, owner: &str, needs: &str) -> LaneRow {
    let needs = serde_json::from_str(needs).unwrap();
    LaneRow { id, queue: "batches".to_owned(), owner: owner.to_owned(), needs, version: 1 }
}

fn lanes(rules: Rules) -> Lanes {
    let lanes = Lanes::default();
    let rows = vec![row(1, "ann", "{}"), row(2, "bob", r#"{"cpus":8}"#)];
    lanes.learn(rows, HashSet::new(), rules, lanes.since());
    lanes
}

fn open(lanes: &Lanes, capacity: &Capacity) -> Vec<(i64, i64)> {
    let queues = ["batches".to_owned()];
    let candidates = lanes.candidates(&queues, "exec-1", capacity);
    candidates.iter().map(|candidate| (candidate.row.id, candidate.floors.any())).collect()
}

fn look(lanes: &Lanes, lane: i64) -> Candidate {
    let all = lanes.candidates(&["batches".to_owned()], "exec-1", &Capacity::default());
    all.into_iter().find(|candidate| candidate.row.id == lane).unwrap()
}

#[test]
fn only_what_fits_and_is_not_paused_is_looked_at() {
    let known = lanes(Rules::default());
    assert!(!known.is_stale());
    let small = Capacity { cpus: Some(4), ..Capacity::default() };
    assert_eq!(open(&known, &small), [(1, i64::MIN)]);
    assert_eq!(open(&known, &Capacity::default()).len(), 2);
    let paused = Rules { paused: BTreeSet::from(["batches".to_owned()]), ..Rules::default() };
    assert_eq!(open(&lanes(paused), &Capacity::default()), []);
    let away = Rules { in_maintenance: BTreeSet::from(["exec-1".to_owned()]), ..Rules::default() };
    assert_eq!(open(&lanes(away), &Capacity::default()), []);
}

#[test]
fn an_empty_lane_is_looked_at_again_when_it_is_filled() {
    let known = lanes(Rules::default());
    let capacity = Capacity { cpus: Some(1), ..Capacity::default() };
    known.looked(&look(&known, 1), Some(70), None);
    assert_eq!(open(&known, &capacity), [(1, 70)]);
    known.looked(&look(&known, 1), None, None);
    assert_eq!(open(&known, &capacity), []);
    known.filled(1, 80);
    assert_eq!(open(&known, &capacity), [(1, 80)]);
    known.filled(1, 60);
    assert_eq!(open(&known, &capacity), [(1, 60)], "what comes back may be older");
}

/// An errored job that waits for its pause still comes before what is younger.
#[test]
fn what_may_come_first_is_looked_at_first() {
    let known = lanes(Rules::default());
    known.looked(&look(&known, 1), Some(70), None);
    known.looked(&look(&known, 2), Some(90), Some(60));
    assert_eq!(open(&known, &Capacity::default()), [(2, 60), (1, 70)]);
    known.took("bob");
    assert_eq!(open(&known, &Capacity::default()), [(1, 70), (2, 60)], "whose turn it is");
}

/// The news came after the look, and what came may be below its floor.
#[test]
fn a_look_that_was_overtaken_by_news_changes_nothing() {
    let known = lanes(Rules::default());
    let looking = look(&known, 1);
    known.filled(1, 5);
    known.looked(&looking, None, None);
    assert_eq!(open(&known, &Capacity { cpus: Some(1), ..Capacity::default() }), [(1, i64::MIN)]);
}

/// Others need not walk over what was taken meanwhile, and what they see does not hide what it finds.
#[test]
fn one_look_is_at_all_of_a_lane_now_and_then() {
    let known = lanes(Rules::default());
    let small = Capacity { cpus: Some(1), ..Capacity::default() };
    known.looked(&look(&known, 1), Some(70), None);
    let learn = || {
        known.learn(vec![row(1, "ann", "{}")], HashSet::new(), Rules::default(), known.since());
        [look(&known, 1), look(&known, 1)]
    };
    let [all, rest] = learn();
    assert_eq!([all.floors.fresh, rest.floors.fresh], [i64::MIN, 70]);
    known.looked(&all, Some(60), None);
    known.looked(&rest, Some(70), None);
    assert_eq!(open(&known, &small), [(1, 60)]);
    let [all, rest] = learn();
    known.looked(&rest, None, None);
    known.looked(&all, Some(60), None);
    assert_eq!(open(&known, &small), [(1, 60)]);
}

/// Else the older rules would be believed for long.
#[test]
fn what_was_read_while_it_changed_is_read_again() {
    let known = Lanes::default();
    let since = known.since();
    known.rules_changed();
    known.learn(Vec::new(), HashSet::new(), Rules::default(), since);
    assert!(known.is_stale());
    known.learn(Vec::new(), HashSet::new(), Rules::default(), known.since());
    assert!(!known.is_stale());
}

#[test]
fn what_is_gone_is_forgotten_but_not_what_came_meanwhile() {
    let known = lanes(Rules::default());
    let (since, ann) = (known.since(), || vec![row(1, "ann", "{}")]);
    known.add(row(3, "cyd", "{}"));
    known.learn(ann(), HashSet::new(), Rules::default(), since);
    assert_eq!(open(&known, &Capacity::default()).len(), 3);
    known.learn(ann(), HashSet::new(), Rules::default(), known.since());
    assert_eq!(open(&known, &Capacity::default()), [(1, i64::MIN)]);
    assert_eq!(known.find("batches", "cyd", &Needs::default(), 1), None);
}

#[test]
fn what_is_heard_of_an_unknown_lane_is_read() {
    let known = lanes(Rules::default());
    known.filled(9, 5);
    assert!(known.is_stale());
}

/// Servers of another version submit such jobs all the time while one after the other is replaced.
#[test]
fn lanes_that_only_newer_servers_read_are_no_reason_to_read_all() {
    let known = lanes(Rules::default());
    known.filled(3, 5);
    assert!(known.is_stale(), "another server made it");
    known.learn(vec![row(1, "ann", "{}")], HashSet::from([3]), Rules::default(), known.since());
    known.filled(3, 5);
    assert!(!known.is_stale());
    known.filled(4, 5);
    assert!(known.is_stale());
}
