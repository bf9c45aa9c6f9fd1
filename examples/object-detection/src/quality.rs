//! How good detections are: boxes found against boxes that are really there.

use serde::Serialize;

use crate::model::BoundingBox;

/// Least intersection over union for a box to count as found.
pub const MIN_OVERLAP: f64 = 0.3;

/// Counts over any number of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quality {
    /// Objects that were there.
    pub objects: u64,
    /// Boxes that were reported.
    pub reported: u64,
    /// Objects that a box of their own was reported for.
    pub found: u64,
}

impl Quality {
    /// Matches the boxes of one frame, each with at most one other, best fits first.
    #[must_use]
    pub fn of(truth: &[BoundingBox], reported: &[BoundingBox]) -> Self {
        let mut fits: Vec<(f64, usize, usize)> = Vec::new();
        for (t, object) in truth.iter().enumerate() {
            for (r, found) in reported.iter().enumerate() {
                let overlap = object.overlap(found);
                if overlap >= MIN_OVERLAP {
                    fits.push((overlap, t, r));
                }
            }
        }
        fits.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut free_truth, mut free_reported) = (vec![true; truth.len()], vec![true; reported.len()]);
        let mut found = 0;
        for (_, t, r) in fits {
            if free_truth[t] && free_reported[r] {
                (free_truth[t], free_reported[r]) = (false, false);
                found += 1;
            }
        }
        Self {
            objects: truth.len() as u64,
            reported: reported.len() as u64,
            found,
        }
    }

    /// Adds the counts of other frames.
    pub fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.reported += other.reported;
        self.found += other.found;
    }

    /// Share of the objects that were found; `None` when there were none.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        (self.objects > 0).then(|| self.found as f64 / self.objects as f64)
    }

    /// Share of the reported boxes that are objects; `None` when none was reported.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        (self.reported > 0).then(|| self.found as f64 / self.reported as f64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn two_boxes_on_one_object_count_once() {
        let object = BoundingBox::new(10, 10, 20, 20).unwrap();
        let near = BoundingBox::new(12, 10, 20, 20).unwrap();
        let far = BoundingBox::new(100, 100, 20, 20).unwrap();
        let quality = Quality::of(&[object], &[near, object, far]);
        assert_eq!(
            quality,
            Quality {
                objects: 1,
                reported: 3,
                found: 1
            }
        );
        assert_eq!(quality.recall(), Some(1.0));
        assert_eq!(Quality::default().recall(), None);
    }
}
