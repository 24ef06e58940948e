//! The suite that every store passes.

pub(crate) mod artifacts;
pub(crate) mod audit;
pub(crate) mod cancel;
pub(crate) mod claim;
pub(crate) mod duties;
pub(crate) mod files;
pub(crate) mod forget;
pub(crate) mod heartbeat;
pub(crate) mod held;
pub(crate) mod identities;
pub(crate) mod life;
pub(crate) mod logs;
pub(crate) mod logs_limits;
pub(crate) mod model;
pub(crate) mod namespaces;
pub(crate) mod order;
pub(crate) mod people;
pub(crate) mod registry;
pub(crate) mod release;
pub(crate) mod retry;
pub(crate) mod rules;
pub(crate) mod sealed_logs;
pub(crate) mod secrets;
pub(crate) mod stall;
pub(crate) mod submissions;
pub(crate) mod tokens;
pub(crate) mod uploads;
pub(crate) mod world;

/// Runs the whole suite on the stores that `$open` opens: `async fn(Setup) -> World`; those tests for which `$there` says
/// that their parts are: `fn(test: &str) -> bool`.
#[macro_export]
macro_rules! store_contract_suite {
    ($implementation:ident, $open:path, $there:path) => {
        mod $implementation {
            $crate::contract::each_test! { $open, $there }
        }
    };
}

/// Names every test of the suite; `no_test_was_forgotten` compares this with the sources.
macro_rules! each_test {
    ($open:path, $there:path) => {
        $crate::contract::run! { $open, $there;
            life: a_job_goes_from_submit_to_completed, what_was_submitted_comes_back,
                failing_keeps_the_reason_and_the_message, a_long_message_is_cut,
                listing_pages_newest_first, listing_filters_by_queue_and_state, several_end_at_once_each_by_itself,
                unknown_jobs_are_told;
            claim: the_oldest_job_comes_first, queues_are_kept_apart, several_queues_go_by_age,
                an_empty_queue_gives_nothing, racing_claims_never_share_a_job, each_claim_has_its_own_token,
                secrets_go_to_the_claimer_only;
            duties: a_duty_is_one_holders_until_its_time_is_over, a_duty_that_is_given_up_is_anybodys,
                a_duty_is_not_taken_by_whoever_is_a_little_behind,
                of_those_that_race_for_a_duty_one_has_it;
            order: a_priority_counts_as_waiting, owners_take_turns, a_job_goes_only_where_it_has_what_it_needs,
                several_jobs_are_given_at_once, what_comes_back_is_where_it_was, many_lanes_are_like_one,
                lanes_that_wait_hide_no_others,
                lanes_without_jobs_are_forgotten;
            held: a_job_is_not_run_before_its_time, only_so_many_jobs_of_a_key_run_at_once,
                a_job_whose_time_has_come_waits_for_its_key, places_are_handed_on_once,
                who_waits_for_a_place_is_before_who_comes_later;
            rules: a_paused_queue_gives_nothing, a_queue_runs_as_many_jobs_as_it_may,
                an_executor_in_maintenance_is_given_nothing, what_an_executor_gives_is_remembered,
                the_end_of_a_job_is_told_where_it_makes_room, what_is_not_said_of_a_queue_stays,
                a_queue_tells_what_it_holds, what_ended_is_counted_by_queue_and_state;
            submissions: a_submission_that_is_made_again_is_the_same, a_delay_made_again_is_the_same, what_was_submitted_is_found_by_what_came_in,
                submissions_that_race_are_one, what_is_wrong_with_one_is_nothing_to_others,
                jobs_of_every_kind_are_submitted_together, several_are_submitted_together_or_none,
                several_that_may_be_made_again_are_all_of_them_or_none, several_that_race_are_made_once;
            retry: an_errored_job_waits_for_its_delay, retries_run_out, a_job_is_tried_again_as_often_as_it_asks,
                a_retry_keeps_the_secrets_and_clears_the_end, the_executor_that_had_it_comes_last,
                the_end_of_a_pause_is_told,
                each_try_that_another_followed_is_told,
                calls_that_come_too_late_are_noted;
            stall: a_stalled_job_is_queued_again, after_the_last_reset_a_job_has_failed,
                a_canceled_job_that_stalls_is_canceled, only_silent_jobs_stall,
                a_lease_lasts_as_long_as_its_executor_may_have_been_told,
                shorter_leases_of_others_last_as_much_longer_as_the_clock_may_be_wrong, an_old_lease_opens_nothing;
            release: a_released_job_is_queued_again_free_of_charge, a_released_lease_is_dead,
                only_the_current_lease_is_released, a_canceled_job_that_is_released_is_canceled,
                a_job_that_never_arrives_has_failed_in_the_end;
            cancel: a_queued_job_is_canceled_at_once, a_running_job_is_asked_to_stop,
                an_errored_job_is_not_tried_again, ended_jobs_can_not_be_canceled,
                a_result_that_comes_before_the_cancel_counts;
            heartbeat: it_keeps_held_jobs_alive, it_tells_which_jobs_to_stop, it_knows_only_what_is_held,
                without_jobs_it_is_empty;
            logs: entries_are_numbered_from_one, an_outline_has_no_commands, an_entry_that_is_opened_again_is_the_same,
                text_is_added_at_its_offset,
                text_sent_twice_is_there_once, a_gap_is_refused_with_the_length, the_end_is_kept,
                put_grows_the_text, put_can_change_the_text, epochs_keep_their_own_logs,
                logs_need_the_lease, concurrent_appends_do_not_mix, reading_stops_between_characters,
                an_ended_job_takes_no_text;
            logs_limits: one_try_has_a_size_limit, the_next_try_starts_from_nothing,
                the_commands_of_one_try_have_a_size_limit;
            sealed_logs: what_a_sealed_log_says_is_the_same, a_try_that_runs_is_not_sealed,
                earlier_tries_are_sealed_while_the_next_one_writes, however_a_try_ended_its_log_is_sealed,
                a_forgotten_job_lets_go_of_its_object, a_log_is_read_while_it_is_sealed;
            artifacts: a_try_leaves_files_while_it_runs;
            uploads: an_upload_in_parts_is_complete_when_all_are_there,
                nobody_begins_so_many_uploads_that_others_can_not, a_job_uploads_little_and_leaves_nothing_begun,
                uploads_are_listed_by_whose_they_are, old_uploads_are_forgotten_with_their_objects, an_object_that_nobody_takes_goes,
                an_object_that_is_given_up_too_late_stays;
            files: an_uploaded_file_is_remembered, a_job_keeps_the_files_it_names,
                a_job_that_names_an_unknown_file_is_not_submitted, a_job_sees_only_its_own_files,
                files_that_nobody_needs_are_forgotten, a_file_lets_go_of_its_object, a_file_shared_by_jobs_stays_until_the_last_has_ended;
            forget: a_job_that_ended_long_ago_is_gone_with_its_log, however_it_ended_it_is_forgotten,
                what_has_not_ended_is_not_forgotten, many_jobs_and_entries_are_forgotten_bit_by_bit,
                a_full_queue_takes_no_more, no_namespace_fills_a_queue_for_all, whatever_leaves_a_queue_makes_room;
            registry: an_executor_is_remembered, an_executor_that_is_long_gone_is_forgotten, executors_come_latest_first,
                executors_are_found_by_what_they_serve, what_each_executor_runs_is_told,
                repositories_have_names_of_their_own, what_there_is_is_counted, a_removed_repository_leaves_its_id_unused,
                credentials_of_a_repository_are_sealed_and_go_with_it,
                changes_are_announced;
            namespaces: the_largest_page_is_known_to_have_a_next_one, jobs_are_listed_by_whose_they_are, repositories_are_named_by_each_namespace_as_it_likes;
            tokens: a_token_is_good_until_it_is_revoked, a_token_expires, names_of_tokens_are_their_namespaces_own,
                the_name_of_an_expired_token_is_free,
                a_use_is_noted_now_and_then, what_was_revoked_long_ago_is_forgotten;
            identities: a_registration_is_good_for_so_many_identities, a_registration_ends, the_same_again_is_the_same,
                racing_registrations_take_no_more_than_there_is, a_name_is_given_once,
                what_a_revoked_executor_says_of_its_jobs_counts_for_nothing;
            people: somebody_signs_in_until_they_are_removed, a_new_password_ends_sessions_and_what_was_proved,
                a_session_ends_when_it_is_idle_or_old_or_ended, a_session_is_no_more_than_the_token_it_came_of,
                one_holder_has_so_many_sessions;
            audit: what_was_done_is_told_newest_first, old_and_too_many_acts_are_forgotten,
                what_anybody_may_do_is_forgotten_before_all_else,
                nobody_has_what_others_did_forgotten;
            secrets: a_secret_is_kept_changed_and_removed, a_job_finds_its_own_secrets_before_global_ones,
                jobs_of_codeintel_find_global_secrets_alone, only_who_holds_the_job_is_given_its_secrets,
                each_access_is_noted, nobody_has_forgotten_what_others_were_given,
                secrets_are_listed_by_key_in_pages, a_namespace_has_so_many_secrets,
                puts_that_race_leave_one_secret, a_new_key_takes_over_under_load;
            model: any_sequence_of_calls_does_what_the_model_says;
        }
    };
}
pub(crate) use each_test;

