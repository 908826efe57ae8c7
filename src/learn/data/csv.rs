//! Tables: a row is a step, column `sequence` tells which sequence it belongs to, and the others are arrays.
//!
//! `x[0]`, `x[1]`, ... are the elements of the array `x`, `[sequences, steps, size]`; a column without an index is an array
//! `[sequences, steps]`. Steps that a shorter sequence does not have are 0, and `length` then says how many each has.

use super::error::cut;
use super::{DataError, Element, Entry, Header, Place};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Most columns of a table.
const MOST_COLUMNS: usize = 4096;

/// An array of a table: its name and the columns of its elements.
struct Group {
    name: String,
    /// Column of each element.
    columns: Vec<usize>,
    /// The mark of a column whose name has an index.
    indexed: bool,
    /// All values so far, row by row.
    values: Vec<f64>,
    /// The mark of a column of which all cells were written as whole numbers.
    whole: bool,
}

/// The arrays of a table.
pub(super) fn open(path: &Path) -> Result<BTreeMap<String, Entry>, DataError> {
    limit_header(path)?;
    let mut reader = ::csv::ReaderBuilder::new()
        .trim(::csv::Trim::All)
        .from_path(path)
        .map_err(|error| broken(path, &error))?;
    let titles = reader
        .headers()
        .map_err(|error| broken(path, &error))?
        .clone();
    let (sequence, mut groups) = columns(path, &titles)?;
    let (mut lengths, mut seen) = (Vec::new(), HashSet::new());
    let mut current: Option<String> = None;
    let mut row = ::csv::StringRecord::new();
    while reader
        .read_record(&mut row)
        .map_err(|error| broken(path, &error))?
    {
        let line = row.position().map_or(0, ::csv::Position::line);
        let name = row.get(sequence).unwrap_or("");
        if current.as_deref() != Some(name) {
            if !seen.insert(name.to_owned()) {
                return Err(DataError::of(
                    path,
                    &format!(
                        "has sequence `{}` again in line {line}, after another one",
                        cut(name)
                    ),
                )
                .help("let the rows of a sequence stand together, in the order of its steps"));
            }
            current = Some(name.to_owned());
            lengths.push(0usize);
        }
        if let Some(steps) = lengths.last_mut() {
            *steps += 1;
        }
        for group in &mut groups {
            for column in &group.columns {
                let text = row.get(*column).unwrap_or("");
                let value = number(text).ok_or_else(|| {
                    let title = titles.get(*column).unwrap_or("");
                    DataError::of(
                        path,
                        &format!(
                            "has `{}` in line {line}, column `{}`, which is no number",
                            cut(text),
                            cut(title)
                        ),
                    )
                    .help("cells hold numbers, `nan`, or nothing, which is read as `nan`")
                })?;
                group.whole &= text
                    .parse::<i64>()
                    .is_ok_and(|x| x.unsigned_abs() < 1 << 53);
                group.values.push(value);
            }
        }
    }
    if lengths.is_empty() {
        return Err(DataError::of(path, "has no rows but the titles"));
    }
    arrays(path, &lengths, groups)
}

/// Refuses a table whose first line has too many columns, before any of it is kept.
fn limit_header(path: &Path) -> Result<(), DataError> {
    use std::io::{BufRead, Read};
    const LONGEST: u64 = 1 << 20;
    let unreadable = |error| DataError::unreadable(path, &error);
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut line = Vec::new();
    let mut start = std::io::BufReader::new(file).take(LONGEST);
    start.read_until(b'\n', &mut line).map_err(unreadable)?;
    let columns = 1 + line.iter().filter(|byte| **byte == b',').count();
    if columns > MOST_COLUMNS || line.len() as u64 == LONGEST {
        let more = if line.len() as u64 == LONGEST {
            "more than "
        } else {
            ""
        };
        return Err(DataError::of(
            path,
            &format!("has {more}{columns} columns, and {MOST_COLUMNS} are the most of a table"),
        )
        .help("write wide arrays to an .npz file: `np.savez(\"train.npz\", x=x, label=label)`"));
    }
    Ok(())
}

fn broken(path: &Path, error: &::csv::Error) -> DataError {
    if let ::csv::ErrorKind::UnequalLengths {
        pos,
        expected_len,
        len,
    } = error.kind()
    {
        let line = pos.as_ref().map_or(0, ::csv::Position::line);
        return DataError::of(
            path,
            &format!("has {len} cells in line {line}, and its titles are {expected_len}"),
        )
        .help("every row has a cell for each title");
    }
    DataError::of(path, &format!("is no sound table ({error})"))
}

/// A number, or NaN for nothing.
fn number(text: &str) -> Option<f64> {
    if text.is_empty() {
        return Some(f64::NAN);
    }
    text.parse().ok()
}

