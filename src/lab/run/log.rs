//! The log of a run: its events, one per line.

use super::manifest::now;
use super::RunError;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The name of the log in a run directory.
pub const LOG: &str = "log.txt";

/// A log file, appended to in whole lines.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens the log in `directory`. An incomplete last line, left by a kill, is removed.
    pub(super) fn open(directory: &Path) -> Result<Log, RunError> {
        let path = directory.join(LOG);
        let open = || {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |k| k + 1);
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(|error| RunError::file("write", &path, error))?;
        Ok(Log { path, file })
    }

    /// Appends a line after the current time; line breaks in it become spaces.
    pub(super) fn line(&mut self, text: &str) -> Result<(), RunError> {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = format!("{} {text}\n", now());
        self.file
            .write_all(line.as_bytes())
            .map_err(|error| RunError::file("write", &self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_goes() {
        let folder = std::env::temp_dir().join(format!("bpmc-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Log::open(&folder).unwrap().line("started\n  here").unwrap();
        let text = || std::fs::read_to_string(folder.join(LOG)).unwrap();
        let first = text();
        assert!(first.ends_with("Z started here\n"), "{first}");
        std::fs::write(folder.join(LOG), format!("{first}2026-01")).unwrap();
        Log::open(&folder).unwrap().line("resumed").unwrap();
        assert!(text().starts_with(&first) && text().lines().count() == 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
