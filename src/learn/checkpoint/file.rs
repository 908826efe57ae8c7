//! The file format of checkpoints.

use super::{Checkpoint, CheckpointError, Header, Tensor, FORMAT};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io::Error;
use std::path::Path;

const KEY: &str = "bpmc";
const STATE: &str = "state/";
const MOMENT: &str = "optimizer.";

/// The JSON object under [`KEY`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    format: u64,
    header: Header,
    /// The [`checksum`] of the header and all tensors, 16 hexadecimal digits.
    checksum: String,
}

/// The error in a checkpoint's bytes.
#[derive(Debug)]
pub(super) enum Problem {
    Corrupt(String),
    NotOurs,
    OtherFormat(u64),
}

impl Problem {
    pub(super) fn at(self, path: &Path) -> CheckpointError {
        let path = path.to_owned();
        match self {
            Problem::Corrupt(reason) => CheckpointError::Corrupt { path, reason },
            Problem::NotOurs => CheckpointError::NotOurs { path },
            Problem::OtherFormat(found) => CheckpointError::OtherFormat { path, found },
        }
    }
}

/// The name of a tensor in the file, its dimensions and its bytes.
type Entry<'a> = (String, Vec<usize>, std::borrow::Cow<'a, [u8]>);

/// Encodes a checkpoint; equal checkpoints give equal bytes.
pub(super) fn encode(checkpoint: &Checkpoint) -> Result<Vec<u8>, Error> {
    let parameters = checkpoint.parameters.iter();
    let states = checkpoint.states.iter();
    let moments = checkpoint.moments.iter();
    let mut entries: Vec<Entry<'_>> = parameters
        .map(|(path, tensor)| (path.clone(), tensor))
        .chain(states.map(|(path, tensor)| (format!("{STATE}{path}"), tensor)))
        .chain(moments.map(|((moment, path), tensor)| (format!("{MOMENT}{moment}/{path}"), tensor)))
        .map(|(name, tensor)| {
            let bytes: Vec<u8> = tensor.values.iter().flat_map(|v| v.to_le_bytes()).collect();
            (name, tensor.dims.clone(), bytes.into())
        })
        .collect();
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let record = Record {
        format: FORMAT,
        header: checkpoint.header.clone(),
        checksum: checksum(&checkpoint.header, &entries)?,
    };
    let metadata = HashMap::from([(KEY.to_owned(), serde_json::to_string(&record)?)]);
    let views = entries
        .iter()
        .map(|(name, dims, bytes)| {
            let view = TensorView::new(Dtype::F32, dims.clone(), bytes);
            view.map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(Error::other)?;
    safetensors::serialize(views, Some(metadata)).map_err(Error::other)
}

/// Decodes a checkpoint.
pub(super) fn decode(bytes: &[u8]) -> Result<Checkpoint, Problem> {
    let corrupt = |reason: &dyn std::fmt::Display| Problem::Corrupt(reason.to_string());
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| corrupt(&error))?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|metadata| metadata.get(KEY))
        .ok_or(Problem::NotOurs)?;
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| corrupt(&error))?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    match format {
        Some(FORMAT) => {}
        Some(other) => return Err(Problem::OtherFormat(other)),
        None => return Err(corrupt(&"its format is not a number")),
    }
    let record: Record = serde_json::from_value(value).map_err(|error| corrupt(&error))?;

    let file = SafeTensors::deserialize(bytes).map_err(|error| corrupt(&error))?;
    let mut tensors = file.tensors();
    tensors.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut checkpoint = Checkpoint {
        header: record.header,
        parameters: BTreeMap::new(),
        states: BTreeMap::new(),
        moments: BTreeMap::new(),
    };
    let mut entries: Vec<Entry<'_>> = Vec::with_capacity(tensors.len());
    for (name, view) in tensors {
        if view.dtype() != Dtype::F32 {
            return Err(corrupt(&format!("`{name}` is {}, not F32", view.dtype())));
        }
        let tensor = Tensor {
            dims: view.shape().to_vec(),
            values: view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        };
        if let Some(path) = name.strip_prefix(STATE) {
            checkpoint.states.insert(path.to_owned(), tensor);
        } else if let Some((moment, path)) = name
            .strip_prefix(MOMENT)
            .and_then(|rest| rest.split_once('/'))
        {
            let key = (moment.to_owned(), path.to_owned());
            checkpoint.moments.insert(key, tensor);
        } else {
            checkpoint.parameters.insert(name.clone(), tensor);
        }
        entries.push((name, view.shape().to_vec(), view.data().into()));
    }
    let found = checksum(&checkpoint.header, &entries).map_err(|error| corrupt(&error))?;
    if found != record.checksum {
        return Err(corrupt(&format!(
            "its checksum is {found} and should be {}",
            record.checksum
        )));
    }
    Ok(checkpoint)
}

/// The FNV-1a hash of the header, and of the names, dimensions and bytes of `entries` in order. Each step is
/// a bijection of the hash so far, so a single damaged byte always shows.
fn checksum(header: &Header, entries: &[Entry<'_>]) -> Result<String, serde_json::Error> {
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    add(serde_json::to_string(header)?.as_bytes());
    for (name, dims, bytes) in entries {
        add(name.as_bytes());
        add(format!("{dims:?}").as_bytes());
        add(bytes);
    }
    Ok(format!("{sum:016x}"))
}
