//! The fixed colours of figures; a style sheet can give each a dark counterpart.
//!
//! The series colours are those of Okabe and Ito (2008), which people with colour-blindness can tell apart,
//! without their yellow, which is too pale for lines.

use std::fmt;

/// A colour as red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(pub u8, pub u8, pub u8);

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02X}{:02X}{:02X}", self.0, self.1, self.2)
    }
}

/// The colour of text.
pub const INK: Color = Color(0x1F, 0x24, 0x30);
/// The colour of tick labels and reference lines.
pub const MUTED: Color = Color(0x5A, 0x62, 0x70);
/// The colour of grid lines.
pub const GRID: Color = Color(0xE2, 0xE5, 0xEA);
/// The background of figures.
pub const SURFACE: Color = Color(0xFF, 0xFF, 0xFF);

/// The colours of series, in order.
pub const SERIES: [Color; 8] = [
    Color(0x00, 0x72, 0xB2),
    Color(0xD5, 0x5E, 0x00),
    Color(0x00, 0x8F, 0x6B),
    Color(0xB5, 0x5D, 0x92),
    Color(0xB9, 0x7A, 0x00),
    Color(0x3A, 0x9B, 0xD4),
    Color(0x6B, 0x4E, 0x2E),
    Color(0x6F, 0x76, 0x81),
];

/// Each colour with its counterpart on a dark page.
const DARK: [(Color, Color); 12] = [
    (INK, Color(0xE8, 0xEA, 0xEE)),
    (MUTED, Color(0xA6, 0xAD, 0xB9)),
    (GRID, Color(0x31, 0x37, 0x42)),
    (SURFACE, Color(0x16, 0x19, 0x1F)),
    (SERIES[0], Color(0x4F, 0xB0, 0xEE)),
    (SERIES[1], Color(0xFF, 0x91, 0x45)),
    (SERIES[2], Color(0x36, 0xCF, 0xA4)),
    (SERIES[3], Color(0xE5, 0x93, 0xC3)),
    (SERIES[4], Color(0xF0, 0xB8, 0x3F)),
    (SERIES[5], Color(0x9A, 0xD6, 0xF7)),
    (SERIES[6], Color(0xC9, 0xA2, 0x78)),
    (SERIES[7], Color(0xB9, 0xC0, 0xCB)),
];

/// The colour of series `number`; colours repeat.
pub fn series(number: usize) -> Color {
    SERIES[number % SERIES.len()]
}

/// The CSS rules that give each colour in figures its dark counterpart.
pub fn dark_rules() -> String {
    let rule = |(light, dark): &(Color, Color)| {
        format!("svg [fill=\"{light}\"]{{fill:{dark}}}svg [stroke=\"{light}\"]{{stroke:{dark}}}")
    };
    DARK.iter().map(rule).collect()
}

/// The colour of a value from -1 to 1: blue below 0, orange above, paler towards 0. Lightness falls evenly to
/// both sides in the Oklab space (Ottosson 2020), so that equal steps look equal, also in grey.
pub fn diverging(value: f64) -> Color {
    let value = if value.is_finite() {
        value.clamp(-1.0, 1.0)
    } else {
        0.0
    };
    let size = value.abs();
    let hue = if value < 0.0 { 4.45f64 } else { 0.85 };
    let chroma = 0.145 * size.powf(0.8);
    oklab(0.97 - 0.55 * size, chroma * hue.cos(), chroma * hue.sin())
}

/// Converts Oklab to sRGB; components out of range are clipped.
fn oklab(lightness: f64, a: f64, b: f64) -> Color {
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    let channel = |linear: f64| {
        let linear = linear.clamp(0.0, 1.0);
        let encoded = if linear <= 0.003_130_8 {
            12.92 * linear
        } else {
            1.055 * linear.powf(1.0 / 2.4) - 0.055
        };
        (encoded * 255.0).round() as u8
    };
    Color(
        channel(4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s),
        channel(-1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s),
        channel(-0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brightness(color: Color) -> f64 {
        0.2126 * f64::from(color.0) + 0.7152 * f64::from(color.1) + 0.0722 * f64::from(color.2)
    }

    #[test]
    fn the_map_darkens_evenly_from_zero() {
        let middle = diverging(0.0);
        assert!(middle.0.abs_diff(middle.2) <= 1, "{middle}");
        for sign in [-1.0, 1.0] {
            let shades: Vec<f64> = (0..=10)
                .map(|k| brightness(diverging(sign * f64::from(k) / 10.0)))
                .collect();
            assert!(shades.windows(2).all(|w| w[1] < w[0] - 5.0), "{shades:?}");
        }
        let (low, high) = (diverging(-1.0), diverging(1.0));
        assert!(low.2 > low.0 && high.0 > high.2, "{low} {high}");
        assert_eq!(diverging(f64::NAN), middle);
        assert_eq!(diverging(7.0), high);
    }

    #[test]
    fn every_colour_has_a_dark_one() {
        let rules = dark_rules();
        for color in SERIES.iter().chain(&[INK, MUTED, GRID, SURFACE]) {
            assert!(rules.contains(&format!("[fill=\"{color}\"]")), "{color}");
        }
    }
}
