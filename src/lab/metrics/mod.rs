//! Metrics: one JSON object per line. Computed values come first, in the order they were set. Values that
//! depend on the machine follow in one last object, `timing`, so that runs can be compared without it.

mod events;
mod lines;
mod table;

use events::Events;
use lines::{length_while, AppendFile};
use serde_json::{Map, Number, Value};
use std::path::{Path, PathBuf};
use table::Table;

/// The metrics file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the metrics {}: {source}", path.display())]
pub struct MetricsError {
    path: PathBuf,
    source: std::io::Error,
}

/// One record of metrics, written as one line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    fields: Map<String, Value>,
    timing: Map<String, Value>,
}

impl Record {
    /// A record of iteration `iteration`, counted from 1: the number of complete iterations.
    pub fn new(iteration: u64) -> Record {
        let mut record = Record::default();
        record
            .fields
            .insert("iteration".to_owned(), iteration.into());
        record
    }

    fn iteration(&self) -> u64 {
        let number = self.fields.get("iteration").and_then(Value::as_u64);
        number.unwrap_or_default()
    }

    /// Adds a number; a non-finite one is written as `null`.
    pub fn set(mut self, name: &str, value: f64) -> Record {
        self.fields.insert(name.to_owned(), number(value));
        self
    }

    /// Adds another value, such as a list or a word.
    pub fn set_value(mut self, name: &str, value: impl Into<Value>) -> Record {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a number that differs from run to run.
    pub fn time(mut self, name: &str, value: f64) -> Record {
        self.timing.insert(name.to_owned(), number(value));
        self
    }

    /// The record as a line of JSON, without the line end.
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

/// A writer that appends records to the files of a run. Dropping it writes the records still in memory.
#[derive(Debug)]
pub struct MetricsWriter {
    lines: AppendFile,
    table: Option<Table>,
    events: Option<Events>,
}

impl MetricsWriter {
    /// Creates an empty file at `path`.
    ///
    /// # Errors
    /// Fails if the file cannot be created.
    pub fn create(path: &Path) -> Result<MetricsWriter, MetricsError> {
        AppendFile::create(path).map(MetricsWriter::with)
    }

    /// Opens the file at `path` to continue after `iteration`. The file is cut at the first record of a later
    /// iteration, or the first line that is not a record. A missing file is created.
    ///
    /// # Errors
    /// Fails if the file cannot be read or written.
    pub fn resume(path: &Path, iteration: u64) -> Result<MetricsWriter, MetricsError> {
        let lines = AppendFile::resume(path, |file| {
            length_while(file, |line, _| {
                let record: Option<Value> = serde_json::from_slice(line).ok();
                let found = record.and_then(|record| record.get("iteration")?.as_u64());
                found.is_some_and(|found| found <= iteration)
            })
        });
        lines.map(MetricsWriter::with)
    }

    fn with(lines: AppendFile) -> MetricsWriter {
        MetricsWriter {
            lines,
            table: None,
            events: None,
        }
    }

    /// Adds a table at `path`, continued after `iteration`.
    ///
    /// # Errors
    /// Fails if the table cannot be read or written.
    pub fn with_table(mut self, path: &Path, iteration: u64) -> Result<Self, MetricsError> {
        self.table = Some(Table::resume(path, iteration)?);
        Ok(self)
    }

    /// Adds a TensorBoard event file in `directory`, continued after `iteration`.
    ///
    /// # Errors
    /// Fails if the file cannot be read or written.
    pub fn with_events(mut self, directory: &Path, iteration: u64) -> Result<Self, MetricsError> {
        self.events = Some(Events::resume(directory, iteration)?);
        Ok(self)
    }

    fn each(
        &mut self,
        mut act: impl FnMut(&mut AppendFile) -> Result<(), MetricsError>,
    ) -> Result<(), MetricsError> {
        act(&mut self.lines)?;
        if let Some(table) = &mut self.table {
            act(&mut table.file)?;
        }
        match &mut self.events {
            Some(events) => act(&mut events.file),
            None => Ok(()),
        }
    }

    /// Appends a record.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn write(&mut self, record: &Record) -> Result<(), MetricsError> {
        let mut line = record.to_line();
        line.push('\n');
        self.lines.append(line.as_bytes())?;
        if let Some(table) = &mut self.table {
            table.write(record)?;
        }
        match &mut self.events {
            Some(events) => events.write(record),
            None => Ok(()),
        }
    }

    /// Writes records to the files if the last write was a second ago. The trainer calls this every
    /// iteration, because records may be rarer.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn tick(&mut self) -> Result<(), MetricsError> {
        self.each(AppendFile::tick)
    }

    /// Writes all records to the files.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn flush(&mut self) -> Result<(), MetricsError> {
        self.each(AppendFile::flush)
    }

    /// Writes all records and waits until they are on the disk. Anything written later then implies these
    /// records.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn sync(&mut self) -> Result<(), MetricsError> {
        self.each(AppendFile::sync)
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

        // The last line is cut off, and there are records after the checkpoint.
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let mut writer = MetricsWriter::resume(&path, 4).unwrap();
        assert_eq!(text().lines().count(), 4);
        write(&mut writer, 5..=6);
        drop(writer);
        assert_eq!(text(), whole);

        // A broken last line is removed, even if its iteration could stay.
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        drop(MetricsWriter::resume(&path, 9).unwrap());
        assert_eq!(text().lines().count(), 5);

        std::fs::remove_file(&path).unwrap();
        drop(MetricsWriter::resume(&path, 3).unwrap());
        assert_eq!(text(), "");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_table_has_the_columns_of_the_first_record() {
        let folder = std::env::temp_dir().join(format!("bpmc-table-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (lines, table) = (folder.join("m.jsonl"), folder.join("m.csv"));
        let open = |iteration| {
            let writer = MetricsWriter::resume(&lines, iteration).unwrap();
            writer.with_table(&table, iteration).unwrap()
        };
        let text = || std::fs::read_to_string(&table).unwrap();
        let mut writer = open(0);
        for iteration in 1..=3 {
            writer.write(&record(iteration).set("late", 1.0)).unwrap();
        }
        writer.write(&Record::new(4).set("reward", -1.5)).unwrap();
        drop(writer);
        let row = |k| format!("{k},0.30000000000000004,\"[\"\"burn_in\"\"]\",,1.0,0.25\n");
        let header = "iteration,reward,flags,norm,late,seconds\n";
        let whole = format!("{header}{}{}{}4,-1.5,,,,\n", row(1), row(2), row(3));
        assert_eq!(text(), whole);

        std::fs::write(&table, &whole[..whole.len() - 4]).unwrap();
        let mut writer = open(2);
        assert_eq!(text(), format!("{header}{}{}", row(1), row(2)));
        writer.write(&Record::new(3).set("reward", 2.0)).unwrap();
        drop(writer);
        assert!(text().ends_with("\n3,2.0,,,,\n"), "{}", text());

        // A torn header is written again.
        std::fs::write(&table, "iterat").unwrap();
        open(0).write(&record(1)).unwrap();
        assert!(
            text().starts_with("iteration,reward,flags,norm,seconds\n1,"),
            "{}",
            text()
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn records_reach_the_file_within_a_second_of_ticks() {
        let path = std::env::temp_dir().join(format!("bpmc-ticks-{}", std::process::id()));
        let mut writer = MetricsWriter::create(&path).unwrap();
        let length = || std::fs::metadata(&path).unwrap().len();
        writer.write(&record(1)).unwrap();
        assert_eq!(length(), 0, "buffered");
        writer.lines.flushed = Instant::now()
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
