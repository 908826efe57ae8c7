//! Parts of what is recorded: `rec.hebb[0 .. 4, 3]`.

use std::ops::Range;

/// The part taken of each axis, from the first; axes after the last are taken whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part(Vec<Pick>);

/// The part taken of one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pick {
    /// One place; the axis is gone.
    One(usize),
    /// As the language writes ranges: the end is not included.
    Range(Range<usize>),
}

impl Part {
    /// The part between the brackets of `name[...]`, of something of these dimensions.
    ///
    /// # Errors
    /// Says what is wrong, and what the dimensions are.
    pub fn parse(name: &str, text: &str, dims: &[usize]) -> Result<Part, String> {
        let whole = format!("`{name}` is {dims:?}");
        let items: Vec<&str> = text.split(',').map(str::trim).collect();
        if items.len() > dims.len() {
            let axes = match dims.len() {
                0 => "a single number without axes".to_owned(),
                1 => format!("{dims:?}, which has 1 axis"),
                n => format!("{dims:?}, which has {n} axes"),
            };
            let found = items.len();
            return Err(format!(
                "`{name}[{text}]` picks from {found}, but `{name}` is {axes}"
            ));
        }
        let picks = items.iter().zip(dims).map(|(item, size)| {
            let number = |text: &str, open: usize| match text.trim() {
                "" => Ok(open),
                digits => digits.parse::<usize>().map_err(|_| {
                    format!(
                        "`{name}[{text}]`: places are counted from 0, and a range is `0 .. 4` with its end left out",
                        text = item
                    )
                }),
            };
            match item.split_once("..") {
                Some((start, end)) => {
                    let (start, end) = (number(start, 0)?, number(end, *size)?);
                    if start < end && end <= *size {
                        Ok(Pick::Range(start..end))
                    } else {
                        Err(format!(
                            "`{start} .. {end}` is no range of something of size {size}; {whole}"
                        ))
                    }
                }
                None => {
                    let place = number(item, *size)?;
                    if place < *size {
                        Ok(Pick::One(place))
                    } else if item.is_empty() {
                        Err(format!("`{name}[{text}]` lacks a place or a range; {whole}"))
                    } else {
                        Err(format!(
                            "there is no {place} in something of size {size}, only 0 to {last}; {whole}",
                            last = size - 1
                        ))
                    }
                }
            }
        });
        picks.collect::<Result<_, _>>().map(Part)
    }

    /// The dimensions of the part.
    pub fn dims(&self, whole: &[usize]) -> Vec<usize> {
        let picked = self.0.iter().filter_map(|pick| match pick {
            Pick::One(_) => None,
            Pick::Range(range) => Some(range.len()),
        });
        let rest = whole.iter().skip(self.0.len()).copied();
        picked.chain(rest).collect()
    }

    /// Appends the part of these values, which have these dimensions.
    pub fn take(&self, values: &[f64], dims: &[usize], out: &mut Vec<f64>) {
        take(&self.0, values, dims, out);
    }
}

fn take(picks: &[Pick], values: &[f64], dims: &[usize], out: &mut Vec<f64>) {
    let ([pick, picks @ ..], [size, dims @ ..]) = (picks, dims) else {
        out.extend(values);
        return;
    };
    let width = values.len() / size;
    let places = match pick {
        Pick::One(place) => *place..place + 1,
        Pick::Range(range) => range.clone(),
    };
    for place in places {
        take(
            picks,
            &values[place * width..(place + 1) * width],
            dims,
            out,
        );
    }
}

/// The names in a list with commas between them; commas in brackets belong to a name.
pub fn split_names(list: &str) -> Vec<&str> {
    let mut depth = 0usize;
    let names = list.split(move |c| {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    names.map(str::trim).collect()
}

#[cfg(test)]
mod tests {
    use super::{split_names, Part};

    fn taken(text: &str, dims: &[usize]) -> (Vec<usize>, Vec<f64>) {
        let part = Part::parse("x", text, dims).unwrap();
        let values: Vec<f64> = (0..dims.iter().product()).map(|k| k as f64).collect();
        let mut out = Vec::new();
        part.take(&values, dims, &mut out);
        (part.dims(dims), out)
    }

    #[test]
    fn ranges_leave_their_end_out_and_places_their_axis() {
        assert_eq!(taken("1 .. 3, 2", &[4, 3]), (vec![2], vec![5.0, 8.0]));
        assert_eq!(taken("1", &[2, 3]), (vec![3], vec![3.0, 4.0, 5.0]));
        assert_eq!(taken(".., 0 .. 1", &[2, 3]), (vec![2, 1], vec![0.0, 3.0]));
        assert_eq!(taken("2 ..", &[4]), (vec![2], vec![2.0, 3.0]));
        assert_eq!(taken("1,2", &[2, 3]), (vec![], vec![5.0]));
    }

    #[test]
    fn what_is_outside_is_refused_with_the_shape() {
        for (text, message) in [
            (
                "0 .. 5",
                "`0 .. 5` is no range of something of size 4; `x` is [4, 3]",
            ),
            ("2 .. 2", "`2 .. 2` is no range"),
            (
                "0, 3",
                "there is no 3 in something of size 3, only 0 to 2; `x` is [4, 3]",
            ),
            (
                "0, 1, 2",
                "picks from 3, but `x` is [4, 3], which has 2 axes",
            ),
            ("-1", "counted from 0"),
            ("1.5", "counted from 0"),
            ("a", "counted from 0"),
            ("1,", "lacks a place"),
            ("", "lacks a place"),
        ] {
            let error = Part::parse("x", text, &[4, 3]).unwrap_err();
            assert!(error.contains(message), "{text}: {error}");
        }
        let error = Part::parse("m", "0", &[]).unwrap_err();
        assert_eq!(
            error,
            "`m[0]` picks from 1, but `m` is a single number without axes"
        );
    }

    #[test]
    fn commas_in_brackets_do_not_part_names() {
        assert_eq!(
            split_names("m, rec.hebb[0 .. 4, 3],next h"),
            ["m", "rec.hebb[0 .. 4, 3]", "next h"]
        );
        assert_eq!(split_names("a]b,c"), ["a]b", "c"]);
    }
}