/// The column of sequences, and the arrays of the others.
fn columns(path: &Path, titles: &::csv::StringRecord) -> Result<(usize, Vec<Group>), DataError> {
    let mut sequence = None;
    let mut elements: BTreeMap<&str, BTreeMap<Option<usize>, usize>> = BTreeMap::new();
    for (column, title) in titles.iter().enumerate() {
        if title == "sequence" {
            sequence = Some(column);
            continue;
        }
        let (name, index) = match title.strip_suffix(']').and_then(|t| t.split_once('[')) {
            Some((name, index)) => match index.parse::<usize>() {
                Ok(index) => (name, Some(index)),
                Err(_) => {
                    return Err(title_fault(
                        path,
                        title,
                        "has no number between its brackets",
                    ))
                }
            },
            None => (title, None),
        };
        if name.is_empty() {
            return Err(title_fault(path, title, "has no name"));
        }
        if elements
            .entry(name)
            .or_default()
            .insert(index, column)
            .is_some()
        {
            return Err(title_fault(path, title, "is there twice"));
        }
    }
    let Some(sequence) = sequence else {
        let names: Vec<&str> = titles.iter().collect();
        return Err(
            DataError::of(path, "has no column `sequence`").help(&format!(
                "its titles are {}; `sequence` tells which sequence a row is a step of",
                super::error::listed(&names)
            )),
        );
    };
    let mut groups = Vec::new();
    for (name, columns) in elements {
        let indexed = !columns.contains_key(&None);
        for (expected, index) in columns.keys().enumerate() {
            if indexed && *index != Some(expected) {
                let title = format!("{name}[{}]", index.unwrap_or(0));
                let what = format!("is there, and `{}[{expected}]` is not", cut(name));
                return Err(title_fault(path, &title, &what));
            }
            if !indexed && columns.len() > 1 {
                let what = "stands beside a title of the same name with an index";
                return Err(title_fault(path, name, what));
            }
        }
        groups.push(Group {
            name: name.to_owned(),
            columns: columns.into_values().collect(),
            indexed,
            values: Vec::new(),
            whole: true,
        });
    }
    Ok((sequence, groups))
}

fn title_fault(path: &Path, title: &str, what: &str) -> DataError {
    DataError::of(path, &format!("has a column `{}` that {what}", cut(title)))
        .help("titles are `sequence`, `x[0]`, `x[1]`, ..., `label`")
}

/// Arrays with an axis for sequences and one for steps.
fn arrays(
    path: &Path,
    lengths: &[usize],
    groups: Vec<Group>,
) -> Result<BTreeMap<String, Entry>, DataError> {
    let steps = lengths.iter().copied().max().unwrap_or(0);
    let mut entries = BTreeMap::new();
    let mut add = |name: String, dims: Vec<usize>, whole: bool, values: &[f64]| {
        let element = if whole { Element::Int(8) } else { Element::F64 };
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|x| {
                if whole {
                    (*x as i64).to_le_bytes()
                } else {
                    x.to_le_bytes()
                }
            })
            .collect();
        let header = Ok(Header { dims, element });
        let place = Place::Read(bytes.into());
        entries.insert(name, Entry { header, place });
    };
    let ragged = lengths.iter().any(|length| *length != steps);
    let named = groups.iter().any(|group| group.name == "length");
    if ragged && named {
        return Err(DataError::of(
            path,
            "has a column `length`, and sequences of several lengths",
        )
        .help("take the column away: the rows tell the lengths"));
    }
    for group in groups {
        let size = group.columns.len();
        let cells = lengths
            .len()
            .checked_mul(steps)
            .and_then(|n| n.checked_mul(size));
        // One long sequence among many short ones must not take all memory.
        let rows = group.values.len() / size;
        if cells.is_none_or(|cells| cells > 1 << 24 && cells / size > 64 * rows) {
            return Err(DataError::of(
                path,
                &format!("has {} sequences, one of which has {steps} steps and most of which are far shorter", lengths.len()),
            )
            .help("cut the long one, or write an .npz file"));
        }
        let mut padded = Vec::with_capacity(cells.unwrap_or(0));
        let mut from = 0;
        for length in lengths {
            padded.extend(&group.values[from..from + length * size]);
            padded.resize(padded.len() + (steps - length) * size, 0.0);
            from += length * size;
        }
        let mut dims = vec![lengths.len(), steps];
        dims.extend(group.indexed.then_some(size));
        add(group.name, dims, group.whole, &padded);
    }
    if ragged {
        let values: Vec<f64> = lengths.iter().map(|x| *x as f64).collect();
        add("length".to_owned(), vec![lengths.len()], true, &values);
    }
    Ok(entries)
}
