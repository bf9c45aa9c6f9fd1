//! The OpenAPI description and its page.

use axum::Router;
use utoipa::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

use super::Api;
use super::v1::{agreements, domain, services, subscriptions};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hanse",
        description = "Federates services between Kubernetes clusters of different owners."
    ),
    paths(
        domain::health,
        domain::live,
        domain::ready,
        domain::members,
        domain::bidding,
        domain::set_bidding,
        services::list,
        services::show,
        services::create,
        services::remove,
        agreements::list,
        agreements::show,
        agreements::create,
        agreements::bids,
        agreements::place_bid,
        agreements::own_bids,
        agreements::choose,
        agreements::cancel,
        agreements::terminate,
        subscriptions::list,
        subscriptions::create,
        subscriptions::remove,
    )
)]
struct Description;

/// The description of these routes and `others`, and its page.
pub(super) fn routes(others: utoipa::openapi::OpenApi) -> Router<Api> {
    let mut description = Description::openapi();
    description.merge(others);
    SwaggerUi::new("/docs").url("/api/openapi.json", description).into()
}
