//! Metrics: one JSON object a line. What the run computed comes first, in the order it was set; what
//! depends on the machine stands in one last object, `timing`, so that runs can be compared without it.

use serde_json::{Map, Number, Value};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest time that a written record waits in memory while the run goes on.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The metrics file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the metrics {}: {source}", path.display())]
pub struct MetricsError {
    path: PathBuf,
    source: std::io::Error,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    fields: Map<String, Value>,
    timing: Map<String, Value>,
}

impl Record {
    /// The record of an iteration, counted from 1: so many are complete.
    pub fn new(iteration: u64) -> Record {
        let mut record = Record::default();
        record
            .fields
            .insert("iteration".to_owned(), iteration.into());
        record
    }

    /// Adds a number; one that is not finite is written as `null`.
    pub fn set(mut self, name: &str, value: f64) -> Record {
        self.fields.insert(name.to_owned(), number(value));
        self
    }

    /// Adds something else, such as a list or a word.
    pub fn set_value(mut self, name: &str, value: impl Into<Value>) -> Record {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a number that differs from run to run.
    pub fn time(mut self, name: &str, value: f64) -> Record {
        self.timing.insert(name.to_owned(), number(value));
        self
    }

    /// The line, without its end.
    pub fn to_line(&self) -> String {
        let mut object = self.fields.clone();
        if !self.timing.is_empty() {
            object.insert("timing".to_owned(), Value::Object(self.timing.clone()));
        }
        Value::Object(object).to_string()
    }
}

fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// Appends records to a file. What is still in memory is written when it is dropped.
#[derive(Debug)]
pub struct MetricsWriter {
    path: PathBuf,
    file: BufWriter<File>,
    flushed: Instant,
}

impl MetricsWriter {
    /// An empty file at `path`.
    ///
    /// # Errors
    /// Where it cannot be created.
    pub fn create(path: &Path) -> Result<MetricsWriter, MetricsError> {
        MetricsWriter::with(path, File::create(path))
    }

    /// Goes on in the file at `path` after `iteration`: from the first record of a later iteration, or the
    /// first line that is no record, it is cut off. A missing file is created.
    ///
    /// # Errors
    /// Where it cannot be read or written.
    pub fn resume(path: &Path, iteration: u64) -> Result<MetricsWriter, MetricsError> {
        let open = || {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            let kept = length_up_to(&file, iteration)?;
            file.set_len(kept)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        MetricsWriter::with(path, open())
    }

    fn with(path: &Path, file: std::io::Result<File>) -> Result<MetricsWriter, MetricsError> {
        let file = file.map_err(|source| MetricsError {
            path: path.to_owned(),
            source,
        })?;
        Ok(MetricsWriter {
            path: path.to_owned(),
            file: BufWriter::new(file),
            flushed: Instant::now(),
        })
    }

    /// Appends a record.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<(), MetricsError> {
        let mut line = record.to_line();
        line.push('\n');
        let written = self.file.write_all(line.as_bytes());
        self.check(written)?;
        self.tick()
    }

    /// Brings records to the file if the last time is a second ago. The trainer calls this every iteration,
    /// because records may come more seldom.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn tick(&mut self) -> Result<(), MetricsError> {
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush()?;
        }
        Ok(())
    }

    /// Brings all records to the file.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn flush(&mut self) -> Result<(), MetricsError> {
        self.flushed = Instant::now();
        let flushed = self.file.flush();
        self.check(flushed)
    }

    fn check(&self, result: std::io::Result<()>) -> Result<(), MetricsError> {
        result.map_err(|source| MetricsError {
            path: self.path.clone(),
            source,
        })
    }
}

/// Bytes of the leading lines that are records of iterations up to `iteration`.
fn length_up_to(file: &File, iteration: u64) -> std::io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut length = 0;
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        let record: Option<Value> = serde_json::from_slice(&line).ok();
        let found = record.and_then(|record| record.get("iteration")?.as_u64());
        let whole = line.ends_with(b"\n");
        if !whole || found.is_none_or(|found| found > iteration) {
            return Ok(length);
        }
        length += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::{MetricsWriter, Record};
    use std::time::{Duration, Instant};

    fn record(iteration: u64) -> Record {
        Record::new(iteration)
            .time("seconds", 0.25)
            .set("reward", 0.1 + 0.2)
            .set_value("flags", vec!["burn_in"])
            .set("norm", f64::NAN)
    }

    #[test]
    fn timing_comes_last_and_numbers_are_exact() {
        assert_eq!(
            record(7).to_line(),
            "{\"iteration\":7,\"reward\":0.30000000000000004,\"flags\":[\"burn_in\"],\"norm\":null,\"timing\":{\"seconds\":0.25}}"
        );
        assert_eq!(Record::new(1).to_line(), "{\"iteration\":1}");
    }

    #[test]
    fn a_resumed_file_is_the_uninterrupted_one() {
        let path = std::env::temp_dir().join(format!("bpmc-metrics-{}", std::process::id()));
        let text = || std::fs::read_to_string(&path).unwrap();
        let write = |writer: &mut MetricsWriter, iterations: std::ops::RangeInclusive<u64>| {
            for iteration in iterations {
                writer.write(&record(iteration)).unwrap();
            }
        };
        write(&mut MetricsWriter::create(&path).unwrap(), 1..=6);
        let whole = text();
        assert_eq!(whole.lines().count(), 6);

        // Cut off in the middle of a line, with records after the checkpoint.
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let mut writer = MetricsWriter::resume(&path, 4).unwrap();
        assert_eq!(text().lines().count(), 4);
        write(&mut writer, 5..=6);
        drop(writer);
        assert_eq!(text(), whole);

        // A broken last line goes, even where its iteration would stay.
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        drop(MetricsWriter::resume(&path, 9).unwrap());
        assert_eq!(text().lines().count(), 5);

        std::fs::remove_file(&path).unwrap();
        drop(MetricsWriter::resume(&path, 3).unwrap());
        assert_eq!(text(), "");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn records_reach_the_file_within_a_second_of_ticks() {
        let path = std::env::temp_dir().join(format!("bpmc-ticks-{}", std::process::id()));
        let mut writer = MetricsWriter::create(&path).unwrap();
        let length = || std::fs::metadata(&path).unwrap().len();
        writer.write(&record(1)).unwrap();
        assert_eq!(length(), 0, "buffered");
        writer.flushed = Instant::now()
            .checked_sub(Duration::from_millis(1001))
            .unwrap();
        writer.tick().unwrap();
        assert!(length() > 0);
        drop(writer);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn errors_name_the_file() {
        let error = MetricsWriter::create("no/such/dir/m.jsonl".as_ref()).unwrap_err();
        assert!(error.to_string().contains("no/such/dir/m.jsonl"));
    }
}
