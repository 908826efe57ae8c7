//! Raster images and PNG files.

use super::palette::{diverging, Color};
use std::io::Error;

/// An image, row by row from the top.
#[derive(Clone, Debug, PartialEq)]
pub struct Raster {
    /// The number of pixels per row.
    pub width: usize,
    /// The number of rows.
    pub height: usize,
    /// The colour of each pixel.
    pub pixels: Vec<Color>,
}

impl Raster {
    /// Colours values from `-range` to `range`, with 0 in the middle of the scale.
    pub fn of(values: &[f64], width: usize, range: f64) -> Raster {
        let width = width.max(1);
        let range = if range > 0.0 { range } else { 1.0 };
        Raster {
            width,
            height: values.len() / width,
            pixels: values.iter().map(|x| diverging(x / range)).collect(),
        }
    }

    /// The image as a PNG file.
    ///
    /// # Errors
    /// Errors of the encoder.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        let bytes: Vec<u8> = self.pixels.iter().flat_map(|c| [c.0, c.1, c.2]).collect();
        png(&bytes, self.width, self.height)
    }
}

/// A PNG file of 8-bit red, green and blue.
///
/// # Errors
/// Errors of the encoder.
pub fn png(bytes: &[u8], width: usize, height: usize) -> Result<Vec<u8>, Error> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header().map_err(Error::other)?;
    writer.write_image_data(bytes).map_err(Error::other)?;
    writer.finish().map_err(Error::other)?;
    Ok(file)
}

/// Encodes bytes in base 64 (RFC 4648), for data URLs.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |k: usize| u32::from(three.get(k).copied().unwrap_or(0));
        let whole = byte(0) << 16 | byte(1) << 8 | byte(2);
        for k in 0..4 {
            if k <= three.len() {
                let digit = whole >> (18 - 6 * k) & 63;
                text.push(char::from(DIGITS[digit as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_base_64() {
        // The test vectors of RFC 4648, section 10.
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_picture_reads_back() {
        let raster = Raster::of(&[-1.0, 0.0, 1.0, 0.5, -0.5, 0.0], 3, 1.0);
        assert_eq!((raster.width, raster.height), (3, 2));
        let file = raster.to_png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file))
            .read_info()
            .unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.width, info.height), (3, 2));
        let pixel = |k: usize| Color(bytes[3 * k], bytes[3 * k + 1], bytes[3 * k + 2]);
        assert_eq!(pixel(0), diverging(-1.0));
        assert_eq!(pixel(2), diverging(1.0));
    }
}
