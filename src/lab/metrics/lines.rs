//! A file that grows during a run, and is cut when the run resumes.

use super::MetricsError;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The longest time that written data stays in memory.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// A file that is appended to. Dropping it writes the data still in memory.
#[derive(Debug)]
pub(super) struct AppendFile {
    path: PathBuf,
    file: BufWriter<File>,
    pub(super) flushed: Instant,
}

impl AppendFile {
    /// Creates an empty file.
    pub(super) fn create(path: &Path) -> Result<AppendFile, MetricsError> {
        AppendFile::with(path, File::create(path))
    }

    /// Opens the file at `path`, or creates it, and cuts it to the length that `keep` returns.
    pub(super) fn resume(
        path: &Path,
        keep: impl FnOnce(&File) -> std::io::Result<u64>,
    ) -> Result<AppendFile, MetricsError> {
        let open = || {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            let kept = keep(&file)?;
            file.set_len(kept)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        AppendFile::with(path, open())
    }

    fn with(path: &Path, file: std::io::Result<File>) -> Result<AppendFile, MetricsError> {
        let file = file.map_err(|source| MetricsError {
            path: path.to_owned(),
            source,
        })?;
        Ok(AppendFile {
            path: path.to_owned(),
            file: BufWriter::new(file),
            flushed: Instant::now(),
        })
    }

    /// Appends `bytes`.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), MetricsError> {
        let written = self.file.write_all(bytes);
        self.check(written)?;
        self.tick()
    }

    /// Writes appended data to the file if the last write was a second ago.
    pub(super) fn tick(&mut self) -> Result<(), MetricsError> {
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes appended data to the file.
    pub(super) fn flush(&mut self) -> Result<(), MetricsError> {
        self.flushed = Instant::now();
        let flushed = self.file.flush();
        self.check(flushed)
    }

    /// Writes appended data to the file and waits until it is on the disk.
    pub(super) fn sync(&mut self) -> Result<(), MetricsError> {
        self.flush()?;
        let synced = self.file.get_ref().sync_data();
        self.check(synced)
    }

    fn check(&self, result: std::io::Result<()>) -> Result<(), MetricsError> {
        result.map_err(|source| MetricsError {
            path: self.path.clone(),
            source,
        })
    }
}

/// The length in bytes of the leading whole lines that `keep` accepts; `keep` gets the line and its number.
pub(super) fn length_while(
    file: &File,
    mut keep: impl FnMut(&[u8], usize) -> bool,
) -> std::io::Result<u64> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    let mut length = 0;
    for number in 0.. {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") || !keep(&line, number) {
            break;
        }
        length += read as u64;
    }
    Ok(length)
}
