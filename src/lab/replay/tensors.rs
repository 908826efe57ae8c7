//! Recordings as safetensors: the length of a JSON text, the text, and the numbers.

use super::outline::{Format, Outline};
use super::Source;
use serde_json::{json, Map, Value};
use std::fs::File;
use std::io::{Result, Seek, SeekFrom, Write};

/// A file with each value as a tensor `[steps, lanes, dims...]` of its name (F32, or F64 from the reference
/// backend), and one metadata key, `bpmc`: a JSON object with the iteration, the steps, the lanes and where each value
/// comes from.
pub struct Safetensors;

/// The text before the numbers.
fn text(outline: &Outline, sources: &[Source]) -> String {
    let kind = if outline.wide { "F64" } else { "F32" };
    let named = outline.arrays.iter().zip(sources);
    let sources: Map<String, Value> = named
        .map(|((name, _), source)| (name.clone(), source.name().into()))
        .collect();
    let about = json!({
        "iteration": outline.iteration,
        "steps": outline.steps,
        "lanes": outline.lanes,
        "sources": sources,
    });
    let mut all = Map::new();
    all.insert(
        "__metadata__".to_owned(),
        json!({ "bpmc": about.to_string() }),
    );
    let mut start = 0;
    for (k, (name, _)) in outline.arrays.iter().enumerate() {
        let end = start + outline.bytes(k);
        let tensor =
            json!({ "dtype": kind, "shape": outline.dims(k), "data_offsets": [start, end] });
        all.insert(name.clone(), tensor);
        start = end;
    }
    Value::Object(all).to_string()
}

/// The length of the text, filled up with spaces to whatever the values turn out to come from.
fn length(outline: &Outline) -> u64 {
    let longest = vec![Source::Reference; outline.arrays.len()];
    (text(outline, &longest).len() as u64).next_multiple_of(8)
}

/// A file of whole arrays, each with its name, dimensions and numbers, of 64 bits if `wide`.
pub fn tensors(arrays: &[(String, Vec<usize>, &[f64])], wide: bool) -> Vec<u8> {
    let (kind, bytes) = if wide { ("F64", 8) } else { ("F32", 4) };
    let mut all = Map::new();
    let mut start = 0;
    for (name, dims, values) in arrays {
        let end = start + bytes * values.len();
        let tensor = json!({ "dtype": kind, "shape": dims, "data_offsets": [start, end] });
        all.insert(name.clone(), tensor);
        start = end;
    }
    let mut text = Value::Object(all).to_string();
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend(text.as_bytes());
    let values = arrays.iter().flat_map(|(_, _, values)| values.iter());
    for value in values {
        match wide {
            true => out.extend(value.to_le_bytes()),
            false => out.extend((*value as f32).to_le_bytes()),
        }
    }
    out
}

impl Format for Safetensors {
    fn places(&self, outline: &Outline) -> (Vec<u64>, u64) {
        let mut at = 8 + length(outline);
        let mut places = Vec::new();
        for k in 0..outline.arrays.len() {
            places.push(at);
            at += outline.bytes(k);
        }
        (places, at)
    }

    fn finish(&self, outline: &Outline, sources: &[Source], file: &mut File) -> Result<()> {
        let length = length(outline);
        let mut text = text(outline, sources);
        let missing = length as usize - text.len();
        text.push_str(&" ".repeat(missing));
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(text.as_bytes())
    }
}
