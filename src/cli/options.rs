//! Arguments that several subcommands share.

use super::Failure;
use crate::learn::trainer::BackendKind;
use crate::machine::device::{DeviceKind, Matmul};
use crate::step::passes::{self, Pass, Selection};
use clap::{Args, ValueEnum};
use std::num::NonZeroUsize;

/// Changes to the spec made on the command line.
#[derive(Args, Clone, Debug)]
pub struct Overrides {
    /// Override a setting, dim, value or first value of the spec; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = both_sides)]
    pub set: Vec<String>,
}

/// An override as written; the grammar of the language reads its value later.
fn both_sides(text: &str) -> Result<String, String> {
    match text.split_once(['=', '~']) {
        Some((path, value)) if !path.trim().is_empty() && !value.trim().is_empty() => {
            Ok(text.to_owned())
        }
        _ => Err("expected PATH=VALUE, as in train.batch=10".to_owned()),
    }
}

/// A count.
pub fn from_one(text: &str) -> Result<NonZeroUsize, String> {
    let message = |_| "a whole number from 1 on is needed".to_owned();
    text.parse().map_err(message)
}

/// The number of threads to use.
#[derive(Args, Clone, Copy, Debug)]
pub struct Threads {
    /// Threads to split the lanes over; the numbers are the same with any [default: all cores]
    #[arg(long, value_name = "N", value_parser = from_one)]
    pub threads: Option<NonZeroUsize>,
}

impl Threads {
    /// The number asked for, or the number of cores.
    pub fn count(self) -> usize {
        self.threads
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get)
    }
}

/// The choice of passes that run.
#[derive(Args, Clone, Debug)]
pub struct Passes {
    /// Level of optimization, 0 (not at all) to 3 [default: 3; `grad`: 0; `eval`: as the run]
    #[arg(long, value_name = "LEVEL", help_heading = "Optimizer",
          value_parser = clap::value_parser!(u8).range(0..=3))]
    pub opt: Option<u8>,

    /// Run this pass whatever the level; may be repeated (`bpmc explain passes` lists them)
    #[arg(long = "pass", value_name = "NAME", help_heading = "Optimizer", value_parser = passes::find)]
    pub on: Vec<&'static Pass>,

    /// Leave this pass out; may be repeated
    #[arg(long = "no-pass", value_name = "NAME", help_heading = "Optimizer", value_parser = passes::find)]
    pub off: Vec<&'static Pass>,

    /// Stop after N single rewrites, all passes together: to find the one that is wrong
    #[arg(long, value_name = "N", help_heading = "Optimizer")]
    pub stop_after: Option<usize>,

    /// Show on standard error what each pass did, and how long each stage took
    #[arg(long, help_heading = "Optimizer")]
    pub time_passes: bool,
}

impl Passes {
    /// The passes asked for, or `usual` by default.
    ///
    /// # Errors
    /// Where a pass is both to run and to be left out.
    pub fn selection(&self, usual: Selection) -> Result<Selection, Failure> {
        let mut selection = self.opt.map_or(usual, Selection::level);
        for pass in &self.on {
            if self.off.iter().any(|other| other.name == pass.name) {
                return Err(Failure::Usage(format!(
                    "both `--pass {0}` and `--no-pass {0}`: choose one",
                    pass.name
                )));
            }
            selection = selection.with(pass);
        }
        for pass in &self.off {
            selection = selection.without(pass);
        }
        Ok(match self.stop_after {
            Some(rewrites) => selection.stopping_after(rewrites),
            None => selection,
        })
    }
}

/// The engine that runs the compiled program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Fused kernels compiled for the spec, in f32, a lane at a time
    Fused,
    /// Batched tensor operations of Candle, in f32
    Candle,
    /// A plain interpreter in f64: slow, and what the others are checked against
    Reference,
}

impl Backend {
    /// The default: fused kernels, or Candle on the plain graph for `--opt 0`.
    pub fn usual(selection: &Selection) -> Backend {
        match selection.opt() {
            0 => Backend::Candle,
            _ => Backend::Fused,
        }
    }

    /// The library's name of it.
    pub fn kind(self) -> BackendKind {
        match self {
            Backend::Fused => BackendKind::Fused,
            Backend::Candle => BackendKind::Candle,
            Backend::Reference => BackendKind::Reference,
        }
    }
}

/// The options of the device.
#[derive(Args, Clone, Copy, Debug)]
pub struct Devices {
    /// Device: cpu, cuda, cuda:N (the GPU with this number), auto, which measures both and says why, or
    /// emulated, which runs the code of a GPU slowly on the CPU
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = Device::parse)]
    pub device: Device,

    /// Precision of matrix products on a GPU: f32, or tf32 or bf16, which round the factors and are faster
    #[arg(long, value_name = "HOW", default_value = "f32", value_parser = str::parse::<Matmul>)]
    pub matmul: Matmul,

    /// Stop with an error if a result could differ between runs. Only `--backend candle` on a GPU is
    /// affected
    #[arg(long)]
    pub deterministic: bool,
}

impl Devices {
    /// Tells if no argument chose a device.
    pub fn is_default(&self) -> bool {
        self.device == Device::One(DeviceKind::Cpu) && self.matmul == Matmul::default()
    }

    /// The same as arguments of a command.
    pub fn words(&self) -> Vec<String> {
        let device = match self.device {
            Device::One(kind) => kind.to_string(),
            Device::Auto => "auto".to_owned(),
        };
        let mut words = vec!["--device".to_owned(), device];
        words.extend(["--matmul".to_owned(), self.matmul.to_string()]);
        words.extend(self.deterministic.then(|| "--deterministic".to_owned()));
        words
    }
}

/// A device, or the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// This one.
    One(DeviceKind),
    /// The faster one.
    Auto,
}

impl Device {
    fn parse(text: &str) -> Result<Device, String> {
        match text {
            "auto" => Ok(Device::Auto),
            other => other.parse().map(Device::One),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_needs_both_sides() {
        for right in ["train.lr = 1e-3", "rec.w~uniform(0, 1)", "a=="] {
            assert_eq!(both_sides(right).as_deref(), Ok(right));
        }
        for wrong in ["", "train.lr", "=3", "train.lr=", " = "] {
            assert!(both_sides(wrong).is_err(), "{wrong:?}");
        }
    }
}