macro_rules! run {
    ($open:path, $there:path; $($file:ident: $($test:ident),+;)+) => {
        $(mod $file {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                if !$there(concat!(module_path!(), "::", stringify!($test))) {
                    return;
                }
                $crate::contract::$file::$test(async |setup| $open(setup).await).await;
            })+
        })+
    };
}
pub(crate) use run;

/// A test that is written but not named above would pass for ever.
#[test]
fn no_test_was_forgotten() {
    let named = include_str!("mod.rs");
    let sources = [
        include_str!("artifacts.rs"),
        include_str!("audit.rs"),
        include_str!("cancel.rs"),
        include_str!("claim.rs"),
        include_str!("duties.rs"),
        include_str!("files.rs"),
        include_str!("forget.rs"),
        include_str!("heartbeat.rs"),
        include_str!("held.rs"),
        include_str!("identities.rs"),
        include_str!("life.rs"),
        include_str!("logs.rs"),
        include_str!("logs_limits.rs"),
        include_str!("model.rs"),
        include_str!("namespaces.rs"),
        include_str!("people.rs"),
        include_str!("order.rs"),
        include_str!("registry.rs"),
        include_str!("release.rs"),
        include_str!("retry.rs"),
        include_str!("rules.rs"),
        include_str!("sealed_logs.rs"),
        include_str!("secrets.rs"),
        include_str!("stall.rs"),
        include_str!("submissions.rs"),
        include_str!("tokens.rs"),
        include_str!("uploads.rs"),
    ];
    for test in sources.iter().flat_map(|source| source.split("\npub(crate) async fn ").skip(1)) {
        let name = test.split('(').next().unwrap_or_default();
        assert!(named.contains(name), "{name} is not in the suite");
    }
}
