//! The receiver's figures, as functions of what arrived when.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::report::{Detection, Detector, Instance, Latency, Report, Stream};
use crate::{
    model::{FrameId, Name, Timestamp},
    quality::Quality,
    tracking::{Arrival, Tracker},
    wire::PictureHeader,
};

/// Streams, domains and detectors per domain that are kept; of more, the one not seen for longest is forgotten.
const MAX_NAMES: usize = 64;
/// Latencies that the percentiles are taken from.
const MAX_LATENCIES: usize = 4096;
/// Time over which the frame rate is taken.
const RATE_WINDOW: Duration = Duration::from_secs(3);
/// A detector has to see a stream for so long, in the stream's time, before its detections are judged.
const WARM_UP_MS: f64 = 3000.0;
/// An ended stream is forgotten after this.
const FORGET_ENDED: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct StreamFigures {
    tracker: Tracker,
    received: u64,
    lost: u64,
    duplicates: u64,
    last_seen: Instant,
    last_sequence: u64,
    /// Capture time of the first frame that each detector worked on.
    detectors_since: BTreeMap<Name, Timestamp>,
}

#[derive(Debug)]
struct Counted {
    frames: u64,
    last_seen: Instant,
}

/// All that the receiver counts. Counters start at the last [`Statistics::reset`]; what is known of streams stays.
#[derive(Debug)]
pub struct Statistics {
    window: Duration,
    since: Instant,
    streams: BTreeMap<Name, StreamFigures>,
    detectors: BTreeMap<Name, BTreeMap<Name, Counted>>,
    received: u64,
    lost: u64,
    late: u64,
    duplicates: u64,
    quality: Quality,
    latencies: VecDeque<f64>,
    arrivals: VecDeque<Instant>,
    last_new: Option<Instant>,
    longest_gap: Duration,
}

impl Statistics {
    /// Nothing seen. A frame that is missing for longer than `window` is lost.
    #[must_use]
    pub fn new(window: Duration, now: Instant) -> Self {
        Self {
            window,
            since: now,
            streams: BTreeMap::new(),
            detectors: BTreeMap::new(),
            received: 0,
            lost: 0,
            late: 0,
            duplicates: 0,
            quality: Quality::default(),
            latencies: VecDeque::new(),
            arrivals: VecDeque::new(),
            last_new: None,
            longest_gap: Duration::ZERO,
        }
    }

    /// Counts from now on. A gap that is open now counts from now; pending frames stay pending.
    pub fn reset(&mut self, now: Instant) {
        self.give_up(now);
        for stream in self.streams.values_mut() {
            (stream.received, stream.lost, stream.duplicates) = (0, 0, 0);
        }
        for counted in self.detectors.values_mut().flat_map(BTreeMap::values_mut) {
            counted.frames = 0;
        }
        (self.received, self.lost, self.late, self.duplicates) = (0, 0, 0, 0);
        (self.quality, self.longest_gap, self.since) = (Quality::default(), Duration::ZERO, now);
        self.latencies.clear();
        self.last_new = self.last_new.map(|_| now);
    }

    /// A picture arrived. Returns whether it is worth showing: the first of its number and in time.
    pub fn picture(&mut self, picture: &PictureHeader, now: Instant, wall: Timestamp) -> bool {
        let id = &picture.frame.id;
        let stream = self.stream(&id.stream, now);
        stream.last_seen = now;
        let arrival = stream.tracker.arrived(id.sequence, now);
        match arrival {
            Arrival::New => stream.received += 1,
            Arrival::Duplicate => stream.duplicates += 1,
            Arrival::Late => {}
        }
        stream.last_sequence = stream.last_sequence.max(id.sequence);
        let first = *oldest_forgotten(&mut stream.detectors_since, &picture.detector, |since| *since)
            .entry(picture.detector.clone())
            .or_insert(picture.frame.captured_at);
        match arrival {
            Arrival::New => {}
            Arrival::Duplicate => self.duplicates += 1,
            Arrival::Late => self.late += 1,
        }
        self.detector(picture, now, arrival == Arrival::New);
        if arrival != Arrival::New {
            return false;
        }
        if picture.frame.captured_at.millis_since(first) >= WARM_UP_MS {
            self.quality.add(Quality::of(&picture.frame.truth, &picture.found));
        }
        self.received += 1;
        if let Some(last) = self.last_new.replace(now) {
            self.longest_gap = self.longest_gap.max(now.saturating_duration_since(last));
        }
        push_bounded(&mut self.latencies, wall.millis_since(picture.frame.captured_at));
        push_bounded(&mut self.arrivals, now);
        true
    }

    /// A stream has ended; the number of `end` is that of its frames.
    pub fn ended(&mut self, end: &FrameId, now: Instant) {
        let stream = self.stream(&end.stream, now);
        stream.last_seen = now;
        stream.tracker.ended(end.sequence, now);
    }

