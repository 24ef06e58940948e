//! Layouts of control groups that this host does not have, in guests that do.

mod guest;

use std::time::Duration;

/// Some 40 s of an idle machine.
const LIMIT: Duration = Duration::from_secs(280);

/// What depends on control groups: limits, killing, and leaving nothing.
const EVERYWHERE: &[&str] = &[
    "crun::limits::the_layout_of_control_groups_is_told",
    "crun::limits::a_fork_bomb_meets_the_limit_of_processes",
    "crun::limits::a_memory_hog_is_named",
    "crun::limits::programs_on_the_host_have_the_limits_of_their_job",
    "crun::limits::cpu_time_is_rationed",
    "crun::limits::a_limit_that_can_not_be_set_leaves_nothing",
    "crun::ends::daemons_end_with_the_step",
    "crun::basics::a_step_that_is_over_leaves_nothing_but_its_workspace",
    "crun::death::the_guardian_removes_all_of_a_killed_agent",
    // It makes a group of its own, below ours.
    "runc::limits::a_memory_hog_is_named",
    "runc::basics::a_step_that_is_over_leaves_nothing_but_its_workspace",
];

fn hold(name: &str, layout: &str) {
    if let Some(part) = guest::missing() {
        return testkit::missing_part(name, &part);
    }
    let console = guest::run(layout, EVERYWHERE, LIMIT);
    let passed = format!("test result: ok. {} passed; 0 failed; 0 ignored", EVERYWHERE.len());
    assert!(console.contains(&passed), "{console}");
}

#[test]
fn limits_hold_with_version_2_alone() {
    hold("vm::limits_hold_with_version_2_alone", "v2");
}

#[test]
fn limits_hold_with_version_1_alone() {
    hold("vm::limits_hold_with_version_1_alone", "v1");
}
