//! What the camera sees: a quay with objects moving over it, drawn anew for each frame.
//!
//! A scene is a function of its seed and the frame number: the same seed gives the same film, with noise and all. Over a
//! textured background discs, squares, triangles and lozenges cross the picture at different speeds, some brighter
//! and some darker than what is behind them; the light drifts slowly and every pixel is noisy, like a cheap camera's.

use std::f64::consts::TAU;

use image::{Rgb, RgbImage};
use imageproc::{
    drawing::{draw_filled_circle_mut, draw_filled_rect_mut, draw_polygon_mut},
    point::Point,
    rect::Rect,
};
use rand::{Rng as _, RngCore as _, SeedableRng as _, rngs::StdRng};

use crate::model::BoundingBox;

/// Seconds of a full swing of the light, and how much it changes.
const LIGHT_PERIOD: f64 = 40.0;
const LIGHT_SWING: f64 = 0.10;

/// Far from the background's brightness (80 to 150 of 255) on either side, as things that a camera can tell apart are.
const COLOURS: [[u8; 3]; 6] = [
    [250, 214, 60],
    [20, 24, 60],
    [244, 240, 232],
    [70, 10, 16],
    [120, 240, 200],
    [8, 52, 30],
];

#[derive(Clone, Copy, Debug)]
enum Shape {
    Disc,
    Square,
    Triangle,
    Lozenge,
}

#[derive(Clone, Debug)]
struct Thing {
    shape: Shape,
    colour: Rgb<u8>,
    /// Half its width, in pixels.
    radius: i32,
    /// Middle of its lane and how far it sways from there, in pixels.
    lane: f64,
    sway: f64,
    /// Sways each second.
    sway_rate: f64,
    /// Pixels each second.
    speed: f64,
    /// Where on its way it starts, 0 to 1.
    phase: f64,
}

/// A film without end.
#[derive(Clone, Debug)]
pub struct Scene {
    seed: u64,
    fps: f64,
    background: RgbImage,
    things: Vec<Thing>,
}

impl Scene {
    /// A scene of `width` × `height` pixels (at least 64 × 64) with `objects` moving objects, `fps` frames a second.
    #[must_use]
    pub fn new(seed: u64, width: u32, height: u32, fps: f64, objects: u32) -> Self {
        let (width, height) = (width.max(64), height.max(64));
        let mut random = StdRng::seed_from_u64(seed);
        let background = quay(&mut random, width, height);
        let shapes = [Shape::Disc, Shape::Square, Shape::Triangle, Shape::Lozenge];
        let lane_height = f64::from(height) / f64::from(objects.max(1));
        let things = (0..objects as usize).map(|n| {
            let largest = (lane_height * 0.36).min(f64::from(height) / 10.0).max(6.0);
            let radius = random.random_range(largest * 0.65..=largest);
            Thing {
                shape: shapes[n % shapes.len()],
                colour: Rgb(COLOURS[n % COLOURS.len()]),
                radius: radius as i32,
                lane: lane_height * (n as f64 + 0.5),
                sway: (lane_height / 2.0 - radius).max(0.0) * 0.8,
                sway_rate: random.random_range(0.1..0.35),
                speed: f64::from(width) * random.random_range(0.15..0.32),
                phase: random.random(),
            }
        });
        let things = things.collect();
        Self {
            seed,
            fps,
            background,
            things,
        }
    }

    /// Frame `number`, and the box of each object that is visible on it, clipped to the frame.
    #[must_use]
    pub fn frame(&self, number: u64) -> (RgbImage, Vec<BoundingBox>) {
        let seconds = number as f64 / self.fps;
        let mut image = self.background.clone();
        let truth = self
            .things
            .iter()
            .filter_map(|thing| thing.draw(&mut image, seconds))
            .collect();
        let light = 1.0 + LIGHT_SWING * (TAU * seconds / LIGHT_PERIOD).sin();
        expose(
            &mut image,
            light,
            self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        );
        (image, truth)
    }
}

impl Thing {
    fn draw(&self, image: &mut RgbImage, seconds: f64) -> Option<BoundingBox> {
        let (width, height) = image.dimensions();
        let r = self.radius;
        // To and fro at constant speed: a triangle wave between the edges.
        let way = f64::from(width) - 2.0 * f64::from(r);
        let along = (self.phase * 2.0 + seconds * self.speed / way).rem_euclid(2.0);
        let x = r + (way * if along > 1.0 { 2.0 - along } else { along }) as i32;
        let y = (self.lane + self.sway * (TAU * (self.sway_rate * seconds + self.phase)).sin()) as i32;
        match self.shape {
            Shape::Disc => draw_filled_circle_mut(image, (x, y), r, self.colour),
            Shape::Square => {
                let side = (2 * r + 1).unsigned_abs();
                draw_filled_rect_mut(image, Rect::at(x - r, y - r).of_size(side, side), self.colour);
            }
            Shape::Triangle => {
                let corners = [Point::new(x - r, y + r), Point::new(x + r, y + r), Point::new(x, y - r)];
                draw_polygon_mut(image, &corners, self.colour);
            }
            Shape::Lozenge => {
                let corners = [
                    Point::new(x - r, y),
                    Point::new(x, y - r),
                    Point::new(x + r, y),
                    Point::new(x, y + r),
                ];
                draw_polygon_mut(image, &corners, self.colour);
            }
        }
        BoundingBox::clipped([x - r, y - r, x + r + 1, y + r + 1], (width, height))
    }
}

