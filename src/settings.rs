//! Settings of tasks, trainers and optimizers: declared once as a table, checked in one place,
//! listed by `bpmc explain`.

use std::collections::BTreeMap;

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SettingKind {
    /// A whole number in `min..=max`.
    Int {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A finite number in `min..=max`.
    Real {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// `true` or `false`.
    Bool,
    /// One of some words.
    Choice(&'static [&'static str]),
}

/// The value of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SettingValue {
    /// A whole number.
    Int(u64),
    /// A number.
    Real(f64),
    /// A truth value.
    Bool(bool),
    /// One of the words of a [`SettingKind::Choice`].
    Word(&'static str),
}

impl std::fmt::Display for SettingValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SettingValue::Int(value) => write!(f, "{value}"),
            SettingValue::Real(value) => write!(f, "{value}"),
            SettingValue::Bool(value) => write!(f, "{value}"),
            SettingValue::Word(value) => f.write_str(value),
        }
    }
}

/// One row of a settings table.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: SettingKind,
    /// Its value where the spec says nothing.
    pub default: SettingValue,
    /// One sentence: what it does, its unit, its source.
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

    /// A row for one of some words; the first is the default.
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

/// Values for every row of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    values: BTreeMap<&'static str, SettingValue>,
}

impl Settings {
    /// The defaults of a table.
    pub fn defaults(table: &[Setting]) -> Settings {
        Settings {
            values: table.iter().map(|row| (row.name, row.default)).collect(),
        }
    }

    /// Sets a value; the caller has checked it against the table.
    pub fn set(&mut self, name: &'static str, value: SettingValue) {
        self.values.insert(name, value);
    }

    /// All values by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, SettingValue)> + '_ {
        self.values.iter().map(|(name, value)| (*name, *value))
    }

    fn get(&self, name: &str) -> SettingValue {
        *self
            .values
            .get(name)
            .expect("a setting is only asked for by the owner of its table")
    }

    /// A whole number.
    pub fn int(&self, name: &str) -> usize {
        match self.get(name) {
            SettingValue::Int(value) => value as usize,
            SettingValue::Real(value) => value as usize,
            SettingValue::Bool(value) => usize::from(value),
            SettingValue::Word(_) => 0,
        }
    }

    /// A number.
    pub fn real(&self, name: &str) -> f64 {
        match self.get(name) {
            SettingValue::Int(value) => value as f64,
            SettingValue::Real(value) => value,
            SettingValue::Bool(value) => f64::from(u8::from(value)),
            SettingValue::Word(_) => f64::NAN,
        }
    }

    /// A truth value.
    pub fn bool(&self, name: &str) -> bool {
        self.get(name) == SettingValue::Bool(true)
    }

    /// A word.
    pub fn word(&self, name: &str) -> &'static str {
        match self.get(name) {
            SettingValue::Word(word) => word,
            SettingValue::Int(_) | SettingValue::Real(_) | SettingValue::Bool(_) => "",
        }
    }
}

/// Settings that are each fine and do not go together.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingConflict {
    /// The setting to point at.
    pub setting: &'static str,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// How to mend it.
    pub help: String,
}
