//! TensorBoard event files: a sequence of TFRecords, each an `Event` message with scalars.
//!
//! A TFRecord is the length of its data (u64), a masked CRC-32C of these eight bytes (u32), the data, and a
//! masked CRC-32C of it, all little-endian. Only these fields of the protocol buffers are written: `Event {
//! wall_time = 1: double, step = 2: varint, file_version = 3: string, summary = 5 }`, `Summary { value = 1,
//! repeated }`, `Value { tag = 1: string, simple_value = 2: float }`.

use super::lines::AppendFile;
use super::{MetricsError, Record};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The prefix of the names of event files.
const PREFIX: &str = "events.out.tfevents.";
/// The file version that the first record states.
const VERSION: &[u8] = b"brain.Event:2";

/// The event file of a run in training.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) file: AppendFile,
}

impl Events {
    /// Opens the event file in `directory` and cuts it after `iteration`, or begins a new one.
    pub(super) fn resume(directory: &Path, iteration: u64) -> Result<Events, MetricsError> {
        let path = existing(directory)
            .unwrap_or_else(|| directory.join(format!("{PREFIX}{:010}.bpmc", now() as u64)));
        let mut kept = 0;
        let mut file = AppendFile::resume(&path, |file| {
            kept = length_up_to(file, iteration)?;
            Ok(kept)
        })?;
        if kept == 0 {
            let mut event = Vec::new();
            put_double(&mut event, 1, now());
            put_bytes(&mut event, 3, VERSION);
            file.append(&framed(&event))?;
        }
        Ok(Events { file })
    }

    /// Appends the numbers of a record.
    pub(super) fn write(&mut self, record: &Record) -> Result<(), MetricsError> {
        let mut summary = Vec::new();
        let timing = record
            .timing
            .iter()
            .map(|(name, value)| (format!("timing/{name}"), value));
        let fields = record
            .fields
            .iter()
            .filter(|(name, _)| *name != "iteration");
        for (tag, value) in fields
            .map(|(name, value)| (name.clone(), value))
            .chain(timing)
        {
            let Some(number) = value.as_f64() else {
                continue;
            };
            let mut scalar = Vec::new();
            put_bytes(&mut scalar, 1, tag.as_bytes());
            scalar.push(2 << 3 | 5);
            scalar.extend((number as f32).to_le_bytes());
            put_bytes(&mut summary, 1, &scalar);
        }
        let mut event = Vec::new();
        put_double(&mut event, 1, now());
        event.push(2 << 3);
        put_varint(&mut event, record.iteration());
        put_bytes(&mut event, 5, &summary);
        self.file.append(&framed(&event))
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

fn existing(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path())
        .min()
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(field << 3 | 1);
    out.extend(value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(data.len() + 16);
    out.extend(length);
    out.extend(masked_crc(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked_crc(data).to_le_bytes());
    out
}

/// The CRC-32C of Castagnoli, which the crate's catalogue calls iSCSI.
const CRC32C: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

/// The checksum of TFRecords: a CRC-32C, rotated and offset so that data may itself contain checksums.
fn masked_crc(data: &[u8]) -> u32 {
    CRC32C
        .checksum(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// The length in bytes of the leading whole records of iterations up to `iteration`.
fn length_up_to(mut file: &File, iteration: u64) -> std::io::Result<u64> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut kept = 0;
    while let Some(data) = record_at(&bytes[kept..]) {
        if step(data).unwrap_or(0) > iteration {
            break;
        }
        kept += data.len() + 16;
    }
    Ok(kept as u64)
}

/// The data of the record at the beginning of `bytes`; `None` if it is incomplete or its checksum differs.
fn record_at(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let data = rest.get(..size)?;
    let (after, _) = rest[size..].split_first_chunk::<4>()?;
    let whole = u32::from_le_bytes(*sum) == masked_crc(length)
        && u32::from_le_bytes(*after) == masked_crc(data);
    whole.then_some(data)
}

/// The `step` field of an event, which follows its time.
fn step(event: &[u8]) -> Option<u64> {
    let rest = event.get(9..)?;
    let (tag, mut rest) = rest.split_first()?;
    if *tag != 2 << 3 {
        return None;
    }
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let (byte, next) = rest.split_first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
        shift += 7;
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4.
        assert_eq!(CRC32C.checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(CRC32C.checksum(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(CRC32C.checksum(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn records_are_cut_after_an_iteration() {
        let folder = std::env::temp_dir().join(format!("bpmc-events-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |events: &mut Events, iterations: &[u64]| {
            for iteration in iterations {
                let record = Record::new(*iteration)
                    .set("reward", 0.5)
                    .time("seconds", 1.0);
                events.write(&record).unwrap();
            }
        };
        let mut events = Events::resume(&folder, 0).unwrap();
        write(&mut events, &[4, 8, 300]);
        drop(events);
        let path = existing(&folder).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let steps = |bytes: &[u8]| {
            let mut at = 0;
            let mut steps = Vec::new();
            while let Some(data) = record_at(&bytes[at..]) {
                steps.push(step(data));
                at += data.len() + 16;
            }
            assert_eq!(at, bytes.len());
            steps
        };
        assert_eq!(steps(&whole), [None, Some(4), Some(8), Some(300)]);
        // The last record is torn.
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        let mut events = Events::resume(&folder, 299).unwrap();
        write(&mut events, &[300]);
        drop(events);
        assert_eq!(
            steps(&std::fs::read(&path).unwrap()),
            [None, Some(4), Some(8), Some(300)]
        );
        drop(Events::resume(&folder, 7).unwrap());
        assert_eq!(steps(&std::fs::read(&path).unwrap()), [None, Some(4)]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