/// Paving stones, each a little different, under soft blotches of damp.
fn quay(random: &mut StdRng, width: u32, height: u32) -> RgbImage {
    const STONE: (u32, u32) = (24, 14);
    let blotches = Blotches::new(random, width / 40 + 2, height / 40 + 2);
    let stones: Vec<f64> = (0..(width / STONE.0 + 3) * (height / STONE.1 + 2))
        .map(|_| random.random_range(-10.0..10.0))
        .collect();
    RgbImage::from_fn(width, height, |x, y| {
        let row = y / STONE.1;
        // Every second row is shifted by half a stone.
        let shifted = x + row % 2 * STONE.0 / 2;
        let joint = y.is_multiple_of(STONE.1) || shifted.is_multiple_of(STONE.0);
        let stone = stones[(row * (width / STONE.0 + 2) + shifted / STONE.0) as usize % stones.len()];
        let value = 114.0 + stone + 18.0 * blotches.at(f64::from(x) / 40.0, f64::from(y) / 40.0)
            - if joint { 12.0 } else { 0.0 }
            + random.random_range(-4.0..4.0);
        // Damp granite is a little blue.
        Rgb([value * 0.96, value, value * 1.07].map(|v| v.clamp(0.0, 255.0) as u8))
    })
}

/// Value noise: random heights on a grid, smoothly joined (Perlin, "Improving Noise", 2002, for the fade curve).
struct Blotches {
    columns: u32,
    heights: Vec<f64>,
}

impl Blotches {
    fn new(random: &mut StdRng, columns: u32, rows: u32) -> Self {
        Self {
            columns,
            heights: (0..columns * rows).map(|_| random.random_range(-1.0..1.0)).collect(),
        }
    }

    fn at(&self, x: f64, y: f64) -> f64 {
        let fade = |t: f64| t * t * (3.0 - 2.0 * t);
        let mix = |a: f64, b: f64, t: f64| a + (b - a) * t;
        let height = |x: f64, y: f64| self.heights[(y * f64::from(self.columns) + x) as usize % self.heights.len()];
        let (left, top) = (x.floor(), y.floor());
        let (across, down) = (fade(x - left), fade(y - top));
        let upper = mix(height(left, top), height(left + 1.0, top), across);
        let lower = mix(height(left, top + 1.0), height(left + 1.0, top + 1.0), across);
        mix(upper, lower, down)
    }
}

/// Applies the light, and sensor noise that differs from frame to frame.
fn expose(image: &mut RgbImage, light: f64, seed: u64) {
    let gain = (light * 256.0) as i32;
    let (width, height) = image.dimensions();
    let mut noise = vec![0; (width * height) as usize];
    StdRng::seed_from_u64(seed).fill_bytes(&mut noise);
    for (pixel, byte) in image.pixels_mut().zip(noise) {
        // The sum of two four-bit numbers is roughly bell-shaped: standard deviation 6.5 of 30, taken down to 3.
        let grain = (i32::from(byte >> 4) + i32::from(byte & 15) - 15) / 2;
        for channel in &mut pixel.0 {
            *channel = (((i32::from(*channel) * gain) >> 8) + grain).clamp(0, 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_film_and_another_seed_another() {
        let [a, b, c] = [7, 7, 8].map(|seed| Scene::new(seed, 160, 120, 20.0, 3));
        assert_eq!(a.frame(31), b.frame(31));
        assert_ne!(a.frame(31).0, c.frame(31).0);
        assert_ne!(a.frame(31).0, a.frame(32).0, "nothing moves and nothing is noisy");
    }

    #[test]
    fn every_object_is_on_every_frame_and_moves() {
        let scene = Scene::new(1, 320, 240, 20.0, 4);
        for number in (0..2000).step_by(37) {
            assert_eq!(scene.frame(number).1.len(), 4);
        }
        let (first, later) = (scene.frame(0).1, scene.frame(40).1);
        assert!(
            first.iter().zip(&later).all(|(a, b)| a.overlap(b) < 0.5),
            "{first:?} {later:?}"
        );
    }

    #[test]
    fn the_truth_is_where_the_colour_is() {
        let scene = Scene::new(3, 320, 240, 20.0, 1);
        let (image, truth) = scene.frame(100);
        let middle = (
            truth[0].left() + truth[0].width() / 2,
            truth[0].top() + truth[0].height() / 2,
        );
        let [red, green, blue] = image.get_pixel(middle.0.into(), middle.1.into()).0;
        assert!(
            red > 190 && green > 160 && blue < 110,
            "yellow disc expected, found {red} {green} {blue}"
        );
    }
}
