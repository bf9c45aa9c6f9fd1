//! What a frame is called, when it was taken, and where things are on it.

use std::{
    fmt,
    str::FromStr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// Most boxes that one frame may carry; more are refused as hostile.
pub const MAX_BOXES: usize = 64;

/// A name that cannot be a stream, a domain or an instance.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("\"{0}\" is no name: use 1 to 100 letters, digits, '.', '_' or '-'")]
pub struct InvalidName(String);

/// A name from the outside, safe to log, to show on a page and to use as a metric label: 1 to 100 characters of
/// `[A-Za-z0-9._-]`. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if (1..=100).contains(&text.len()) && text.chars().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidName(text.chars().take(100).collect()))
        }
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which picture of which stream. A stream is one run of one camera; its frames are numbered from 0 without gaps. The
/// announcement of a stream's end has the number after its last frame, so it has an identity of its own too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameId {
    /// The run of the camera.
    pub stream: Name,
    /// Number in the stream, from 0.
    pub sequence: u64,
}

impl fmt::Display for FrameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.stream, self.sequence)
    }
}

/// Microseconds since the Unix epoch. Latencies compare two machines' clocks, so they are as good as those agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The wall clock.
    #[must_use]
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// Milliseconds from `earlier` to here; 0 when `earlier` is later (clocks that disagree).
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> f64 {
        // Exact below 2^53 µs, which is 285 years.
        self.0.saturating_sub(earlier.0) as f64 / 1000.0
    }
}

/// An upright rectangle on a frame, in pixels from the top left corner. Never empty, never beyond 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[u16; 4]", into = "[u16; 4]")]
pub struct BoundingBox {
    left: u16,
    top: u16,
    width: u16,
    height: u16,
}

/// A rectangle without area or beyond the coordinate range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a box needs a width and a height of at least 1 and must end within 65535 pixels")]
pub struct InvalidBox;

impl BoundingBox {
    /// A box of `width` × `height` pixels.
    ///
    /// # Errors
    /// [`InvalidBox`] when it has no area or ends beyond pixel 65535.
    pub fn new(left: u16, top: u16, width: u16, height: u16) -> Result<Self, InvalidBox> {
        let ends = left.checked_add(width).is_some() && top.checked_add(height).is_some();
        if ends && width > 0 && height > 0 {
            Ok(Self {
                left,
                top,
                width,
                height,
            })
        } else {
            Err(InvalidBox)
        }
    }

    /// The part of a box given by its corners (right and bottom exclusive) that lies on a frame; `None` if nothing does.
    #[must_use]
    pub fn clipped(corners: [i32; 4], frame: (u32, u32)) -> Option<Self> {
        let limit = |value: i32, end: u32| value.clamp(0, i32::from(u16::try_from(end).unwrap_or(u16::MAX))) as u16;
        let [left, top, right, bottom] = corners;
        let (left, right) = (limit(left, frame.0), limit(right, frame.0));
        let (top, bottom) = (limit(top, frame.1), limit(bottom, frame.1));
        Self::new(left, top, right.checked_sub(left)?, bottom.checked_sub(top)?).ok()
    }

    /// Column of the left edge.
    #[must_use]
    pub fn left(&self) -> u16 {
        self.left
    }

    /// Row of the top edge.
    #[must_use]
    pub fn top(&self) -> u16 {
        self.top
    }

    /// Columns, at least 1.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Rows, at least 1.
    #[must_use]
    pub fn height(&self) -> u16 {
        self.height
    }

    /// Intersection over union, 0 (apart) to 1 (the same): the usual measure of how well a detection fits
    /// (Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010).
    #[must_use]
    pub fn overlap(&self, other: &Self) -> f64 {
        let shared = |a: u16, a_size: u16, b: u16, b_size: u16| {
            let end = (u32::from(a) + u32::from(a_size)).min(u32::from(b) + u32::from(b_size));
            u64::from(end.saturating_sub(u32::from(a.max(b))))
        };
        let area = |rectangle: &Self| u64::from(rectangle.width) * u64::from(rectangle.height);
        let both = shared(self.left, self.width, other.left, other.width)
            * shared(self.top, self.height, other.top, other.height);
        both as f64 / (area(self) + area(other) - both) as f64
    }
}

impl TryFrom<[u16; 4]> for BoundingBox {
    type Error = InvalidBox;

    fn try_from([left, top, width, height]: [u16; 4]) -> Result<Self, InvalidBox> {
        Self::new(left, top, width, height)
    }
}

impl From<BoundingBox> for [u16; 4] {
    fn from(b: BoundingBox) -> Self {
        [b.left, b.top, b.width, b.height]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn overlap_is_one_for_the_same_box_and_zero_for_boxes_apart() {
        let a = BoundingBox::new(10, 10, 20, 10).unwrap();
        assert_eq!(a.overlap(&a), 1.0);
        assert_eq!(a.overlap(&BoundingBox::new(30, 10, 5, 5).unwrap()), 0.0);
        let half = BoundingBox::new(20, 10, 20, 10).unwrap();
        assert!((a.overlap(&half) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(a.overlap(&half), half.overlap(&a));
    }

    #[test]
    fn a_box_that_leaves_the_frame_is_cut_at_its_edge() {
        let clipped = BoundingBox::clipped([-5, 230, 15, 260], (320, 240)).unwrap();
        assert_eq!(<[u16; 4]>::from(clipped), [0, 230, 15, 10]);
        assert_eq!(BoundingBox::clipped([-20, 0, -1, 9], (320, 240)), None);
        assert_eq!(BoundingBox::clipped([400, 0, 420, 9], (320, 240)), None);
    }

    #[test]
    fn names_that_could_break_a_log_or_a_page_are_refused() {
        for bad in ["", "a b", "<script>", "a\n", &"x".repeat(101)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<Name>(bad.into()).is_err(), "{bad:?}");
        }
        assert_eq!("camera-1.a_b".parse::<Name>().unwrap().as_str(), "camera-1.a_b");
    }

    #[test]
    fn boxes_without_area_or_out_of_range_do_not_parse() {
        for bad in ["[0,0,0,5]", "[0,0,5,0]", "[65535,0,1,1]", "[1,2,3]", "[-1,0,1,1]"] {
            assert!(serde_json::from_str::<BoundingBox>(bad).is_err(), "{bad}");
        }
    }
}
