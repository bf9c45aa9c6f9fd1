//! Pixels to JPEG files and back, within bounds.

use std::io::Cursor;

use image::{ImageDecoder as _, ImageError, Limits, RgbImage, codecs::jpeg};

/// Largest picture that is decoded, in pixels.
pub const MAX_SIZE: (u32, u32) = (1920, 1080);

/// Why a file is no usable picture.
#[derive(Debug, thiserror::Error)]
#[error("not a JPEG file of at most {w}×{h} pixels: {0}", w = MAX_SIZE.0, h = MAX_SIZE.1)]
pub struct NotAPicture(#[from] ImageError);

/// Encodes `image` with `quality` 1 to 100.
///
/// # Errors
/// [`ImageError`] when the picture has no pixels or more than 65535 in a row or column.
pub fn encode(image: &RgbImage, quality: u8) -> Result<Vec<u8>, ImageError> {
    let mut file = Vec::with_capacity(32 << 10);
    jpeg::JpegEncoder::new_with_quality(&mut file, quality.clamp(1, 100)).encode_image(image)?;
    Ok(file)
}

/// Decodes a file from an untrusted source; size and memory are checked before pixels are decoded.
///
/// # Errors
/// [`NotAPicture`] says what is wrong with it.
pub fn decode(file: &[u8]) -> Result<RgbImage, NotAPicture> {
    let mut decoder = jpeg::JpegDecoder::new(Cursor::new(file))?;
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIZE.0);
    limits.max_image_height = Some(MAX_SIZE.1);
    limits.max_alloc = Some(u64::from(MAX_SIZE.0) * u64::from(MAX_SIZE.1) * 4);
    decoder.set_limits(limits)?;
    Ok(image::DynamicImage::from_decoder(decoder)?.into_rgb8())
}

/// Whether `file` starts as a JPEG file does (ITU-T T.81, B.1.1.3: SOI, then a marker).
#[must_use]
pub fn looks_like_jpeg(file: &[u8]) -> bool {
    file.starts_with(&[0xff, 0xd8, 0xff])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_picture_survives() {
        let image = RgbImage::from_fn(40, 30, |x, _| {
            if x < 20 {
                [200, 30, 30].into()
            } else {
                [30, 30, 200].into()
            }
        });
        let file = encode(&image, 90).unwrap();
        assert!(looks_like_jpeg(&file));
        let back = decode(&file).unwrap();
        assert_eq!(back.dimensions(), (40, 30));
        assert!(back.get_pixel(5, 5).0[0] > 150 && back.get_pixel(35, 5).0[2] > 150);
    }

    #[test]
    fn what_is_no_picture_or_too_large_is_refused() {
        assert!(decode(b"").is_err());
        assert!(decode(b"\xff\xd8\xff\xe0 not really").is_err());
        let wide = encode(&RgbImage::new(2000, 8), 10).unwrap();
        assert!(decode(&wide).unwrap_err().to_string().contains("1920"));
        let mut cut = encode(&RgbImage::new(64, 64), 50).unwrap();
        cut.truncate(100);
        assert!(decode(&cut).is_err());
    }
}
