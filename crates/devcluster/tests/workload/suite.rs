//! Runs the contract suite: on a development cluster, or with `KUBECONFIG` and `REQUIRE_CLUSTER=1` on a real
//! one. Each test has a cluster of its own unless it is a real one.

use std::future::Future;

use crate::{contract, local};

async fn on_a_cluster<F: Future<Output = ()>>(test: impl FnOnce(kube::Client) -> F) {
    if std::env::var("REQUIRE_CLUSTER").as_deref() == Ok("1") {
        // No way to skip: what is required and not there is an error.
        test(
            kube::Client::try_default()
                .await
                .expect("REQUIRE_CLUSTER=1 needs a KUBECONFIG that works"),
        )
        .await;
        return;
    }
    let cluster = local::Local::start().await;
    test(cluster.client()).await;
    cluster.stop().await;
}

macro_rules! contract {
    ($($room:ident :: $name:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            on_a_cluster(contract::$room::$name).await;
        })*
    };
}

contract! {
    access::acting_as_a_service_account,
    access::reviews_tell_what_is_allowed,
    access::the_authority_is_published,
    custom::a_schema_prunes_defaults_and_refuses,
    custom::rules_in_cel_decide,
    custom::a_wrong_definition_is_refused,
    custom::tables_show_the_columns_of_the_definition,
    deployments::becomes_ready_and_answers_at_its_address,
    deployments::a_rolling_update_refuses_no_connection,
    deployments::a_restart_by_annotation_replaces_the_pods,
    deployments::scales_up_and_down,
    deployments::recreate_never_runs_two_versions,
    deployments::deletion_takes_the_pods_along,
    failures::a_crash_loop_is_named,
    failures::a_failed_image_pull_is_named,
    failures::an_unschedulable_pod_says_what_is_missing,
    failures::an_exceeded_quota_is_named,
    failures::a_missed_progress_deadline_is_named,
    failures::a_missing_config_map_is_named_and_then_found,
    jobs::a_job_completes,
    jobs::a_failing_job_ends_at_its_limit,
    jobs::a_finished_job_expires,
    pods::logs_can_be_read,
    pods::configuration_arrives,
    pods::probes_decide,
    pods::a_hanging_probe_is_ended,
    pods::grace_is_given_and_ends,
    pods::a_pre_stop_hook_comes_first,
}
