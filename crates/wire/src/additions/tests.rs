use super::*;

#[test]
fn a_lease_s_term_is_in_milliseconds() {
    let term = Duration::from_secs(25);
    assert_eq!((lease_term(term).as_str(), parse_lease_term("25000")), ("25000", Some(term)));
    for none in ["", "0", "-1", "25s"] {
        assert_eq!(parse_lease_term(none), None, "{none}");
    }
}

#[test]
fn how_long_a_request_was_held_is_never_rounded_up() {
    assert_eq!(held(Duration::from_micros(1_999)), "1");
    assert_eq!((parse_held("0"), parse_held("-1"), parse_held("")), (Some(Duration::ZERO), None, None));
}

#[test]
fn a_start_is_read_as_it_was_written_and_nothing_else_is_one() {
    for settled in [true, false] {
        let start = Incarnation { place: "6b-1f.2a".to_owned(), start: 3, settled };
        assert_eq!(Incarnation::parse(&start.to_header()), Some(start));
    }
    assert_eq!(Incarnation::parse("start=1;later=x; place=a").map(|read| read.settled), Some(false));
    let long = format!("place={}; start=1", "x".repeat(LONGEST_PLACE + 1));
    for none in
        ["", "place=a", "start=1", "place=; start=1", "place=a b; start=1", "place=a; start=-1", &long]
    {
        assert_eq!(Incarnation::parse(none), None, "{none}");
    }
    let lost = LostDequeues(vec![0, 17]);
    assert_eq!(LostDequeues::parse(&lost.to_header()), lost);
    assert_eq!(LostDequeues::parse("x, 4,, -1"), LostDequeues(vec![4]));
    assert_eq!(LostDequeues::parse(&"1,".repeat(1_000)).0.len(), MOST_LOST);
}

#[test]
fn why_no_jobs_are_asked_for_is_a_word_that_is_known() {
    for why in [TakesNone::Draining, TakesNone::DiskFloor] {
        assert_eq!(TakesNone::parse(why.name()), Some(why));
    }
    assert_eq!(["", "Draining", "asleep", "draining; disk-floor"].map(TakesNone::parse), [None; 4]);
}

#[test]
fn a_wait_is_found_among_other_preferences() {
    assert_eq!(parse_prefer_wait(&prefer_wait(20)), Some(20));
    assert_eq!(parse_prefer_wait("respond-async, wait=5"), Some(5));
    assert_eq!(parse_prefer_wait("wait=20, lease-term"), Some(20));
    assert!(prefers("wait=20, lease-term", TERM_PREFERENCE) && prefers("lease-term", TERM_PREFERENCE));
    assert!(!prefers("wait=20", TERM_PREFERENCE) && !prefers("lease-terms, x=lease-term", TERM_PREFERENCE));
    for none in ["", "wait", "wait=x", "await=3"] {
        assert_eq!(parse_prefer_wait(none), None, "{none}");
    }
}
