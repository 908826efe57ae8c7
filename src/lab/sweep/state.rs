//! The states of the cells of a sweep, read from their directories.

use super::cell::Failure;
use super::directory::Directory;
use super::plan::Cell;
use crate::lab::lock;
use crate::lab::run::{Manifest, Status, MANIFEST, METRICS};
use serde::Serialize;
use serde_json::Value;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The number of bytes at the end of the metrics that hold the last record.
const TAIL: u64 = 1 << 14;

/// The state of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The cell was not started.
    Waiting,
    /// A process trains it.
    Running,
    /// All iterations are done.
    Done,
    /// The cell stopped with an error.
    Failed,
    /// The cell was stopped and can continue.
    Interrupted,
    /// The directory of the cell holds a run of something else.
    Different,
}

impl State {
    /// The name in output.
    pub fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Running => "running",
            State::Done => "done",
            State::Failed => "failed",
            State::Interrupted => "interrupted",
            State::Different => "different",
        }
    }

    /// All states, in order.
    pub const ALL: [State; 6] = [
        State::Waiting,
        State::Running,
        State::Done,
        State::Failed,
        State::Interrupted,
        State::Different,
    ];
}

/// The known facts about a cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CellState {
    /// The state.
    pub state: State,
    /// The number of recorded iterations.
    pub iterations: u64,
    /// The time per iteration in seconds, over the last records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_per_iteration: Option<f64>,
    /// The error that stopped the cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Reads the state of a cell from its directory.
pub fn state(directory: &Directory, cell: &Cell) -> CellState {
    let path = directory.cell(cell);
    let manifest = Manifest::read(&path.join(MANIFEST)).ok();
    let failure = Failure::read(&path);
    let last = last_record(&path.join(METRICS));
    let number = |part: &Option<Value>, name: &str| part.as_ref()?.get(name)?.as_f64();
    let timing = last
        .as_ref()
        .and_then(|record| record.get("timing").cloned());
    let recorded = last
        .as_ref()
        .and_then(|record| record.get("iteration")?.as_u64());
    let held = lock::is_held(&path);
    let (state, error) = match &manifest {
        Some(manifest) if manifest.spec_hash != cell.spec_hash => {
            let error = "the directory holds a run of another spec or other settings";
            (State::Different, Some(error.to_owned()))
        }
        Some(manifest) if manifest.status == Status::Finished => (State::Done, None),
        _ if held => (State::Running, None),
        manifest => match (failure, manifest) {
            (Some(failure), _) => (State::Failed, Some(failure.sentence())),
            (None, None) => (State::Waiting, None),
            (None, Some(manifest)) => match manifest.status {
                Status::Failed => (State::Failed, manifest.error.clone()),
                Status::Finished | Status::Running | Status::Interrupted => {
                    (State::Interrupted, None)
                }
            },
        },
    };
    let saved = manifest.map_or(0, |manifest| manifest.iterations);
    CellState {
        state,
        iterations: recorded.unwrap_or(0).max(saved),
        seconds_per_iteration: number(&timing, "seconds_per_iteration"),
        error,
    }
}

/// The last whole record of the metrics at `path`.
fn last_record(path: &Path) -> Option<Value> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let whole = &text[..=text.rfind('\n')?];
    serde_json::from_str(whole.lines().last()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_record_counts() {
        let path = std::env::temp_dir().join(format!("bpmc-last-{}", std::process::id()));
        let long = "x".repeat(30_000);
        std::fs::write(
            &path,
            format!("{{\"{long}\":1}}\n{{\"iteration\":7}}\n{{\"iterat"),
        )
        .unwrap();
        assert_eq!(last_record(&path).unwrap()["iteration"], 7);
        std::fs::write(&path, "{\"iteration\"").unwrap();
        assert_eq!(last_record(&path), None);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(last_record(&path), None);
    }
}
