//! Finds what moves.
//!
//! The background of a stream is the **median over time** of frames a third of a second apart: an object that passes
//! covers a place in the minority of them and so leaves no trace. That needs only a few frames, in any order and with
//! gaps, so a detector that shares its stream with others works as well as one that sees every frame. What differs from
//! the background by more than noise explains, after a change of light common to the whole picture is taken out, is
//! cleaned by morphology and split into connected components.
//!
//! Source: N. Lo, S. Velastin, "Automatic congestion detection system for underground platforms", 2001 (temporal median);
//! all on luma at half resolution, which averages noise away and makes it cheap.

use std::collections::VecDeque;

use image::{GrayImage, Luma, RgbImage};
use imageproc::{
    distance_transform::Norm,
    morphology::{close_mut, open_mut},
    region_labelling::{Connectivity, connected_components},
};

use crate::model::{BoundingBox, MAX_BOXES, Timestamp};

/// Frames that the median is taken over, and the time between them: a memory of 4 seconds.
const SAMPLES: usize = 11;
const SAMPLE_INTERVAL_US: u64 = 350_000;
/// Fewer samples than this cannot tell an object from the background.
const MIN_SAMPLES: usize = 3;
/// Least difference in luma, and how many times the noise, that counts as an object.
const MIN_DIFFERENCE: i16 = 20;
const NOISE_FACTOR: i16 = 5;
/// Smallest object, in pixels of the half-size picture.
const MIN_AREA: u32 = 20;

/// The background of one stream. All frames of a stream have one size.
#[derive(Clone, Debug)]
pub struct Background {
    size: (u32, u32),
    samples: VecDeque<GrayImage>,
    newest: Timestamp,
    median: Option<GrayImage>,
}

impl Background {
    /// Nothing learned yet, for frames of the size of `frame`.
    #[must_use]
    pub fn new(frame: &RgbImage) -> Self {
        Self {
            size: frame.dimensions(),
            samples: VecDeque::new(),
            newest: Timestamp::default(),
            median: None,
        }
    }

    /// Whether `frame` has the size that this background is for.
    #[must_use]
    pub fn fits(&self, frame: &RgbImage) -> bool {
        self.size == frame.dimensions()
    }

    /// The moving objects on `frame`, and learns from it. Empty while too little was seen (the first 0.7 s).
    pub fn objects(&mut self, frame: &RgbImage, captured_at: Timestamp) -> Vec<BoundingBox> {
        let luma = half_size_luma(frame);
        let found = self
            .median
            .as_ref()
            .map(|median| moving(&luma, median, self.size))
            .unwrap_or_default();
        self.learn(luma, captured_at);
        found
    }

    fn learn(&mut self, luma: GrayImage, captured_at: Timestamp) {
        // Late frames are detected on but not learned from, so samples are in order and spread over time.
        let due = Timestamp(self.newest.0.saturating_add(SAMPLE_INTERVAL_US));
        if !self.samples.is_empty() && captured_at < due {
            return;
        }
        self.newest = captured_at;
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(luma);
        if self.samples.len() >= MIN_SAMPLES {
            self.median = Some(median(&self.samples));
        }
    }
}

/// ITU-R BT.601 luma, averaged over 2×2 pixels.
fn half_size_luma(frame: &RgbImage) -> GrayImage {
    let (width, height) = (frame.width() / 2, frame.height() / 2);
    let row_length = frame.width() as usize * 3;
    let mut luma = Vec::with_capacity((width * height) as usize);
    for rows in frame.as_raw().chunks_exact(row_length * 2) {
        let (upper, lower) = rows.split_at(row_length);
        for (a, b) in upper.chunks_exact(6).zip(lower.chunks_exact(6)) {
            let sum = |channel: usize| {
                [a[channel], a[channel + 3], b[channel], b[channel + 3]]
                    .map(u32::from)
                    .iter()
                    .sum()
            };
            let (red, green, blue): (u32, u32, u32) = (sum(0), sum(1), sum(2));
            luma.push(((red * 77 + green * 150 + blue * 29) >> 10) as u8);
        }
    }
    GrayImage::from_raw(width, height, luma).unwrap_or_default()
}

fn median(samples: &VecDeque<GrayImage>) -> GrayImage {
    let mut values = [0; SAMPLES];
    let used = &mut values[..samples.len().min(SAMPLES)];
    let mut median = samples[0].clone();
    for (at, pixel) in median.iter_mut().enumerate() {
        for (value, sample) in used.iter_mut().zip(samples) {
            *value = sample.as_raw()[at];
        }
        let middle = used.len() / 2;
        *pixel = *used.select_nth_unstable(middle).1;
    }
    median
}

fn moving(luma: &GrayImage, background: &GrayImage, size: (u32, u32)) -> Vec<BoundingBox> {
    let difference: Vec<i16> = luma
        .iter()
        .zip(background.iter())
        .map(|(a, b)| i16::from(*a) - i16::from(*b))
        .collect();
    let light = middle(&difference, |d| d);
    let noise = middle(&difference, |d| (d - light).abs());
    let threshold = MIN_DIFFERENCE.max(noise * NOISE_FACTOR);
    let mut mask = GrayImage::new(luma.width(), luma.height());
    for (pixel, d) in mask.iter_mut().zip(&difference) {
        *pixel = if (d - light).abs() > threshold { 255 } else { 0 };
    }
    // Single pixels go, holes and cracks are filled.
    open_mut(&mut mask, Norm::LInf, 1);
    close_mut(&mut mask, Norm::LInf, 2);
    components(&mask, size)
}

/// The median of `of(d)`, from one pixel in seven: enough to be exact to a level, in a seventh of the time.
fn middle(difference: &[i16], of: impl Fn(i16) -> i16) -> i16 {
    let mut values: Vec<i16> = difference.iter().step_by(7).map(|d| of(*d)).collect();
    let at = values.len() / 2;
    if values.is_empty() {
        0
    } else {
        *values.select_nth_unstable(at).1
    }
}

#[derive(Clone, Copy)]
struct Extent {
    corners: [u32; 4],
    area: u32,
}

fn components(mask: &GrayImage, size: (u32, u32)) -> Vec<BoundingBox> {
    let labels = connected_components(mask, Connectivity::Eight, Luma([0]));
    let mut extents: Vec<Extent> = Vec::new();
    for (x, y, label) in labels.enumerate_pixels().filter(|(_, _, label)| label.0[0] != 0) {
        let index = label.0[0] as usize - 1;
        let unseen = Extent {
            corners: [u32::MAX, u32::MAX, 0, 0],
            area: 0,
        };
        extents.resize(extents.len().max(index + 1), unseen);
        let [left, top, right, bottom] = &mut extents[index].corners;
        (*left, *top) = (x.min(*left), y.min(*top));
        (*right, *bottom) = (x.max(*right), y.max(*bottom));
        extents[index].area += 1;
    }
    extents.retain(|extent| extent.area >= MIN_AREA);
    extents.sort_by_key(|extent| std::cmp::Reverse(extent.area));
    let full_size = |extent: &Extent| {
        let [left, top, right, bottom] = extent.corners;
        let corners =
            [left * 2, top * 2, right * 2 + 2, bottom * 2 + 2].map(|edge| i32::try_from(edge).unwrap_or(i32::MAX));
        BoundingBox::clipped(corners, size)
    };
    extents.iter().filter_map(full_size).take(MAX_BOXES).collect()
}
