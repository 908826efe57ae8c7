//! The manifest of a run, `run.yaml`: the spec, the settings, and how the run ended.

use super::arrays::located;
use super::InitFrom;
use crate::step::passes::Selection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The largest manifest that is read, in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// The status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The run is in progress, or was killed.
    Running,
    /// All iterations are done.
    Finished,
    /// The run was asked to stop.
    Interrupted,
    /// An error stopped the run.
    Failed,
}

/// The reaction to a loss, gradient or parameter that is not finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNan {
    /// The run stops; its checkpoints stay.
    #[default]
    Stop,
    /// The iteration is skipped: parameters, moments and states stay as they were before it.
    Skip,
    /// The run returns to its last checkpoint, and continues with other episodes.
    Rollback,
}

/// One occurrence of a non-finite number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// The iteration, counted from 1.
    pub iteration: u64,
    /// The reaction.
    pub done: OnNan,
    /// The iteration after which the run continued.
    pub back_to: u64,
    /// The finding in one sentence.
    pub found: String,
}

/// A part of a run that had other settings than the present ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Earlier {
    /// The iteration after which the settings changed.
    pub until: u64,
    /// The time of the change, UTC.
    pub changed: String,
    /// Each setting that changed, with the value before and after.
    pub settings: Vec<String>,
    /// The `path=value` overrides before the change.
    pub overrides: Vec<String>,
    /// The hash of the spec before the change.
    pub spec_hash: String,
    /// The number of planned iterations before the change.
    pub iterations_planned: u64,
}

/// The contents of `run.yaml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The path of the spec, as it was given.
    pub spec: String,
    /// The name of the network.
    pub name: String,
    /// The SHA-256 of the model as `bpmc compile --emit model` prints it, including overrides.
    pub spec_hash: String,
    /// The `path=value` overrides, in order.
    pub overrides: Vec<String>,
    /// The files that the spec names, by the path of the setting, from the root of the file system; those of first values,
    /// by the path of the parameter, are copies in the directory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// The SHA-256 of the files that first values of parameters come from, by the path of the parameter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub file_hashes: BTreeMap<String, String>,
    /// The seed.
    pub seed: u64,
    /// The device.
    pub device: String,
    /// The backend that ran the step.
    pub backend: String,
    /// The passes over the step, as arguments of the command; they affect the last bits of results.
    #[serde(default = "default_passes")]
    pub passes: String,
    /// The reaction to non-finite numbers in the last session.
    #[serde(default)]
    pub on_nan: OnNan,
    /// The number of threads in the last session; results do not depend on it.
    pub threads: usize,
    /// The version of bpmc.
    pub version: String,
    /// The machine of the last session: its CPU, architecture and number of cores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The time of the first start, UTC.
    pub started: String,
    /// The time of the last stop, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The status of the run.
    pub status: Status,
    /// The iterations done when the manifest was written; a checkpoint may be older.
    pub iterations: u64,
    /// The number of planned iterations.
    pub iterations_planned: u64,
    /// The parts of the run with other settings, earliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Earlier>,
    /// The occurrences of non-finite numbers, with the reactions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_finite: Vec<Incident>,
    /// The directory of the text, if it is not the task's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The origin of the first parameters, if they were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitFrom>,
    /// The loss on the test text after training, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Test>,
    /// The error that stopped the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The loss on the test text with the best parameters of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// `exp` of the mean of `-log p`.
    pub perplexity: f64,
    /// The mean of `-log2 p`, in bits.
    pub bits_per_word: f64,
    /// The number of predicted words, including ends of lines.
    pub words: u64,
    /// The iteration of the checkpoint.
    pub iteration: u64,
}

fn default_passes() -> String {
    Selection::default().to_string()
}

impl Manifest {
    /// The overrides that the spec in the directory is compiled with: it lies elsewhere than its files are relative to.
    pub fn all_overrides(&self, directory: &Path) -> Vec<String> {
        let files = self.files.iter();
        let files = files.map(|(path, file)| format!("{path}={}", located(directory, file)));
        self.overrides.iter().cloned().chain(files).collect()
    }

    /// The manifest with the settings that iteration `iteration` was trained with.
    pub fn at(&self, iteration: u64) -> Manifest {
        let mut manifest = self.clone();
        let part = self.history.iter().find(|part| iteration <= part.until);
        if let Some(part) = part {
            manifest.overrides.clone_from(&part.overrides);
            manifest.spec_hash.clone_from(&part.spec_hash);
        }
        manifest
    }

