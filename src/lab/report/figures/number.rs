//! Formatting of numbers in figures and tables.

/// The separator of groups of three digits: a narrow no-break space.
const SPACE: char = '\u{202f}';
/// The sign before negative numbers.
const MINUS: char = '\u{2212}';

/// A whole number with separated thousands.
pub fn whole(number: u64) -> String {
    apart(&number.to_string())
}

fn apart(digits: &str) -> String {
    let mut text = String::new();
    for (k, digit) in digits.chars().enumerate() {
        // Four digits stand together, as usual.
        if k > 0 && digits.len() > 4 && (digits.len() - k).is_multiple_of(3) {
            text.push(SPACE);
        }
        text.push(digit);
    }
    text
}

/// A number with `places` decimals.
pub fn decimals(number: f64, places: usize) -> String {
    if !number.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.places$}", number.abs());
    let zero = text.chars().all(|c| matches!(c, '0' | '.'));
    let (integer, rest) = match text.split_once('.') {
        Some((integer, rest)) => (integer, format!(".{rest}")),
        None => (text.as_str(), String::new()),
    };
    let sign = if number < 0.0 && !zero {
        MINUS.to_string()
    } else {
        String::new()
    };
    format!("{sign}{}{rest}", apart(integer))
}

/// A number with about four digits.
pub fn short(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (0.001..1e7).contains(&size) {
        let places = match size {
            size if size >= 1000.0 => 1,
            size if size >= 100.0 => 2,
            size if size >= 1.0 || size == 0.0 => 3,
            _ => 4,
        };
        trimmed(&decimals(number, places))
    } else {
        scientific(number)
    }
}

/// A number as a spec writes it: all of its digits, and no more.
pub fn exact(number: f64) -> String {
    let size = number.abs();
    if size == 0.0 || (1e-4..1e15).contains(&size) {
        let text = size.to_string();
        let places = text.split_once('.').map_or(0, |(_, rest)| rest.len());
        decimals(number, places)
    } else {
        scientific(number)
    }
}

fn scientific(number: f64) -> String {
    if !number.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.3e}", number.abs());
    let (digits, power) = text.split_once('e').unwrap_or((text.as_str(), "0"));
    let sign = if number < 0.0 {
        MINUS.to_string()
    } else {
        String::new()
    };
    format!("{sign}{}e{power}", trimmed(digits))
}

fn trimmed(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

/// A probability.
pub fn probability(p: f64) -> String {
    if p < 0.0001 {
        "< 0.0001".to_owned()
    } else {
        decimals(p, 4)
    }
}

/// Round numbers within `lo..hi`, about `most` of them.
pub fn ticks(lo: f64, hi: f64, most: usize) -> Vec<f64> {
    let span = hi - lo;
    if !span.is_finite() || span <= 0.0 || most == 0 {
        return vec![lo];
    }
    let rough = span / most as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough * 0.7)
        .unwrap_or(10.0 * power);
    let first = (lo / step - 1e-9).ceil() as i64;
    let last = (hi / step + 1e-9).floor() as i64;
    (first..=last).map(|k| k as f64 * step).collect()
}

/// The labels of ticks, all with the decimals that tell them apart.
pub fn labels(ticks: &[f64]) -> Vec<String> {
    let step = ticks
        .windows(2)
        .map(|w| w[1] - w[0])
        .fold(f64::MAX, f64::min);
    let largest = ticks.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    if largest >= 1e7 || (largest > 0.0 && largest < 1e-3) {
        return ticks
            .iter()
            .map(|x| {
                if *x == 0.0 {
                    "0".to_owned()
                } else {
                    scientific(*x)
                }
            })
            .collect();
    }
    let places = if step < f64::MAX {
        (-(step.log10() + 1e-9).floor()).max(0.0) as usize
    } else {
        2
    };
    ticks.iter().map(|x| decimals(*x, places)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(whole(1234), "1234");
        assert_eq!(whole(12_345), "12\u{202f}345");
        assert_eq!(whole(4_801_448), "4\u{202f}801\u{202f}448");
        assert_eq!(decimals(-12_345.678, 1), "\u{2212}12\u{202f}345.7");
        assert_eq!(decimals(-0.001, 2), "0.00");
    }

    #[test]
    fn numbers_are_short_or_exact() {
        assert_eq!(short(0.0), "0");
        assert_eq!(short(8.528), "8.528");
        assert_eq!(short(-0.5), "\u{2212}0.5");
        assert_eq!(short(104.26), "104.26");
        assert_eq!(short(0.000_012_34), "1.234e-5");
        assert_eq!(exact(0.1), "0.1");
        assert_eq!(exact(1e-6), "1e-6");
        assert_eq!(exact(-1.0), "\u{2212}1");
        assert_eq!(probability(0.000_001), "< 0.0001");
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 1500.0, 5), [0.0, 500.0, 1000.0, 1500.0]);
        assert_eq!(ticks(-1.0, 1.0, 4), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(ticks(3.0, 3.0, 4), [3.0]);
        assert_eq!(labels(&[0.0, 0.05, 0.1]), ["0.00", "0.05", "0.10"]);
        assert_eq!(labels(&[0.0, 50_000.0]), ["0", "50\u{202f}000"]);
        assert_eq!(labels(&[0.0, 0.1, 0.2]), ["0.0", "0.1", "0.2"]);
    }
}
