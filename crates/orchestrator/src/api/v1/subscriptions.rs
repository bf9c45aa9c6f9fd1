//! Webhook subscriptions.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use hanse_ledger::Event;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::{Api, Problem};
use crate::clock::now_ms;
use crate::webhooks::{MOST_SUBSCRIPTIONS, Subscription};

/// What to be told of.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionRequest {
    /// Name of a contract event such as `Announced`, or `*` for all.
    pub event_name: String,
    /// `http` or `https` URL that takes POST requests.
    pub callback_url: String,
}

/// All subscriptions.
#[utoipa::path(get, path = "/api/v1/subscriptions", tag = "subscriptions",
    responses((status = 200, body = [Subscription])))]
pub async fn list(State(api): State<Api>) -> Result<Json<Vec<Subscription>>, Problem> {
    Ok(Json(api.shared().store.subscriptions()?))
}

/// Subscribes to events from now on; they are delivered at least once, in order, over restarts of both sides.
#[utoipa::path(post, path = "/api/v1/subscriptions", tag = "subscriptions", request_body = SubscriptionRequest,
    responses((status = 201, body = Subscription), (status = 400, body = Problem)))]
pub async fn create(
    State(api): State<Api>,
    Json(request): Json<SubscriptionRequest>,
) -> Result<(StatusCode, Json<Subscription>), Problem> {
    let known = request.event_name == "*" || Event::NAMES.contains(&request.event_name.as_str());
    if !known {
        let names = Event::NAMES.join(", ");
        return Err(Problem::invalid(format!(
            "there is no event {}; use * or one of {names}",
            request.event_name
        )));
    }
    let url = Url::parse(&request.callback_url)
        .map_err(|error| Problem::invalid(format!("callback_url {:?}: {error}", request.callback_url)))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Problem::invalid(format!(
            "callback_url has scheme {}; use http or https",
            url.scheme()
        )));
    }
    if api.shared().store.subscriptions()?.len() >= MOST_SUBSCRIPTIONS {
        return Err(Problem::conflict(format!(
            "there are already {MOST_SUBSCRIPTIONS} subscriptions; delete one first"
        )));
    }
    let subscription = Subscription {
        id: Uuid::new_v4(),
        event_name: request.event_name,
        callback_url: request.callback_url,
        created_ms: now_ms(),
        lost: 0,
    };
    let stored = subscription.clone();
    api.shared()
        .store
        .commit(move |batch| batch.put_subscription(&stored))
        .await?;
    Ok((StatusCode::CREATED, Json(subscription)))
}

/// Ends a subscription; what was still to be delivered is dropped.
#[utoipa::path(delete, path = "/api/v1/subscriptions/{id}", tag = "subscriptions", params(("id" = Uuid, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn remove(State(api): State<Api>, Path(id): Path<Uuid>) -> Result<StatusCode, Problem> {
    let store = &api.shared().store;
    if !store.subscriptions()?.iter().any(|subscription| subscription.id == id) {
        return Err(Problem::not_found(format!("there is no subscription {id}")));
    }
    let waiting: Vec<_> = store
        .deliveries()?
        .into_iter()
        .filter(|it| it.notification.subscription_id == id)
        .collect();
    store
        .commit(move |batch| {
            for delivery in &waiting {
                batch.remove_delivery(delivery)?;
            }
            batch.remove_subscription(id)
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