    /// Tells if this run wrote the checkpoint of iteration `iteration` with this hash.
    pub fn wrote(&self, iteration: u64, spec_hash: &str) -> bool {
        let mut history = self.history.iter();
        spec_hash == self.spec_hash
            || history.any(|part| part.spec_hash == spec_hash && iteration <= part.until)
    }

    /// The manifest as YAML text.
    ///
    /// # Errors
    /// Errors of the YAML writer.
    pub fn to_yaml(&self) -> std::io::Result<String> {
        serde_yaml::to_string(self).map_err(std::io::Error::other)
    }

    /// Reads the manifest at `path`.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is not a manifest.
    pub fn read(path: &Path) -> std::io::Result<Manifest> {
        let mut text = String::new();
        std::fs::File::open(path)?
            .take(MOST_BYTES + 1)
            .read_to_string(&mut text)?;
        if text.len() as u64 > MOST_BYTES {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "it is too large for the manifest of a run",
            ));
        }
        serde_yaml::from_str(&text).map_err(|error| {
            std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!("it is not the manifest of a run: {error}"),
            )
        })
    }
}

/// A description of this machine: its CPU, if the system reports it, its architecture and number of cores.
pub(super) fn machine() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = told.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cores = match cores {
        1 => "1 core".to_owned(),
        cores => format!("{cores} cores"),
    };
    let (kind, system) = (std::env::consts::ARCH, std::env::consts::OS);
    match model {
        Some(model) => format!("{model}, {cores}, {kind} {system}"),
        None => format!("{cores}, {kind} {system}"),
    }
}

/// The current time, UTC, as `2025-01-31T12:00:00Z`.
pub(super) fn now() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    utc(since.as_secs())
}

/// Converts seconds since 1970 to date and time of the Gregorian calendar. Years begin in March, so that the
/// leap day is the last day of a year.
fn utc(seconds: u64) -> String {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let day = day - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(951_868_800), "2000-03-01T00:00:00Z");
        assert_eq!(utc(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn a_manifest_reads_back() {
        let manifest = Manifest {
            spec: "a b: c.bpm".to_owned(),
            name: "agent".to_owned(),
            spec_hash: "00".to_owned(),
            overrides: vec!["train.batch=3".to_owned()],
            files: BTreeMap::from([("task.train".to_owned(), "/data/train.npz".to_owned())]),
            file_hashes: BTreeMap::from([("rec.mask".to_owned(), "03".to_owned())]),
            seed: u64::MAX,
            device: "cpu".to_owned(),
            backend: "candle".to_owned(),
            passes: "--opt 1".to_owned(),
            threads: 2,
            version: "0".to_owned(),
            machine: Some("a processor, 2 cores".to_owned()),
            started: utc(0),
            ended: None,
            status: Status::Interrupted,
            iterations: 7,
            iterations_planned: 9,
            on_nan: OnNan::Skip,
            history: vec![Earlier {
                until: 5,
                changed: utc(60),
                settings: vec!["train.iterations: 5 -> 9".to_owned()],
                overrides: Vec::new(),
                spec_hash: "01".to_owned(),
                iterations_planned: 5,
            }],
            not_finite: vec![Incident {
                iteration: 3,
                done: OnNan::Skip,
                back_to: 2,
                found: "the loss".to_owned(),
            }],
            data: Some("texts".to_owned()),
            init: Some(InitFrom {
                file: "given.npz".to_owned(),
                sha256: "02".to_owned(),
                only: vec!["rec.w".to_owned()],
            }),
            test: Some(Test {
                perplexity: 2.0,
                bits_per_word: 1.0,
                words: 9,
                iteration: 5,
            }),
            error: None,
        };
        let text = manifest.to_yaml().unwrap();
        assert!(text.contains("status: interrupted\n"), "{text}");
        assert_eq!(serde_yaml::from_str::<Manifest>(&text).unwrap(), manifest);
        assert!(manifest.wrote(5, "01") && manifest.wrote(9, "00") && !manifest.wrote(6, "01"));
        let hashes = [5, 6].map(|iteration| manifest.at(iteration).spec_hash);
        assert_eq!(hashes, ["01", "00"]);
    }
}
