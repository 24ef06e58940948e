//! The contract of sandboxes, against every OCI runtime that is installed.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod engine;
mod harness;
mod network;
mod ordinary;
mod overhead;
mod probe;
mod suite;
mod vm;

/// The contract for the runtimes of those names: one test for each part that holds for a runtime.
macro_rules! contract {
    ($($runtime:ident)*: $parts:tt) => {
        $(contract! { @of $runtime $parts })*
    };
    (@of $runtime:ident { $($module:ident { $($test:ident $([not $($other:ident)*])?,)* })* }) => {
        mod $runtime {
            $(mod $module {
                $(holds! { $runtime $module $test: $($($other)*)? })*
            })*
        }
    };
}

/// A test of a part, unless its runtime, or the kind that this one is of, is among those for which the part does
/// not hold.
macro_rules! holds {
    ($runtime:ident $module:ident $test:ident:) => {
        #[test]
        fn $test() {
            let name = concat!(stringify!($runtime), "::", stringify!($module), "::", stringify!($test));
            crate::harness::run(name, stringify!($runtime), crate::suite::$module::$test);
        }
    };
    (runc $module:ident $test:ident: runc $($others:ident)*) => {};
    (youki $module:ident $test:ident: youki $($others:ident)*) => {};
    (runsc $module:ident $test:ident: runsc $($others:ident)*) => {};
    (podman $module:ident $test:ident: podman $($others:ident)*) => {};
    (docker $module:ident $test:ident: engines $($others:ident)*) => {};
    (podman $module:ident $test:ident: engines $($others:ident)*) => {};
    ($runtime:ident $module:ident $test:ident: $other:ident $($others:ident)*) => {
        holds! { $runtime $module $test: $($others)* }
    };
}

// Jobs have users of their own, but for `crun_host`. Not for runsc, which is a kernel of its own in user
// space: what its caveat says, and what looks at the host's kernel from inside, which a step does not reach.
// Not for the engines: what is about disks, which they do not limit, and what is about the daemonless
// runtime's own state; `engine` has that of their own. Not for podman: what is worded as crun and Docker word
// it.
contract! { crun crun_host runc youki runsc docker podman: {
    exits {
        exit_codes_and_signals,
        a_signal_is_told_from_a_code [not runsc engines],
        a_missing_program_is_the_jobs_failure,
        odd_steps_are_refused,
        a_directory_that_can_not_be_entered_is_refused [not runsc],
    }
    basics {
        the_program_is_told_with_its_version [not engines],
        environment_directory_and_user [not podman],
        steps_share_the_workspace_and_nothing_else,
        names_of_the_host [not podman],
        a_warm_sandbox_is_a_fresh_one [not engines],
        a_step_that_is_over_leaves_nothing_but_its_workspace [not engines],
    }
    ends {
        a_step_that_heeds_sigterm_ends_by_itself,
        a_step_that_ignores_sigterm_is_killed,
        a_step_that_may_not_be_waited_for_is_killed_at_once,
        a_token_that_fired_before_starts_nothing,
        daemons_end_with_the_step,
    }
    limits {
        a_fork_bomb_meets_the_limit_of_processes [not runsc],
        a_memory_hog_is_named [not runsc],
        programs_on_the_host_have_the_limits_of_their_job [not runc youki runsc engines],
        a_full_disk_is_named_and_stays_the_jobs_own [not engines],
        the_layout_of_control_groups_is_told [not runsc engines],
        cpu_time_is_rationed,
        disks_made_side_by_side_are_each_limited [not runsc engines],
        a_limit_that_can_not_be_enforced_is_said_or_refused [not engines],
        a_limit_that_can_not_be_set_leaves_nothing [not engines],
    }
    room {
        a_disk_that_was_full_is_named_when_the_step_has_cleaned_up [not engines],
        a_full_disk_of_the_host_is_not_the_jobs_fault [not engines],
        a_host_s_disk_that_takes_no_more_files_is_not_the_jobs_fault [not engines],
        the_room_of_a_closed_sandbox_is_free_at_once [not engines],
    }
    launch {
        a_launcher_that_is_stopped_is_replaced [not engines],
        a_step_whose_launcher_is_stopped_can_be_stopped [not engines],
    }
    output {
        both_streams_are_exact,
        a_long_line_and_much_output_pass,
        an_output_that_fails_ends_the_step,
    }
    security {
        rights_are_few [not runsc],
        limits_of_a_process_are_set [not runsc engines],
        namespaces_are_the_jobs_own [not runsc engines],
        calls_that_reach_the_host_are_refused [not runsc],
        a_later_step_is_filtered_as_the_first [not runsc],
        the_hosts_files_are_out_of_reach [not runsc],
        only_the_three_streams_are_inherited,
        a_setuid_file_gives_nothing,
        an_image_can_not_redirect_what_is_mounted,
        users_are_those_of_the_image,
    }
    shared {
        pseudo_terminals_are_left_for_others [not runsc engines],
        asynchronous_io_is_no_jobs [not runsc],
        netlink_is_for_what_programs_need [not runsc],
    }
    mounts {
        nothing_of_the_host_is_told [not runsc engines],
        what_the_operator_mounts_is_seen_with_its_owners [not engines],
        an_image_can_not_send_what_is_mounted_elsewhere [not engines],
        a_job_can_not_have_others_see_what_it_likes [not engines],
    }
    death {
        a_guardian_is_ready_when_its_agent_is [not runsc engines],
        a_guardian_is_there_before_anything_that_it_would_remove [not runc youki runsc engines],
        the_guardian_removes_all_of_a_killed_agent [not engines],
        reaping_removes_all_when_the_guardian_is_killed_too [not engines],
        an_agent_that_lives_is_left_alone [not engines],
    }
} }

