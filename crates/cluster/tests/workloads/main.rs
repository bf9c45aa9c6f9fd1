//! What this crate promises, on a cluster that really runs programs.
//!
//! Runs on a devcluster, or with `KUBECONFIG` and `REQUIRE_CLUSTER=1` on a real cluster. That one needs a load balancer
//! controller, access to the image `busybox:1.36`, and administrator rights; the suite keeps to namespaces of its own.
#![allow(clippy::unwrap_used)]
#![allow(missing_docs)] // a test program has no users of its items

mod apply;
mod bed;
mod change;
mod devbed;
mod outage;
mod ready;
mod removal;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use crate::bed::{Bed, trial};

macro_rules! trials {
    ($bed:expr, $($module:ident :: { $($test:ident),* $(,)? })*) => {
        vec![$($(trial($bed, concat!(stringify!($module), "::", stringify!($test)), |case| Box::pin($module::$test(case)))),*),*]
    };
}

fn all(bed: &Arc<Bed>) -> Vec<Trial> {
    trials! { bed,
        apply::{
            applying_twice_changes_nothing,
            an_interrupted_apply_is_completed,
            fields_that_a_newer_manifest_drops_go_away,
            a_conflict_names_the_other_manager_and_the_field,
            the_manifest_wins_over_our_own_earlier_changes,
            someone_elses_object_is_not_taken,
            another_agreements_object_is_not_taken,
            a_namespace_that_is_not_there_is_said_to_be_missing,
            pods_carry_their_owner,
        }
        ready::{
            an_image_that_is_not_there,
            an_image_name_that_is_none,
            a_crash_loop_with_exit_code_and_last_words,
            a_program_that_ends_by_itself,
            a_program_that_is_not_in_the_image,
            more_cpu_than_any_node_has,
            a_quota_that_is_used_up,
            a_config_map_that_is_missing,
            a_key_that_is_missing,
            a_volume_that_cannot_be_mounted,
            a_probe_that_fails_is_told_at_the_deadline,
            the_deployments_own_progress_deadline,
            what_was_never_applied_is_missing,
            a_job_that_completes_and_one_that_fails,
            a_program_that_is_still_starting_at_the_deadline,
            a_load_balancer_that_nobody_serves,
            an_account_without_rights_is_told_at_once,
            without_the_right_to_read_events_the_wait_works_all_the_same,
            a_broken_new_version_is_told_while_the_old_one_runs_on,
            a_cluster_that_does_not_answer,
        }
        change::{
            a_service_answers_where_its_address_says,
            services_without_such_an_address_are_left_out,
            scaling_up_and_down,
            new_configuration_reaches_the_program_after_a_restart,
            a_roll_out_for_the_same_cause_happens_once,
            logs_are_the_last_lines_of_each_container,
            the_status_lists_what_the_owner_has,
            the_rights_of_an_administrator_suffice,
        }
        outage::{
            a_wait_survives_a_restart_of_the_api,
            a_wait_survives_forgotten_history,
        }
        removal::{
            deleting_a_manifest_returns_when_its_pods_are_gone,
            pruning_takes_one_component_and_leaves_what_is_shared,
            a_pod_prefix_takes_the_deployment_and_its_service,
            what_is_someone_elses_stays,
            a_pod_that_will_not_end_is_named_at_the_deadline_and_waited_for_again,
            an_object_that_is_ending_is_not_applied_over,
            a_namespace_that_is_ending_is_not_used,
            a_namespace_goes_with_everything_in_it_but_only_if_it_is_ours,
        }
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if let Some(code) = args.next().and_then(|first| devbed::other_self(&first, args)) {
        return code;
    }
    // The provider that the real binary installs, too; needed for clusters that speak TLS.
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing installed one before");
    let mut arguments = Arguments::from_args();
    // Each test waits more than it works, but each also runs programs; a few at a time are enough for two cores.
    arguments.test_threads.get_or_insert(4);
    let bed = match Bed::start() {
        Ok(bed) => Arc::new(bed),
        Err(error) => {
            eprintln!("no cluster to test on: {error:?}");
            return ExitCode::FAILURE;
        }
    };
    let conclusion = libtest_mimic::run(&arguments, all(&bed));
    if let Ok(bed) = Arc::try_unwrap(bed) {
        bed.stop();
    }
    conclusion.exit_code()
}
