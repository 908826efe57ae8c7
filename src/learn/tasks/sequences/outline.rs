//! An outline of the data: a file with the same arrays, of one sequence that says nothing but names, shapes and numbers of
//! classes.

use super::layout::{Layout, Value, When, START};
use safetensors::tensor::{Dtype, TensorView};

/// The most bytes of an outline.
const MOST: usize = 64 << 20;

/// An array: its name, type, shape and elements.
type Row = (String, Dtype, Vec<usize>, Vec<u8>);

/// The outline as a `.safetensors` file; `None` where a single sequence is too large for it.
pub(super) fn outline(layout: &Layout) -> Option<Vec<u8>> {
    let steps = layout.steps;
    let mut rows: Vec<Row> = Vec::new();
    let values = layout.inputs.iter().chain(&layout.targets);
    rows.extend(values.map(|value| row(value, steps)));
    rows.extend(
        layout
            .signals
            .iter()
            .map(|name| zeros(name, vec![1, steps])),
    );
    rows.extend(layout.starts.iter().map(|start| {
        let dims = std::iter::once(1).chain(start.dims.iter().copied());
        zeros(&format!("{START}{}", start.path), dims.collect())
    }));
    if rows.iter().map(|row| row.3.len()).sum::<usize>() > MOST {
        return None;
    }
    let views = rows.iter().map(|(name, kind, dims, bytes)| {
        TensorView::new(*kind, dims.clone(), bytes).map(|view| (name.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().ok()?;
    safetensors::serialize(views, None).ok()
}

/// An input or a target.
fn row(value: &Value, steps: usize) -> Row {
    let port = &value.port;
    let mut dims = match value.when {
        When::EveryStep => vec![1, steps],
        When::LastStep => vec![1],
    };
    if port.classes {
        // The largest label says how many classes there are.
        let labels = dims.iter().product();
        let largest = port.size.saturating_sub(1) as u32;
        let bytes = largest.to_le_bytes().repeat(labels);
        return (port.name.clone(), Dtype::U32, dims, bytes);
    }
    dims.push(port.size);
    zeros(&port.name, dims)
}

/// Bytes that are all 0.
fn zeros(name: &str, dims: Vec<usize>) -> Row {
    let bytes = vec![0; dims.iter().product()];
    (name.to_owned(), Dtype::U8, dims, bytes)
}
