//! The contract of sandboxes, against every OCI runtime that is installed.

mod harness;
mod suite;

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
            exits { exit_codes_and_signals, a_missing_program_is_the_jobs_failure, odd_steps_are_refused }
            basics {
                environment_directory_and_user,
                steps_share_the_workspace_and_nothing_else,
                names_of_the_host,
                a_warm_sandbox_is_a_fresh_one,
            }
        })*
    };
}

runtime_suites! { crun runc }
