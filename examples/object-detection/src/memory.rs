//! The backgrounds of the streams that a detector works on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use image::RgbImage;

use crate::{
    detection::Background,
    model::{BoundingBox, Name, Timestamp},
};

/// Streams that are remembered; of more, the one that was not seen for longest is forgotten. One takes 230 kB at
/// 320×240.
pub const MAX_STREAMS: usize = 8;

/// Backgrounds by stream, for any number of threads.
#[derive(Debug, Default)]
pub struct Backgrounds {
    streams: Mutex<BTreeMap<Name, Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    seen: Timestamp,
    background: Arc<Mutex<Background>>,
}

impl Backgrounds {
    /// The moving objects on a frame of `stream`. A stream whose frames change in size is learned anew.
    pub fn objects(&self, stream: &Name, frame: &RgbImage, captured_at: Timestamp) -> Vec<BoundingBox> {
        let background = self.of(stream, frame);
        // A background is plain data that is valid after every step, so one left by a panic can be used on.
        let mut background = background.lock().unwrap_or_else(PoisonError::into_inner);
        if !background.fits(frame) {
            *background = Background::new(frame);
        }
        background.objects(frame, captured_at)
    }

    fn of(&self, stream: &Name, frame: &RgbImage) -> Arc<Mutex<Background>> {
        let seen = Timestamp::now();
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if !streams.contains_key(stream) && streams.len() >= MAX_STREAMS {
            let oldest = streams
                .iter()
                .min_by_key(|(_, remembered)| remembered.seen)
                .map(|(name, _)| name.clone());
            oldest.and_then(|name| streams.remove(&name));
        }
        let fresh = || Remembered {
            seen,
            background: Arc::new(Mutex::new(Background::new(frame))),
        };
        let remembered = streams.entry(stream.clone()).or_insert_with(fresh);
        remembered.seen = seen;
        Arc::clone(&remembered.background)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn memory_is_bounded_and_a_stream_may_change_its_size() {
        let backgrounds = Backgrounds::default();
        for n in 0..50 {
            let stream = format!("camera-{n}").parse().unwrap();
            for size in [64, 32] {
                backgrounds.objects(&stream, &RgbImage::new(size, size), Timestamp(n));
            }
        }
        assert_eq!(backgrounds.streams.lock().unwrap().len(), MAX_STREAMS);
    }
}
