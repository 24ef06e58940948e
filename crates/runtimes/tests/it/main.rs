//! The contract of sandboxes, against every OCI runtime that is installed.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod engine;
mod harness;
mod overhead;
mod probe;
mod suite;
mod vm;

/// One test per part of the contract, for the runtime of that name.
macro_rules! runtime_suite {
    ($runtime:ident: $($module:ident { $($test:ident),* $(,)? })*) => {
        mod $runtime {
            $(mod $module {
                $(#[test]
                fn $test() {
                    let name = concat!(stringify!($runtime), "::", stringify!($module), "::", stringify!($test));
                    crate::harness::run(name, stringify!($runtime), crate::suite::$module::$test);
                })*
            })*
        }
    };
}

macro_rules! runtime_suites {
    ($($runtime:ident)*) => {
        $(runtime_suite! { $runtime:
            exits {
                exit_codes_and_signals,
                a_signal_is_told_from_a_code,
                a_missing_program_is_the_jobs_failure,
                odd_steps_are_refused,
                a_directory_that_can_not_be_entered_is_refused,
            }
            basics {
                environment_directory_and_user,
                steps_share_the_workspace_and_nothing_else,
                names_of_the_host,
                a_warm_sandbox_is_a_fresh_one,
                a_step_that_is_over_leaves_nothing_but_its_workspace,
            }
            ends {
                a_step_that_heeds_sigterm_ends_by_itself,
                a_step_that_ignores_sigterm_is_killed,
                a_token_that_fired_before_starts_nothing,
                daemons_end_with_the_step,
            }
            limits {
                a_fork_bomb_meets_the_limit_of_processes,
                a_memory_hog_is_named,
                a_full_disk_is_named_and_stays_the_jobs_own,
                the_layout_of_control_groups_is_told,
                cpu_time_is_rationed,
                disks_made_side_by_side_are_each_limited,
                a_limit_that_can_not_be_enforced_is_said_or_refused,
                a_limit_that_can_not_be_set_leaves_nothing,
            }
            room {
                a_disk_that_was_full_is_named_when_the_step_has_cleaned_up,
                a_full_disk_of_the_host_is_not_the_jobs_fault,
            }
            launch {
                a_launcher_that_is_stopped_is_replaced,
                a_step_whose_launcher_is_stopped_can_be_stopped,
            }
            output {
                both_streams_are_exact,
                a_long_line_and_much_output_pass,
                an_output_that_fails_ends_the_step,
            }
            security {
                rights_are_few,
                calls_that_reach_the_host_are_refused,
                a_later_step_is_filtered_as_the_first,
                the_hosts_files_are_out_of_reach,
                only_the_three_streams_are_inherited,
                a_setuid_file_gives_nothing,
                an_image_can_not_redirect_what_is_mounted,
                users_are_those_of_the_image,
            }
            death {
                the_guardian_removes_all_of_a_killed_agent,
                reaping_removes_all_when_the_guardian_is_killed_too,
                an_agent_that_lives_is_left_alone,
            }
        })*
    };
}

runtime_suites! { crun runc youki }

// A kernel of its own in user space. Not here: what its caveat says, and what looks at the host's
// kernel from inside, which a step does not reach.
runtime_suite! { runsc:
    exits { exit_codes_and_signals, a_missing_program_is_the_jobs_failure, odd_steps_are_refused }
    basics {
        environment_directory_and_user,
        steps_share_the_workspace_and_nothing_else,
        names_of_the_host,
        a_warm_sandbox_is_a_fresh_one,
        a_step_that_is_over_leaves_nothing_but_its_workspace,
    }
    ends {
        a_step_that_heeds_sigterm_ends_by_itself,
        a_step_that_ignores_sigterm_is_killed,
        a_token_that_fired_before_starts_nothing,
        daemons_end_with_the_step,
    }
    limits {
        a_full_disk_is_named_and_stays_the_jobs_own,
        cpu_time_is_rationed,
        a_limit_that_can_not_be_enforced_is_said_or_refused,
        a_limit_that_can_not_be_set_leaves_nothing,
    }
    room {
        a_disk_that_was_full_is_named_when_the_step_has_cleaned_up,
        a_full_disk_of_the_host_is_not_the_jobs_fault,
    }
    launch { a_launcher_that_is_stopped_is_replaced, a_step_whose_launcher_is_stopped_can_be_stopped }
    output { both_streams_are_exact, a_long_line_and_much_output_pass, an_output_that_fails_ends_the_step }
    security {
        only_the_three_streams_are_inherited,
        a_setuid_file_gives_nothing,
        an_image_can_not_redirect_what_is_mounted,
        users_are_those_of_the_image,
    }
    death {
        the_guardian_removes_all_of_a_killed_agent,
        reaping_removes_all_when_the_guardian_is_killed_too,
        an_agent_that_lives_is_left_alone,
    }
}

// A container engine with a daemon. Not here: what is about disks, which it does not limit, and what is
// about the daemonless runtime's own state; `engine` has that of its own. Some has words of one engine.
macro_rules! engine_suites {
    ($($runtime:ident { $($besides:tt)* })*) => {
        $(runtime_suite! { $runtime:
            exits {
                exit_codes_and_signals,
                a_missing_program_is_the_jobs_failure,
                odd_steps_are_refused,
                a_directory_that_can_not_be_entered_is_refused,
            }
            basics { steps_share_the_workspace_and_nothing_else, $($besides)* }
            ends {
                a_step_that_heeds_sigterm_ends_by_itself,
                a_step_that_ignores_sigterm_is_killed,
                a_token_that_fired_before_starts_nothing,
                daemons_end_with_the_step,
            }
            limits {
                a_fork_bomb_meets_the_limit_of_processes,
                a_memory_hog_is_named,
                cpu_time_is_rationed,
            }
            output {
                both_streams_are_exact,
                a_long_line_and_much_output_pass,
                an_output_that_fails_ends_the_step,
            }
            security {
                rights_are_few,
                calls_that_reach_the_host_are_refused,
                a_later_step_is_filtered_as_the_first,
                the_hosts_files_are_out_of_reach,
                only_the_three_streams_are_inherited,
                a_setuid_file_gives_nothing,
                an_image_can_not_redirect_what_is_mounted,
                users_are_those_of_the_image,
            }
        })*
    };
}

engine_suites! {
    docker { environment_directory_and_user, names_of_the_host }
    podman {}
}
