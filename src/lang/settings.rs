//! Settings of tasks, trainers and optimizers: each declared once in a table, checked in one place and listed
//! by `bpmc explain`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The kind of values that a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SettingKind {
    /// A whole number in `min..=max`.
    Int {
        /// The minimum.
        min: u64,
        /// The maximum.
        max: u64,
    },
    /// A finite number in `min..=max`.
    Real {
        /// The minimum.
        min: f64,
        /// The maximum.
        max: f64,
    },
    /// A truth value, `true` or `false`.
    Bool,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A size such as `"200MB"`.
    Bytes,
    /// The path of a file or folder, relative to the spec or, in `--set`, to the current directory.
    File,
    /// The path of a folder, relative as that of a file; by default the folder of the spec.
    Folder,
    /// Any text.
    Text,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingValue {
    /// A whole number.
    Int(u64),
    /// A number.
    Real(f64),
    /// A truth value.
    Bool(bool),
    /// One of the words of a [`SettingKind::Choice`].
    Word(&'static str),
    /// A size in bytes; `None` for no limit.
    Bytes(Option<u64>),
    /// A path; `None` for none.
    File(Option<Arc<Path>>),
    /// The path of a folder; `None` for that of the spec.
    Folder(Option<Arc<Path>>),
    /// A text; `None` for none.
    Text(Option<Arc<str>>),
}

impl std::fmt::Display for SettingValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SettingValue::Int(value) => write!(f, "{value}"),
            SettingValue::Real(value) => write!(f, "{value}"),
            SettingValue::Bool(value) => write!(f, "{value}"),
            SettingValue::Word(value) => f.write_str(value),
            SettingValue::Bytes(Some(value)) => f.write_str(&bytes_text(*value)),
            SettingValue::Bytes(None) => f.write_str("no limit"),
            // The meaning of a spec does not depend on the folder of its files.
            SettingValue::File(Some(path)) => {
                let name = path.file_name().unwrap_or(path.as_os_str());
                write!(f, "\"{}\"", name.to_string_lossy())
            }
            SettingValue::Folder(Some(_)) => f.write_str("a folder"),
            SettingValue::Folder(None) => f.write_str("that of the spec"),
            SettingValue::Text(Some(text)) => write!(f, "\"{text}\""),
            SettingValue::File(None) | SettingValue::Text(None) => f.write_str("none"),
        }
    }
}

/// The units of sizes, longest names first.
const UNITS: [(&str, f64); 10] = [
    ("kiB", 1024.0),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("B", 1.0),
];

/// Parses a size such as `200MB`, `1.5 GB` or `64 MiB` to bytes; `None` if it is not a size.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number = text[..text.len() - unit.len()].trim();
    let plain = number.bytes().all(|c| c.is_ascii_digit() || c == b'.');
    let value: f64 = number.parse().ok().filter(|_| plain)?;
    let bytes = value * factor;
    (1.0..1e18).contains(&bytes).then_some(bytes as u64)
}

/// A size in the largest unit that makes it a whole number.
fn bytes_text(bytes: u64) -> String {
    let mut best = format!("{bytes}B");
    for (unit, factor) in [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)] {
        if bytes.is_multiple_of(factor) && bytes > 0 {
            best = format!("{}{unit}", bytes / factor);
        }
    }
    best
}

/// One row of a settings table.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The name.
    pub name: &'static str,
    /// The kind.
    pub kind: SettingKind,
    /// The default value.
    pub default: SettingValue,
    /// A description in one sentence: effect, unit, source.
    pub doc: &'static str,
}

impl Setting {
    /// A row for a whole number in `min..=max`.
    pub const fn int(
        name: &'static str,
        (min, max): (u64, u64),
        default: u64,
        doc: &'static str,
    ) -> Setting {
        Setting {
            name,
            kind: SettingKind::Int { min, max },
            default: SettingValue::Int(default),
            doc,
        }
    }

    /// A row for a number in `min..=max`.
    pub const fn real(
        name: &'static str,
        (min, max): (f64, f64),
        default: f64,
        doc: &'static str,
    ) -> Setting {
        Setting {
            name,
            kind: SettingKind::Real { min, max },
            default: SettingValue::Real(default),
            doc,
        }
    }

    /// A row for a truth value.
    pub const fn flag(name: &'static str, default: bool, doc: &'static str) -> Setting {
        Setting {
            name,
            kind: SettingKind::Bool,
            default: SettingValue::Bool(default),
            doc,
        }
    }

    /// A row for a size in bytes; the default is no limit.
    pub const fn bytes(name: &'static str, doc: &'static str) -> Setting {
        Setting {
            name,
            kind: SettingKind::Bytes,
            default: SettingValue::Bytes(None),
            doc,
        }
    }

    /// A row for a path; there is none by default.
    pub const fn file(name: &'static str, doc: &'static str) -> Setting {
        Setting {
            name,
            kind: SettingKind::File,
            default: SettingValue::File(None),
            doc,
        }
    }

    /// A row for the path of a folder; the default is that of the spec.
    pub const fn folder(name: &'static str, doc: &'static str) -> Setting {
        Setting {
            name,
            kind: SettingKind::Folder,
            default: SettingValue::Folder(None),
            doc,
        }
    }

