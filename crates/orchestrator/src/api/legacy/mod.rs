//! The routes of dlt-federation-kubernetes, so that scripts written for it go on working. They drive the same agreements
//! as `/api/v1`; nothing here decides anything.
//!
//! What differs: bids are compared, deadlines hold, a provider whose bid is chosen deploys by itself, and
//! `start_experiments_provider_*` answers at once because providers bid all the time.

mod experiments;
mod steps;
mod workloads;

use axum::Router;
use axum::routing::{delete, get, post};

use super::Api;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/", get(steps::about))
        .route("/register_domain", post(steps::register_domain))
        .route("/create_service_announcement", post(steps::create_service_announcement))
        .route("/check_service_state/{id}", get(steps::check_service_state))
        .route("/check_deployed_info/{id}", get(steps::check_deployed_info))
        .route("/check_service_announcements", get(steps::check_service_announcements))
        .route("/place_bid/{id_and_price}", post(steps::place_bid))
        .route("/check_bids/{id}", get(steps::check_bids))
        .route("/choose_provider/{bid_index}", post(steps::choose_provider))
        .route("/check_winner/{id}", get(steps::check_winner))
        .route("/check_if_i_am_winner/{id}", get(steps::check_if_i_am_winner))
        .route("/deploy_service/{id}", post(steps::deploy_service))
        .route("/deploy_object_detection_service", post(workloads::deploy_service))
        .route("/delete_object_detection_service", delete(workloads::delete_service))
        .route(
            "/deploy_object_detection_federation_component",
            post(workloads::deploy_component),
        )
        .route(
            "/delete_object_detection_federation_component",
            delete(workloads::delete_component),
        )
        .route("/create_k8s_resource", post(workloads::create_resource))
        .route("/delete_k8s_resource", delete(workloads::delete_resource))
        .route("/delete_all_k8s_resources", delete(workloads::delete_all))
        .route("/start_experiments_consumer_v1", post(experiments::consumer_whole))
        .route("/start_experiments_consumer_v2", post(experiments::consumer_component))
        .route("/start_experiments_consumer_v3", post(experiments::consumer_scale))
        .route("/start_experiments_provider_v1", post(experiments::provider))
        .route("/start_experiments_provider_v2", post(experiments::provider))
        .route("/start_experiments_provider_v3", post(experiments::provider))
}

/// The service that all these routes are about.
const SERVICE: &str = "object-detection";
