//! What the receiver shows over HTTP.

use std::{convert::Infallible, sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::Body,
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures::stream;
use tokio_util::sync::CancellationToken;

use super::{Report, Screen};
use crate::http::{Metrics, probes};

const BOUNDARY: &str = "hanse-picture";

pub(super) fn router(screen: &Arc<Screen>, drain: CancellationToken) -> Router {
    let ready = move || {
        if drain.is_cancelled() {
            Err("stopping".to_owned())
        } else {
            Ok(())
        }
    };
    let [shown, reset, measured, watched, snapped] = [(); 5].map(|()| Arc::clone(screen));
    Router::new()
        .route(
            "/",
            get(|| async { ([(header::CACHE_CONTROL, "no-cache")], Html(include_str!("page.html"))) }),
        )
        .route("/stats", get(move || async move { no_store(Json(report(&shown))) }))
        .route("/stats/reset", post(move || async move { restart(&reset) }))
        .route(
            "/metrics",
            get(move || async move { metrics(&report(&measured)).response() }),
        )
        .route("/stream.mjpg", get(move || async move { live(&watched) }))
        .route("/snapshot.jpg", get(move || async move { snapshot(&snapped) }))
        .merge(probes(ready))
}

fn no_store(response: impl IntoResponse) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], response)
}

fn report(screen: &Screen) -> Report {
    screen.statistics().report(Instant::now())
}

fn restart(screen: &Screen) -> StatusCode {
    screen.statistics().reset(Instant::now());
    StatusCode::NO_CONTENT
}

fn snapshot(screen: &Screen) -> Response {
    let picture = screen.picture.borrow().clone();
    match picture {
        Some(picture) => no_store(([(header::CONTENT_TYPE, "image/jpeg")], picture.file)).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "no picture has arrived yet\n").into_response(),
    }
}

/// The live picture as `multipart/x-mixed-replace` (RFC 2046, 5.1; understood by every browser in an `<img>`). A viewer
/// who is slower than the camera sees fewer pictures, never older ones.
fn live(screen: &Screen) -> Response {
    let Ok(permit) = Arc::clone(&screen.viewers).try_acquire_owned() else {
        let reason = "too many viewers, try again later; /snapshot.jpg always works\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], reason).into_response();
    };
    let mut pictures = screen.picture.subscribe();
    pictures.mark_changed();
    let stop = screen.stop.clone();
    let parts = stream::unfold((pictures, permit, stop), async |(mut pictures, permit, stop)| {
        let file = loop {
            tokio::select! {
                changed = pictures.changed() => changed.ok()?,
                () = stop.cancelled() => return None,
            }
            if let Some(picture) = &*pictures.borrow_and_update() {
                break picture.file.clone();
            }
        };
        Some((Ok::<_, Infallible>(part(&file)), (pictures, permit, stop)))
    });
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    no_store(([(header::CONTENT_TYPE, kind)], Body::from_stream(parts))).into_response()
}

/// A part with the boundary after it, so that the browser shows it at once and not when the next one comes.
fn part(file: &[u8]) -> Bytes {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n",
        file.len()
    );
    let mut part = BytesMut::with_capacity(head.len() + file.len() + 2);
    part.put_slice(head.as_bytes());
    part.put_slice(file);
    part.put_slice(b"\r\n");
    part.freeze()
}

fn metrics(report: &Report) -> Metrics {
    let percentile = |value: Option<f64>| value.unwrap_or(f64::NAN);
    Metrics::default()
        .gauge(
            "receiver_frames_received",
            "Frames since the last reset.",
            report.frames_received,
        )
        .gauge(
            "receiver_frames_lost",
            "Lost frames since the last reset.",
            report.frames_lost,
        )
        .gauge(
            "receiver_frames_pending",
            "Frames that are missing and may still come.",
            report.frames_pending,
        )
        .gauge(
            "receiver_frames_duplicate",
            "Doubled frames since the last reset.",
            report.duplicates,
        )
        .gauge(
            "receiver_longest_gap_milliseconds",
            "Longest time without a new frame.",
            report.longest_gap_ms,
        )
        .gauge(
            "receiver_latency_p50_milliseconds",
            "Capture to receipt, median.",
            percentile(report.latency_ms.p50),
        )
        .gauge(
            "receiver_latency_p99_milliseconds",
            "Capture to receipt, p99.",
            percentile(report.latency_ms.p99),
        )
}
