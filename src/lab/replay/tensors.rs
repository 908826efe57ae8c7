//! Recordings as safetensors.

use super::Recording;
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::io::Error;

/// A file with each value as a tensor `[steps, lanes, dims...]` of its name (F32, or F64 from the reference
/// backend), and one metadata key, `bpmc`: a JSON object with the iteration, the lanes and where each value
/// comes from.
///
/// # Errors
/// Those of the format's writer.
pub fn to_safetensors(recording: &Recording) -> Result<Vec<u8>, Error> {
    let sources: serde_json::Map<String, serde_json::Value> = recording
        .series
        .iter()
        .map(|series| (series.name.clone(), series.source.name().into()))
        .collect();
    let about = serde_json::json!({
        "iteration": recording.iteration,
        "lanes": recording.lanes,
        "sources": sources,
    });
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = recording
        .series
        .iter()
        .map(|series| {
            let mut dims = vec![recording.steps, recording.lanes.len()];
            dims.extend(&series.dims);
            let values = series.values.iter();
            let bytes = if recording.wide {
                values.flat_map(|x| x.to_le_bytes()).collect()
            } else {
                values.flat_map(|x| (*x as f32).to_le_bytes()).collect()
            };
            (series.name.clone(), dims, bytes)
        })
        .collect();
    let kind = if recording.wide {
        Dtype::F64
    } else {
        Dtype::F32
    };
    let views = tensors
        .iter()
        .map(|(name, dims, bytes)| {
            let view = TensorView::new(kind, dims.clone(), bytes);
            view.map(|view| (name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(Error::other)?;
    let metadata = HashMap::from([("bpmc".to_owned(), about.to_string())]);
    safetensors::serialize(views, Some(metadata)).map_err(Error::other)
}
