//! Metrics as a table, `metrics.csv`: its columns are the fields of the first record, timing last.

use super::lines::{length_while, AppendFile};
use super::{MetricsError, Record};
use serde_json::Value;
use std::path::Path;

/// The table of a run in training.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) file: AppendFile,
    columns: Vec<String>,
}

impl Table {
    /// Opens or creates the file at `path` to continue after `iteration`.
    pub(super) fn resume(path: &Path, iteration: u64) -> Result<Table, MetricsError> {
        let mut columns = Vec::new();
        let file = AppendFile::resume(path, |file| {
            length_while(file, |line, number| {
                let line = String::from_utf8_lossy(line);
                if number == 0 {
                    columns = line.trim_end().split(',').map(str::to_owned).collect();
                    return columns.first().is_some_and(|first| first == "iteration");
                }
                let first = line.split(',').next().and_then(|text| text.parse().ok());
                first.is_some_and(|found: u64| found <= iteration)
            })
        })?;
        if columns.first().is_none_or(|first| first != "iteration") {
            columns.clear();
        }
        Ok(Table { file, columns })
    }

    /// Appends a row, and before the first row the names of the columns. Fields without a column are skipped.
    pub(super) fn write(&mut self, record: &Record) -> Result<(), MetricsError> {
        let fields = || record.fields.iter().chain(&record.timing);
        if self.columns.is_empty() {
            self.columns = fields().map(|(name, _)| name.clone()).collect();
            let header = self.columns.join(",") + "\n";
            self.file.append(header.as_bytes())?;
        }
        let cells: Vec<String> = self
            .columns
            .iter()
            .map(|column| {
                let found = fields().find(|(name, _)| *name == column);
                found.map_or(String::new(), |(_, value)| cell(value))
            })
            .collect();
        self.file.append((cells.join(",") + "\n").as_bytes())
    }
}

/// A cell of the table: numbers as in the JSON file, other values quoted, null empty.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Number(number) => number.to_string(),
        Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("\"{}\"", text.replace('"', "\"\""))
        }
    }
}