/// What holds besides where jobs have users of their own.
mod own {
    contract! { crun runc youki runsc: {
        users {
            root_in_a_job_is_nobody_on_the_host [not runsc],
            files_have_the_owners_that_they_seem_to_have,
            two_jobs_share_layers_and_no_users [not runsc],
            a_job_has_no_users_beyond_its_own,
            root_in_a_job_changes_nothing_of_the_host [not runsc],
            a_setuid_file_of_a_job_gives_nothing_on_the_host,
            where_there_can_be_none_it_is_said_or_refused [not runc youki runsc],
            a_supervisor_tries_nothing_again [not runsc],
            an_operator_may_want_the_hosts_users [not runsc],
        }
    } }
}

/// What holds where an ordinary user runs jobs, whatever the host's root has not given it.
mod of_ordinary_user {
    contract! { crun_ordinary: {
        exits {
            exit_codes_and_signals,
            a_signal_is_told_from_a_code,
            a_directory_that_can_not_be_entered_is_refused,
        }
        basics {
            steps_share_the_workspace_and_nothing_else,
            a_step_that_is_over_leaves_nothing_but_its_workspace,
        }
        ends {
            a_step_that_heeds_sigterm_ends_by_itself,
            a_step_that_ignores_sigterm_is_killed,
            a_step_that_may_not_be_waited_for_is_killed_at_once,
            daemons_end_with_the_step,
        }
        launch { a_launcher_that_is_stopped_is_replaced, }
        output { both_streams_are_exact, an_output_that_fails_ends_the_step, }
        security {
            rights_are_few,
            limits_of_a_process_are_set,
            namespaces_are_the_jobs_own,
            calls_that_reach_the_host_are_refused,
            the_hosts_files_are_out_of_reach,
            only_the_three_streams_are_inherited,
            a_setuid_file_gives_nothing,
            an_image_can_not_redirect_what_is_mounted,
            users_are_those_of_the_image,
        }
        mounts { what_the_operator_mounts_is_seen_with_its_owners, }
        death {
            the_guardian_removes_all_of_a_killed_agent,
            reaping_removes_all_when_the_guardian_is_killed_too,
            an_agent_that_lives_is_left_alone,
        }
    } }
    contract! { runc_ordinary: {
        exits { exit_codes_and_signals, a_missing_program_is_the_jobs_failure, }
        ends { a_step_that_ignores_sigterm_is_killed, daemons_end_with_the_step, }
        security { rights_are_few, limits_of_a_process_are_set, users_are_those_of_the_image, }
        death { the_guardian_removes_all_of_a_killed_agent, }
    } }
    contract! { youki_ordinary: {
        exits { exit_codes_and_signals, a_missing_program_is_the_jobs_failure, }
        ends { a_step_that_ignores_sigterm_is_killed, daemons_end_with_the_step, }
        security { rights_are_few, limits_of_a_process_are_set, users_are_those_of_the_image, }
        death { the_guardian_removes_all_of_a_killed_agent, }
    } }
}