    /// The figures.
    pub fn report(&mut self, now: Instant) -> Report {
        self.give_up(now);
        let open_gap = self
            .last_new
            .map(|last| now.saturating_duration_since(last))
            .unwrap_or_default();
        let age = |seen: Instant| millis(now.saturating_duration_since(seen));
        let recent = self
            .arrivals
            .iter()
            .filter(|at| now.saturating_duration_since(**at) <= RATE_WINDOW)
            .count();
        let streams = self.streams.iter().map(|(name, stream)| {
            let figures = Stream {
                received: stream.received,
                lost: stream.lost,
                pending: stream.tracker.pending(),
                duplicates: stream.duplicates,
                last_sequence: stream.last_sequence,
                ended: stream.tracker.has_ended(),
                last_seen_ms_ago: age(stream.last_seen),
            };
            (name.clone(), figures)
        });
        let detectors = self.detectors.iter().filter_map(|(domain, instances)| {
            let last_seen = instances.values().map(|counted| counted.last_seen).max()?;
            let instance = |counted: &Counted| Instance {
                frames: counted.frames,
                last_seen_ms_ago: age(counted.last_seen),
            };
            let figures = Detector {
                frames: instances.values().map(|counted| counted.frames).sum(),
                last_seen_ms_ago: age(last_seen),
                instances: instances
                    .iter()
                    .map(|(name, counted)| (name.clone(), instance(counted)))
                    .collect(),
            };
            Some((domain.clone(), figures))
        });
        Report {
            frames_received: self.received,
            frames_lost: self.lost,
            frames_pending: self.streams.values().map(|stream| stream.tracker.pending()).sum(),
            frames_late: self.late,
            duplicates: self.duplicates,
            latency_ms: Latency {
                p50: self.percentile(50),
                p99: self.percentile(99),
            },
            longest_gap_ms: millis(self.longest_gap.max(open_gap)),
            last_frame_ms_ago: self.last_new.map(age),
            fps: recent as f64 / RATE_WINDOW.as_secs_f64(),
            since_reset_ms: age(self.since),
            detection: Detection {
                counts: self.quality,
                recall: self.quality.recall(),
                precision: self.quality.precision(),
            },
            streams: streams.collect(),
            detectors: detectors.collect(),
        }
    }

    /// Time goes on: counts what is missing for too long, forgets what has ended.
    fn give_up(&mut self, now: Instant) {
        for stream in self.streams.values_mut() {
            let lost = stream.tracker.give_up(now, self.window);
            stream.lost = stream.lost.saturating_add(lost);
            self.lost = self.lost.saturating_add(lost);
        }
        self.streams.retain(|_, stream| {
            !stream.tracker.has_ended() || now.saturating_duration_since(stream.last_seen) < FORGET_ENDED
        });
    }

    fn stream(&mut self, name: &Name, now: Instant) -> &mut StreamFigures {
        let fresh = || StreamFigures {
            tracker: Tracker::default(),
            received: 0,
            lost: 0,
            duplicates: 0,
            last_seen: now,
            last_sequence: 0,
            detectors_since: BTreeMap::new(),
        };
        let streams = oldest_forgotten(&mut self.streams, name, |stream| stream.last_seen);
        streams.entry(name.clone()).or_insert_with(fresh)
    }

    fn detector(&mut self, picture: &PictureHeader, now: Instant, counts: bool) {
        let newest = |instances: &BTreeMap<Name, Counted>| instances.values().map(|counted| counted.last_seen).max();
        let domains = oldest_forgotten(&mut self.detectors, &picture.domain, newest);
        let instances = domains.entry(picture.domain.clone()).or_default();
        let instances = oldest_forgotten(instances, &picture.detector, |counted| counted.last_seen);
        let counted = instances.entry(picture.detector.clone()).or_insert(Counted {
            frames: 0,
            last_seen: now,
        });
        counted.frames += u64::from(counts);
        counted.last_seen = now;
    }

    /// Nearest-rank percentile of the latencies; `None` without frames.
    fn percentile(&self, percent: usize) -> Option<f64> {
        let mut sorted: Vec<f64> = self.latencies.iter().copied().collect();
        let rank = (sorted.len() * percent).div_ceil(100).checked_sub(1)?;
        Some(*sorted.select_nth_unstable_by(rank, f64::total_cmp).1)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn push_bounded<T>(queue: &mut VecDeque<T>, value: T) {
    if queue.len() >= MAX_LATENCIES {
        queue.pop_front();
    }
    queue.push_back(value);
}

/// Makes room for `name` if it is new and the map is full.
fn oldest_forgotten<'a, V, K: Ord>(
    map: &'a mut BTreeMap<Name, V>,
    name: &Name,
    age: impl Fn(&V) -> K,
) -> &'a mut BTreeMap<Name, V> {
    if map.len() >= MAX_NAMES && !map.contains_key(name) {
        let oldest = map
            .iter()
            .min_by_key(|(_, value)| age(value))
            .map(|(name, _)| name.clone());
        oldest.and_then(|name| map.remove(&name));
    }
    map
}

#[cfg(test)]
mod tests;
