//! Draws what was found.

use image::{Rgb, RgbImage};
use imageproc::{drawing::draw_hollow_rect_mut, rect::Rect};

use crate::model::{BoundingBox, Name};

/// Draws each box as a frame two pixels wide in `colour`.
pub fn draw(image: &mut RgbImage, boxes: &[BoundingBox], colour: Rgb<u8>) {
    for found in boxes {
        let (left, top) = (i32::from(found.left()), i32::from(found.top()));
        let (width, height) = (u32::from(found.width()), u32::from(found.height()));
        for grow in 0..2 {
            let edge = Rect::at(left - grow, top - grow).of_size(width + 2 * grow as u32, height + 2 * grow as u32);
            draw_hollow_rect_mut(image, edge, colour);
        }
    }
}

/// A bright colour that stands for a domain, so that the picture shows who worked on it.
#[must_use]
pub fn colour(domain: &Name) -> Rgb<u8> {
    // FNV-1a; only that different names tend to differ matters. The page colours its table by the same rule.
    let hash = domain.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let hue = f64::from(hash % 360);
    let channel = |shift: f64| {
        let position = ((hue + shift) / 60.0).rem_euclid(6.0);
        let level = (2.0 - (position - 3.0).abs()).clamp(0.0, 1.0);
        (60.0 + 195.0 * (1.0 - level)) as u8
    };
    Rgb([channel(0.0), channel(240.0), channel(120.0)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_box_at_the_edge_is_drawn_as_far_as_it_is_visible() {
        let mut image = RgbImage::new(40, 30);
        let colour = Rgb([255, 0, 0]);
        draw(
            &mut image,
            &[
                BoundingBox::new(0, 0, 40, 30).unwrap(),
                BoundingBox::new(30, 20, 100, 100).unwrap(),
            ],
            colour,
        );
        assert_eq!(*image.get_pixel(0, 15), colour);
        assert_eq!(*image.get_pixel(35, 20), colour);
        assert_eq!(*image.get_pixel(10, 10), Rgb([0, 0, 0]));
    }

    #[test]
    fn domains_have_lasting_bright_colours() {
        let [a, b] = ["lubeck", "hamburg"].map(|name| colour(&name.parse().unwrap()));
        assert_ne!(a, b);
        assert!(a.0.iter().max() > Some(&200) && b.0.iter().max() > Some(&200));
    }
}
