//! The detector finds what moves, whatever share of the frames it sees.
#![allow(clippy::unwrap_used)]

use object_detection::{detection::Background, jpeg, model::Timestamp, quality::Quality, scene::Scene};

/// Recall and precision on a film of 15 s of which the detector sees one frame in `every`, after a warm-up.
fn watched(seed: u64, every: usize) -> Quality {
    let scene = Scene::new(seed, 320, 240, 20.0, 4);
    let mut background = None;
    let mut total = Quality::default();
    for number in (0..300_u64).step_by(every) {
        let (frame, truth) = scene.frame(number);
        let frame = jpeg::decode(&jpeg::encode(&frame, 80).unwrap()).unwrap();
        let background = background.get_or_insert_with(|| Background::new(&frame));
        let found = background.objects(&frame, Timestamp(number * 50_000));
        if number >= 60 {
            total.add(Quality::of(&truth, &found));
        }
    }
    total
}

#[test]
fn moving_objects_are_found_in_any_film() {
    for seed in 0..8 {
        let quality = watched(seed, 1);
        let (recall, precision) = (quality.recall().unwrap(), quality.precision().unwrap_or_default());
        println!("seed {seed}: {quality:?} {recall:.3} {precision:.3}");
        assert!(recall >= 0.8 && precision >= 0.8, "seed {seed}: {quality:?}");
    }
}

#[test]
fn a_detector_that_sees_one_frame_in_six_is_as_good() {
    for seed in 0..4 {
        let quality = watched(seed, 6);
        assert!(quality.recall().unwrap() >= 0.8, "seed {seed}: {quality:?}");
    }
}
