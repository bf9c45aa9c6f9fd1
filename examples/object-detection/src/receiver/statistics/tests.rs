#![allow(clippy::unwrap_used)]
use super::*;
use crate::{model::BoundingBox, wire::FrameHeader};

const WINDOW: Duration = Duration::from_secs(3);

struct Film {
    start: Instant,
    statistics: Statistics,
}

impl Film {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            start,
            statistics: Statistics::new(WINDOW, start),
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Frame `sequence`, captured and delivered `ms` after the start.
    fn picture(&mut self, stream: &str, sequence: u64, domain: &str, ms: u64) -> bool {
        let object = BoundingBox::new(10, 10, 20, 20).unwrap();
        let frame = FrameHeader {
            id: FrameId {
                stream: stream.parse().unwrap(),
                sequence,
            },
            captured_at: Timestamp(ms * 1000),
            truth: vec![object],
        };
        let domain: Name = domain.parse().unwrap();
        let header = PictureHeader {
            frame,
            found: vec![object],
            detector: domain.clone(),
            domain,
        };
        self.statistics
            .picture(&header, self.at(ms), Timestamp((ms + 12) * 1000))
    }

    fn report(&mut self, ms: u64) -> Report {
        let now = self.at(ms);
        self.statistics.report(now)
    }
}

#[test]
fn a_gap_is_seen_by_the_viewer_and_not_by_the_stream() {
    let mut film = Film::new();
    film.picture("a", 0, "x", 0);
    film.picture("b", 0, "y", 100);
    film.picture("a", 1, "x", 200);
    assert_eq!(film.report(200).longest_gap_ms, 100);
    assert_eq!(film.report(950).longest_gap_ms, 750, "a gap that is still open counts");
    film.picture("a", 2, "x", 1200);
    assert_eq!(film.report(1200).longest_gap_ms, 1000);
}

#[test]
fn a_reset_counts_from_now_on() {
    let mut film = Film::new();
    film.picture("a", 0, "x", 0);
    film.picture("a", 2, "x", 900);
    let now = film.at(1000);
    film.statistics.reset(now);
    let report = film.report(1000);
    assert_eq!(
        (report.frames_received, report.frames_lost, report.longest_gap_ms),
        (0, 0, 0)
    );
    assert_eq!(report.frames_pending, 1);
    film.picture("a", 3, "x", 1040);
    let report = film.report(5000);
    assert_eq!(
        (report.frames_received, report.frames_lost),
        (1, 1),
        "pending at the reset, lost after it"
    );
    assert_eq!(report.streams.values().next().unwrap().lost, 1);
}

#[test]
fn doubles_are_counted_and_not_shown() {
    let mut film = Film::new();
    assert!(film.picture("a", 0, "x", 0));
    assert!(!film.picture("a", 0, "y", 10));
    let report = film.report(20);
    assert_eq!((report.frames_received, report.duplicates), (1, 1));
    let frames: Vec<u64> = report.detectors.values().map(|detector| detector.frames).collect();
    assert_eq!(frames, [1, 0], "who was first counts");
}

#[test]
fn latency_rate_and_quality_are_those_of_the_frames() {
    let mut film = Film::new();
    for n in 0..100 {
        film.picture("a", n, "x", n * 50);
    }
    let report = film.report(4950);
    assert_eq!(report.latency_ms.p50, Some(12.0));
    assert_eq!(report.latency_ms.p99, Some(12.0));
    assert!((report.fps - 20.0).abs() < 1.0, "{}", report.fps);
    assert_eq!(report.detection.recall, Some(1.0));
    assert_eq!(
        report.detection.counts.objects, 40,
        "the first three seconds are warm-up"
    );
}

#[test]
fn an_announced_end_makes_a_missing_tail_a_loss_and_the_stream_is_forgotten_later() {
    let mut film = Film::new();
    film.picture("a", 0, "x", 0);
    let (end, now) = (
        FrameId {
            stream: "a".parse().unwrap(),
            sequence: 3,
        },
        film.at(10),
    );
    film.statistics.ended(&end, now);
    assert_eq!(film.report(20).frames_pending, 2);
    assert_eq!(film.report(4000).frames_lost, 2);
    assert!(film.report(4000).streams.values().next().unwrap().ended);
    assert_eq!(film.report(90_000).streams.len(), 0);
}

#[test]
fn any_number_of_names_takes_bounded_memory() {
    let mut film = Film::new();
    for n in 0..1000 {
        film.picture(&format!("stream-{n}"), n, &format!("domain-{n}"), n);
        film.picture("one", n, &format!("domain-{n}"), n);
    }
    let report = film.report(1000);
    assert_eq!((report.streams.len(), report.detectors.len()), (MAX_NAMES, MAX_NAMES));
    assert!(
        film.statistics
            .streams
            .values()
            .all(|stream| stream.detectors_since.len() <= MAX_NAMES)
    );
    assert!(report.streams.contains_key(&"one".parse().unwrap()));
}
