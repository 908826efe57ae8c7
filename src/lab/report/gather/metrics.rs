//! The records of a run, read strictly: a damaged line is an error, not a gap in a curve.

use crate::lab::report::ReportError;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// The values by metric, each with the number of iterations done, in order.
pub type Series = BTreeMap<String, Vec<(u64, f64)>>;

/// Reads all finite numbers of the metrics at `path`, except timing. A missing file gives none, and an
/// incomplete last line is skipped.
///
/// # Errors
/// Fails if the file cannot be read, or a line is not a record or out of order.
pub fn read(path: &Path) -> Result<Series, ReportError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Series::new()),
        Err(error) => return Err(ReportError::file("read", path, error)),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut series = Series::new();
    let mut last = 0;
    for (number, line) in whole.lines().enumerate() {
        let damaged = |why: &str| ReportError::Damaged {
            path: path.to_owned(),
            line: number + 1,
            why: why.to_owned(),
        };
        let Ok(Value::Object(record)) = serde_json::from_str(line) else {
            return Err(damaged("it is not a record"));
        };
        let iteration = record.get("iteration").and_then(Value::as_u64);
        let iteration = iteration.ok_or_else(|| damaged("it has no iteration"))?;
        if iteration <= last && number > 0 {
            return Err(damaged("its iteration is not after the one before"));
        }
        last = iteration;
        for (name, value) in &record {
            if let (true, Some(value)) = (name != "iteration", value.as_f64()) {
                series
                    .entry(name.clone())
                    .or_default()
                    .push((iteration, value));
            }
        }
    }
    Ok(series)
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn damaged_lines_are_named() {
        let path = std::env::temp_dir().join(format!("bpmc-series-{}", std::process::id()));
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        let good = "{\"iteration\":1,\"loss\":0.5,\"timing\":{\"seconds\":1.0}}\n";
        let torn = format!("{good}{{\"iteration\":2,\"loss\":0.25,\"valid\":null}}\n{{\"itera");
        let series = of(&torn).unwrap();
        assert_eq!(series["loss"], [(1, 0.5), (2, 0.25)]);
        assert_eq!(series.len(), 1);
        for (text, message) in [
            (format!("{good}what\n{good}"), "line 2: it is not a record"),
            (
                format!("{good}{{\"loss\":1}}\n"),
                "line 2: it has no iteration",
            ),
            (
                format!("{good}{good}"),
                "line 2: its iteration is not after the one before",
            ),
        ] {
            let error = of(&text).unwrap_err().to_string();
            assert!(error.ends_with(message), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(read(&path).unwrap().is_empty());
    }
}