    /// A row for a text; there is none by default.
    pub const fn text(name: &'static str, doc: &'static str) -> Setting {
        Setting {
            name,
            kind: SettingKind::Text,
            default: SettingValue::Text(None),
            doc,
        }
    }

    /// A row for one of several words; the first is the default.
    pub const fn choice(
        name: &'static str,
        words: &'static [&'static str],
        doc: &'static str,
    ) -> Setting {
        Setting {
            name,
            kind: SettingKind::Choice(words),
            default: SettingValue::Word(words[0]),
            doc,
        }
    }
}

/// A value for every row of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    values: BTreeMap<&'static str, SettingValue>,
}

impl SettingValue {
    /// The number, where the value is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            SettingValue::Int(value) => Some(*value as f64),
            SettingValue::Real(value) => Some(*value),
            _ => None,
        }
    }
}

impl Settings {
    /// The defaults of a table.
    pub fn defaults(table: &[Setting]) -> Settings {
        Settings {
            values: table
                .iter()
                .map(|row| (row.name, row.default.clone()))
                .collect(),
        }
    }

    /// Sets a value; the caller has checked it against the table.
    pub fn set(&mut self, name: &'static str, value: SettingValue) {
        self.values.insert(name, value);
    }

    /// Iterates over all values by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &SettingValue)> + '_ {
        self.values.iter().map(|(name, value)| (*name, value))
    }

    fn get(&self, name: &str) -> &SettingValue {
        self.values
            .get(name)
            .expect("a setting is only asked for by the owner of its table")
    }

    /// The value of a whole number.
    pub fn int(&self, name: &str) -> usize {
        match self.get(name) {
            SettingValue::Int(value) => *value as usize,
            SettingValue::Real(value) => *value as usize,
            SettingValue::Bool(value) => usize::from(*value),
            SettingValue::Word(_)
            | SettingValue::Bytes(_)
            | SettingValue::File(_)
            | SettingValue::Folder(_)
            | SettingValue::Text(_) => 0,
        }
    }

    /// The value of a real number.
    pub fn real(&self, name: &str) -> f64 {
        match self.get(name) {
            SettingValue::Int(value) => *value as f64,
            SettingValue::Real(value) => *value,
            SettingValue::Bool(value) => f64::from(u8::from(*value)),
            SettingValue::Word(_)
            | SettingValue::Bytes(_)
            | SettingValue::File(_)
            | SettingValue::Folder(_)
            | SettingValue::Text(_) => f64::NAN,
        }
    }

    /// The value of a truth value.
    pub fn bool(&self, name: &str) -> bool {
        *self.get(name) == SettingValue::Bool(true)
    }

    /// The value of a size in bytes; `None` for no limit.
    pub fn bytes(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            SettingValue::Bytes(value) => *value,
            SettingValue::Int(_)
            | SettingValue::Real(_)
            | SettingValue::Bool(_)
            | SettingValue::Word(_)
            | SettingValue::File(_)
            | SettingValue::Folder(_)
            | SettingValue::Text(_) => None,
        }
    }

    /// The value of a word.
    pub fn word(&self, name: &str) -> &'static str {
        match self.get(name) {
            SettingValue::Word(word) => word,
            SettingValue::Int(_)
            | SettingValue::Real(_)
            | SettingValue::Bool(_)
            | SettingValue::Bytes(_)
            | SettingValue::File(_)
            | SettingValue::Folder(_)
            | SettingValue::Text(_) => "",
        }
    }

    /// The path of a file or a folder; `None` if none is given.
    pub fn file(&self, name: &str) -> Option<&Path> {
        match self.get(name) {
            SettingValue::File(path) | SettingValue::Folder(path) => path.as_deref(),
            SettingValue::Int(_)
            | SettingValue::Real(_)
            | SettingValue::Bool(_)
            | SettingValue::Word(_)
            | SettingValue::Bytes(_)
            | SettingValue::Text(_) => None,
        }
    }

    /// A text; `None` if none is given.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            SettingValue::Text(text) => text.as_deref(),
            SettingValue::Int(_)
            | SettingValue::Real(_)
            | SettingValue::Bool(_)
            | SettingValue::Word(_)
            | SettingValue::Bytes(_)
            | SettingValue::File(_)
            | SettingValue::Folder(_) => None,
        }
    }
}

/// A conflict between settings that are each valid.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingConflict {
    /// The setting to point at.
    pub setting: &'static str,
    /// The message: one sentence without a full stop.
    pub message: String,
    /// The remedy.
    pub help: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!(parse_bytes("200MB"), Some(200_000_000));
        assert_eq!(parse_bytes(" 1.5 GB"), Some(1_500_000_000));
        assert_eq!(parse_bytes("64 MiB"), Some(67_108_864));
        for bad in ["", "MB", "-1MB", "2", "1e3MB", "0B", "3 MBs", "inf GB"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
        let text = |bytes| SettingValue::Bytes(Some(bytes)).to_string();
        assert_eq!(text(200_000_000), "200MB");
        assert_eq!(text(1_500_000), "1500kB");
        assert_eq!(text(17), "17B");
        assert_eq!(parse_bytes(&text(123_456)), Some(123_456));
    }
}
