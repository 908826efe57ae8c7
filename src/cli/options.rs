//! Arguments that several subcommands share.

use clap::{Args, ValueEnum};
use std::str::FromStr;

/// One `--set path=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// What is set: `train.batch`, `optimizer.lr`, `task.steps`, or the name of a `dim`.
    pub path: String,
    /// The value as written; read later with the grammar of the language.
    pub value: String,
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Override, String> {
        let Some((path, value)) = text.split_once('=') else {
            return Err("expected PATH=VALUE, as in train.batch=10".to_owned());
        };
        let (path, value) = (path.trim(), value.trim());
        if path.is_empty() || value.is_empty() {
            return Err("expected PATH=VALUE, as in train.batch=10".to_owned());
        }
        Ok(Override {
            path: path.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// Changes to the spec made on the command line.
#[derive(Args, Clone, Debug)]
pub struct Overrides {
    /// Override a setting or a dim of the spec; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub set: Vec<Override>,
}

/// What runs the compiled program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Batched tensor operations of Candle, in f32
    Candle,
    /// A plain interpreter in f64: slow, and what the others are checked against
    Reference,
}

/// Where it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    /// The processor
    Cpu,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_needs_both_sides() {
        let parsed: Override = "train.lr = 1e-3".parse().unwrap();
        assert_eq!(
            (parsed.path.as_str(), parsed.value.as_str()),
            ("train.lr", "1e-3")
        );
        let parsed: Override = "a==".parse().unwrap();
        assert_eq!((parsed.path.as_str(), parsed.value.as_str()), ("a", "="));
        for wrong in ["", "train.lr", "=3", "train.lr=", " = "] {
            assert!(wrong.parse::<Override>().is_err(), "{wrong:?}");
        }
    }
}
