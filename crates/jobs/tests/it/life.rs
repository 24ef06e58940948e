//! No sequence of events gives two accepted terminal results, or loses a job.

use jobs::state::MAX_FREE_CLAIMS;
use jobs::{Canceler, EndReason, Event, Lease, Outcome, Record, Rejected, RetryPolicy, State, transition};
use proptest::prelude::*;
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(90);

/// An event as the world sends it: leases may be of any epoch and executor, also wrong ones.
fn events() -> impl Strategy<Value = Event> {
    let executor = prop_oneof![Just("a".to_owned()), Just("b".to_owned())];
    let lease = (0..8_u32, executor.clone()).prop_map(|(epoch, executor)| Lease { epoch, executor });
    let code = EndReason::ExitCode { step: "0".into(), code: 1 };
    prop_oneof![
        3 => executor.prop_map(|executor| Event::Claim { executor }),
        2 => lease.clone().prop_map(Event::Complete),
        2 => (lease.clone(), Just(code.clone())).prop_map(|(lease, reason)| Event::Error(lease, reason)),
        1 => lease.clone().prop_map(|lease| Event::Error(lease, EndReason::ExecutorLost { lease: None })),
        1 => lease.clone().prop_map(|lease| Event::Error(lease, EndReason::Sandbox)),
        1 => (lease.clone(), Just(code)).prop_map(|(lease, reason)| Event::Fail(lease, reason)),
        1 => lease.prop_map(Event::Release),
        2 => (0..8_u32).prop_map(|epoch| Event::Stall { epoch, lease: LEASE }),
        1 => Just(Event::Cancel(Canceler::default())),
    ]
}

fn policies() -> impl Strategy<Value = RetryPolicy> {
    (0..3_u32, 0..3_u32, 0..3_u32).prop_map(|(max_resets, max_faults, max_failures)| RetryPolicy {
        max_resets,
        max_faults,
        max_failures,
        ..RetryPolicy::default()
    })
}

fn is_result(event: &Event) -> bool {
    matches!(event, Event::Complete(_) | Event::Error(..) | Event::Fail(..))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_history_keeps_the_invariants(
        history in prop::collection::vec(events(), 1..40),
        policy in policies(),
    ) {
        let mut record = Record::new();
        let mut terminal_results = 0;
        let mut results_of_epoch = std::collections::BTreeMap::<u32, u32>::new();
        for event in history {
            let before = record.clone();
            match transition(&record, event.clone(), policy) {
                Err(_) => prop_assert_eq!(&record, &before, "a rejected event changed the job"),
                Ok(Outcome { record: after, reason, pause }) => {
                    prop_assert!(!before.state.is_terminal(), "{event:?} changed an ended job");
                    prop_assert!(after.epoch >= before.epoch, "the epoch went back");
                    prop_assert!(!before.cancel_requested() || after.canceler == before.canceler,
                        "a cancel was forgotten");
                    if is_result(&event) {
                        *results_of_epoch.entry(before.epoch).or_default() += 1;
                    }
                    if after.state.is_terminal() {
                        terminal_results += 1;
                        prop_assert!(reason.is_some(), "an end without a reason");
                    }
                    let spent = |record: &Record| record.resets + record.faults + record.failures;
                    prop_assert!(spent(&after) <= spent(&before) + 1, "charged twice");
                    prop_assert!(after.resets <= policy.max_resets && after.faults <= policy.max_faults);
                    let charged = matches!(&reason, Some(why) if !why.is_infrastructure());
                    prop_assert!(after.faults == before.faults || !charged, "a fault of its own was free");
                    prop_assert_eq!(after.state == State::Errored && is_result(&event), pause.is_some());
                    if matches!(event, Event::Claim { .. }) {
                        prop_assert_eq!(after.epoch, before.epoch + 1, "a claim without a new epoch");
                    }
                    record = after;
                }
            }
        }
        prop_assert!(terminal_results <= 1, "two terminal results");
        prop_assert!(results_of_epoch.values().all(|&count| count <= 1), "two results in one epoch");
    }

    /// From wherever a history leads, the job can still be brought to an end in a bounded number of
    /// steps: no job is lost.
    #[test]
    fn every_job_can_still_end(history in prop::collection::vec(events(), 0..40), policy in policies()) {
        let mut record = Record::new();
        for event in history {
            if let Ok(outcome) = transition(&record, event, policy) {
                record = outcome.record;
            }
        }
        for _ in 0..2 {
            let next = match record.state {
                State::Queued | State::Errored => Event::Claim { executor: "z".into() },
                State::Processing => {
                    let executor = record.executor.clone().expect("a running job has a holder");
                    Event::Complete(Lease { epoch: record.epoch, executor })
                }
                _ => break,
            };
            record = transition(&record, next, policy).expect("the next step applies").record;
        }
        prop_assert!(record.state.is_terminal());
    }

    /// An executor that falls silent every time costs a bounded number of tries.
    #[test]
    fn a_poisonous_job_ends(policy in policies()) {
        let mut record = Record::new();
        let mut claims = 0;
        while !record.state.is_terminal() {
            record = transition(&record, Event::Claim { executor: "a".into() }, policy).unwrap().record;
            claims += 1;
            let stall = Event::Stall { epoch: record.epoch, lease: LEASE };
            record = transition(&record, stall, policy).unwrap().record;
        }
        prop_assert_eq!(claims, policy.max_resets + 1);
        prop_assert_eq!(record.state, State::Failed);
    }

    /// So does one whose claims never reach anybody, only later.
    #[test]
    fn a_job_that_can_not_be_delivered_ends(policy in policies()) {
        let mut record = Record::new();
        let mut claims = 0;
        while !record.state.is_terminal() {
            record = transition(&record, Event::Claim { executor: "a".into() }, policy).unwrap().record;
            claims += 1;
            let lease = Lease { epoch: record.epoch, executor: "a".into() };
            record = transition(&record, Event::Release(lease), policy).unwrap().record;
        }
        prop_assert_eq!(claims, MAX_FREE_CLAIMS + policy.max_resets + 1);
        prop_assert_eq!(record.state, State::Failed);
    }
}

