//! `/api/v1`.

pub(super) mod agreements;
pub(super) mod domain;
pub(super) mod services;
pub(super) mod subscriptions;

use axum::Router;
use axum::routing::{get, post};

pub use agreements::AgreementPage;
pub use domain::{HealthPage, MemberPage, Trouble};
pub use services::ServicePage;

use super::Api;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/api/v1/health", get(domain::health))
        .route("/api/v1/live", get(domain::live))
        .route("/api/v1/ready", get(domain::ready))
        .route("/api/v1/members", get(domain::members))
        .route("/api/v1/bidding", get(domain::bidding).put(domain::set_bidding))
        .route("/api/v1/services", get(services::list).post(services::create))
        .route("/api/v1/services/{name}", get(services::show).delete(services::remove))
        .route("/api/v1/agreements", get(agreements::list).post(agreements::create))
        .route("/api/v1/agreements/{id}", get(agreements::show))
        .route(
            "/api/v1/agreements/{id}/bids",
            get(agreements::bids).post(agreements::place_bid),
        )
        .route("/api/v1/agreements/{id}/choose", post(agreements::choose))
        .route("/api/v1/agreements/{id}/cancel", post(agreements::cancel))
        .route("/api/v1/agreements/{id}/terminate", post(agreements::terminate))
        .route("/api/v1/bids", get(agreements::own_bids))
        .route(
            "/api/v1/subscriptions",
            get(subscriptions::list).post(subscriptions::create),
        )
        .route(
            "/api/v1/subscriptions/{id}",
            axum::routing::delete(subscriptions::remove),
        )
}
