//! Writing results as JSON.

use crate::ir::Graph;
use crate::learn::given::{GivenResults, GivenValues};
use serde_json::{Map, Value};

/// Numbers as nested lists of these dimensions.
pub fn nested(values: &[f64], dims: &[usize]) -> Value {
    match dims {
        [] => values.first().map_or(Value::Null, |value| number(*value)),
        [first, rest @ ..] => {
            let width = values.len() / (*first).max(1);
            Value::Array(
                (0..*first)
                    .map(|k| nested(&values[k * width..(k + 1) * width], rest))
                    .collect(),
            )
        }
    }
}

/// A number; as JSON has none that are not finite, these are texts, which Python's `float` and NumPy read.
fn number(value: f64) -> Value {
    if value.is_finite() {
        Value::from(value)
    } else if value.is_nan() {
        Value::from("NaN")
    } else if value > 0.0 {
        Value::from("Infinity")
    } else {
        Value::from("-Infinity")
    }
}

/// The results by section and path, with their dimensions, in the order in which they are written.
fn sections<'a>(
    graph: &'a Graph,
    given: &GivenValues,
    results: &'a GivenResults,
) -> Vec<(&'static str, &'a str, &'a [f64], Vec<usize>)> {
    let (steps, lanes) = (given.steps, given.lanes);
    let mut all = Vec::new();
    for (slot, values) in graph.outputs.iter().zip(&results.outputs) {
        let dims = [&[steps, lanes], slot.dims.as_slice()].concat();
        all.push(("outputs", slot.path.as_str(), values.as_slice(), dims));
    }
    for (slot, values) in graph.states.iter().zip(&results.final_states) {
        let dims = [&[lanes], slot.dims.as_slice()].concat();
        all.push(("final_state", slot.path.as_str(), values.as_slice(), dims));
    }
    for (slot, values) in graph.params.iter().zip(&results.gradients) {
        if let Some(values) = values {
            all.push(("gradients", &slot.path, values, slot.dims.clone()));
        }
    }
    for (slot, values) in graph.states.iter().zip(&results.state_gradients) {
        let dims = [&[lanes], slot.dims.as_slice()].concat();
        all.push(("initial_state_gradients", &slot.path, values, dims));
    }
    all
}

/// Results as JSON, in the sections of the file of values. `loss_is` says what the loss is.
pub fn results_json(
    graph: &Graph,
    given: &GivenValues,
    results: &GivenResults,
    loss_is: &str,
) -> Value {
    let mut file = Map::new();
    file.insert("loss".to_owned(), number(results.loss));
    file.insert("loss_is".to_owned(), Value::from(loss_is));
    for section in [
        "outputs",
        "final_state",
        "gradients",
        "initial_state_gradients",
    ] {
        file.insert(section.to_owned(), Value::Object(Map::new()));
    }
    for (section, path, values, dims) in sections(graph, given, results) {
        if let Some(Value::Object(section)) = file.get_mut(section) {
            section.insert(path.to_owned(), nested(values, &dims));
        }
    }
    Value::Object(file)
}

/// The names of non-finite results, as "gradients.rec.w (2 of 16 numbers)".
pub fn not_finite(graph: &Graph, given: &GivenValues, results: &GivenResults) -> Vec<String> {
    let loss = [results.loss];
    let all = sections(graph, given, results);
    let named = all
        .iter()
        .map(|(section, path, values, _)| (format!("{section}.{path}"), *values));
    std::iter::once(("loss".to_owned(), &loss[..]))
        .chain(named)
        .filter_map(|(path, values)| {
            let bad = values.iter().filter(|x| !x.is_finite()).count();
            match (bad, values.len()) {
                (0, _) => None,
                (_, 1) => Some(path),
                (bad, all) => Some(format!("{path} ({bad} of {all} numbers)")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nested;
    use serde_json::json;

    #[test]
    fn numbers_that_are_not_finite_are_never_null() {
        let values = [1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let wanted = json!([[1.0, "NaN"], ["Infinity", "-Infinity"]]);
        assert_eq!(nested(&values, &[2, 2]), wanted);
    }
}