/// The infrastructure's faults cost a job nothing but time, and are tried a limited number of times.
#[test]
fn a_fault_of_the_infrastructure_is_not_charged_to_the_job() {
    let retry = RetryPolicy { max_faults: 2, ..RetryPolicy::default() };
    let mut record = Record::new();
    let mut pauses = Vec::new();
    let unavailable = EndReason::ImageUnavailable { class: "network".to_owned() };
    while !record.state.is_terminal() {
        record = transition(&record, Event::Claim { executor: "a".into() }, retry).unwrap().record;
        let lease = Lease { epoch: record.epoch, executor: "a".into() };
        let outcome = transition(&record, Event::Error(lease, unavailable.clone()), retry).unwrap();
        assert_eq!(outcome.reason, Some(unavailable.clone()), "the evidence is kept");
        pauses.extend(outcome.pause.map(|pause| pause.as_secs()));
        record = outcome.record;
    }
    assert_eq!(pauses, [10, 30]);
    assert_eq!((record.state, record.epoch), (State::Failed, 3));
    assert_eq!((record.resets, record.faults, record.failures), (0, 2, 1));
}

/// Its own failures and the infrastructure's faults are two budgets, and neither pays for the other.
#[test]
fn retries_of_a_job_are_for_its_own_failures_alone() {
    use State::{Errored, Failed};
    let retry = RetryPolicy { max_faults: 1, ..RetryPolicy::default() }.with_retries(2);
    let unavailable = || EndReason::ImageUnavailable { class: "network".to_owned() };
    let failed = || EndReason::ExitCode { step: "0".into(), code: 1 };
    let told = |reasons: &[fn() -> EndReason]| {
        let mut record = Record::new();
        let mut states = Vec::new();
        let mut used = Vec::new();
        for reason in reasons {
            record = transition(&record, Event::Claim { executor: "a".into() }, retry).unwrap().record;
            let lease = Lease { epoch: record.epoch, executor: "a".into() };
            let outcome = transition(&record, Event::Error(lease, reason()), retry).unwrap();
            record = outcome.record;
            states.push(record.state);
            used.push(record.retries_used(outcome.reason.as_ref()));
        }
        (states, used, record.faults, record.failures)
    };
    assert_eq!(
        told(&[failed, unavailable, failed, failed]),
        (vec![Errored, Errored, Errored, Failed], vec![1, 1, 2, 2], 1, 3)
    );
    assert_eq!(
        told(&[unavailable, unavailable]),
        (vec![Errored, Failed], vec![0, 0], 1, 1),
        "its retries are not spent on it"
    );
    let (record, lease) = claimed();
    let for_good = transition(&record, Event::Fail(lease.clone(), failed()), retry).unwrap();
    assert_eq!(for_good.record.retries_used(for_good.reason.as_ref()), 0);
    let lost = Event::Error(lease.clone(), EndReason::ExecutorLost { lease: None });
    let lost = transition(&record, lost, RetryPolicy { max_resets: 0, ..retry }).unwrap();
    assert_eq!((lost.record.state, lost.record.retries_used(lost.reason.as_ref())), (Failed, 0));
    assert_eq!(for_good.record.state, Failed, "its executor says that it is for good");
}

#[test]
fn whoever_takes_over_from_an_executor_that_leaves_need_not_wait() {
    let (record, lease) = claimed();
    let stopped = Event::Error(lease.clone(), EndReason::ExecutorStopped);
    let outcome = transition(&record, stopped, RetryPolicy::default()).unwrap();
    assert_eq!((outcome.record.state, outcome.pause), (State::Errored, Some(Duration::ZERO)));
    let for_good = Event::Fail(lease, EndReason::ExecutorStopped);
    let outcome = transition(&record, for_good, RetryPolicy::default()).unwrap();
    assert_eq!((outcome.record.state, outcome.record.faults), (State::Failed, 0), "nobody asked for another");
}

