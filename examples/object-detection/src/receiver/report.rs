//! The figures as JSON: the answer to `GET /stats`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{model::Name, quality::Quality};

/// Counts since the start or the last reset, over all streams unless said otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Different frames that arrived in time.
    pub frames_received: u64,
    /// Frames that did not.
    pub frames_lost: u64,
    /// Frames that are missing and may still come.
    pub frames_pending: u64,
    /// Frames that came after they were counted as lost.
    pub frames_late: u64,
    /// Frames that came again.
    pub duplicates: u64,
    /// From capture to receipt, by the clocks of both machines.
    pub latency_ms: Latency,
    /// Longest time without a new frame, in milliseconds, the time until now included.
    pub longest_gap_ms: u64,
    /// Milliseconds since the last new frame; `null` before the first.
    pub last_frame_ms_ago: Option<u64>,
    /// Frames a second, over the last three seconds.
    pub fps: f64,
    /// Milliseconds since the start or the last reset.
    pub since_reset_ms: u64,
    /// How good the detections are.
    pub detection: Detection,
    /// By administrative domain of the detector.
    pub detectors: BTreeMap<Name, Detector>,
    /// By stream.
    pub streams: BTreeMap<Name, Stream>,
}

/// Percentiles in milliseconds over the last 4096 frames; `null` without frames.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half of the frames were faster.
    pub p50: Option<f64>,
    /// All but one in a hundred were faster.
    pub p99: Option<f64>,
}

/// Boxes found against boxes that are there, for detectors that saw the stream for three seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Detection {
    /// The counts.
    #[serde(flatten)]
    pub counts: Quality,
    /// Share of the objects that were found.
    pub recall: Option<f64>,
    /// Share of the found boxes that are objects.
    pub precision: Option<f64>,
}

/// What the detectors of one domain did.
#[derive(Clone, Debug, Serialize)]
pub struct Detector {
    /// Frames that they were the first to deliver.
    pub frames: u64,
    /// Milliseconds since the last picture of one of them.
    pub last_seen_ms_ago: u64,
    /// By detector.
    pub instances: BTreeMap<Name, Instance>,
}

/// What one detector did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Instance {
    /// Frames that it was the first to deliver.
    pub frames: u64,
    /// Milliseconds since its last picture.
    pub last_seen_ms_ago: u64,
}

/// What arrived of one stream.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Stream {
    /// Different frames that arrived in time.
    pub received: u64,
    /// Frames that did not.
    pub lost: u64,
    /// Frames that are missing and may still come.
    pub pending: u64,
    /// Frames that came again.
    pub duplicates: u64,
    /// Highest frame number seen.
    pub last_sequence: u64,
    /// Whether its end was announced.
    pub ended: bool,
    /// Milliseconds since anything was heard of it.
    pub last_seen_ms_ago: u64,
}