#[test]
fn who_asked_first_has_cancelled_it() {
    let (first, second) =
        (Canceler::api([10, 0, 0, 1].into(), None), Canceler::api([10, 0, 0, 2].into(), None));
    let (record, lease) = claimed();
    let policy = RetryPolicy::default();
    let record = transition(&record, Event::Cancel(first.clone()), policy).unwrap().record;
    let record = transition(&record, Event::Cancel(second), policy).unwrap().record;
    let told = EndReason::Canceled(Canceler::control_plane());
    let ended = transition(&record, Event::Fail(lease, told), policy).unwrap();
    assert_eq!(ended.reason, Some(EndReason::Canceled(first)), "its executor does not know");
}

fn claimed() -> (Record, Lease) {
    let record = transition(&Record::new(), Event::Claim { executor: "a".into() }, RetryPolicy::default())
        .unwrap()
        .record;
    (record, Lease { epoch: 1, executor: "a".into() })
}

#[test]
fn a_cancelled_job_ends_cancelled_whoever_died() {
    let policy = RetryPolicy { max_failures: 5, ..RetryPolicy::default() };
    let (record, lease) = claimed();
    let record = transition(&record, Event::Cancel(Canceler::default()), policy).unwrap().record;
    assert_eq!(record.state, State::Processing);
    let failed = EndReason::ExitCode { step: "0".into(), code: 1 };
    for event in [
        Event::Error(lease.clone(), failed.clone()),
        Event::Fail(lease.clone(), failed),
        Event::Stall { epoch: 1, lease: LEASE },
        Event::Release(lease.clone()),
    ] {
        let outcome = transition(&record, event.clone(), policy).unwrap();
        assert_eq!(outcome.record.state, State::Canceled, "{event:?}");
        assert_eq!(outcome.reason, Some(EndReason::Canceled(Canceler::default())), "{event:?}");
    }
    let finished = transition(&record, Event::Complete(lease), policy).unwrap();
    assert_eq!(finished.record.state, State::Completed, "it was done before the cancel reached it");
}

/// Its executor has found what is left of it, and says so before anybody would notice.
#[test]
fn a_job_that_is_handed_back_is_queued_at_once_as_often_as_one_that_fell_silent() {
    let policy = RetryPolicy { max_resets: 1, ..RetryPolicy::default() };
    let lost = EndReason::ExecutorLost { lease: None };
    let (record, lease) = claimed();
    let back = transition(&record, Event::Error(lease, lost.clone()), policy).unwrap();
    assert_eq!((back.record.state, back.record.resets, back.record.failures), (State::Queued, 1, 0));
    assert_eq!((back.reason, back.pause), (Some(lost.clone()), None));
    let again = transition(&back.record, Event::Claim { executor: "a".into() }, policy).unwrap().record;
    let lease = Lease { epoch: 2, executor: "a".into() };
    let ended = transition(&again, Event::Error(lease, lost.clone()), policy).unwrap();
    assert_eq!((ended.record.state, ended.reason), (State::Failed, Some(lost)));
}

#[test]
fn an_old_lease_is_refused_after_a_reset() {
    let policy = RetryPolicy::default();
    let (record, old) = claimed();
    let record = transition(&record, Event::Stall { epoch: 1, lease: LEASE }, policy).unwrap().record;
    let record = transition(&record, Event::Claim { executor: "a".into() }, policy).unwrap().record;
    assert_eq!(transition(&record, Event::Complete(old), policy), Err(Rejected::LeaseLost));
    let new = Lease { epoch: 2, executor: "a".into() };
    assert!(transition(&record, Event::Complete(new), policy).is_ok());
}

#[test]
fn a_released_claim_costs_nothing_and_is_fenced() {
    let policy = RetryPolicy { max_resets: 0, ..RetryPolicy::default() };
    let (record, old) = claimed();
    let other = Lease { executor: "b".into(), ..old.clone() };
    assert_eq!(transition(&record, Event::Release(other), policy), Err(Rejected::LeaseLost));
    let outcome = transition(&record, Event::Release(old.clone()), policy).unwrap();
    assert_eq!(outcome.reason, None);
    let record = outcome.record;
    assert_eq!((record.state, record.epoch), (State::Queued, 1));
    assert_eq!((record.resets, record.failures), (0, 0));
    assert_eq!(transition(&record, Event::Release(old.clone()), policy), Err(Rejected::LeaseLost));
    let record = transition(&record, Event::Claim { executor: "a".into() }, policy).unwrap().record;
    for event in [Event::Complete(old.clone()), Event::Release(old)] {
        assert_eq!(transition(&record, event, policy), Err(Rejected::LeaseLost));
    }
}
