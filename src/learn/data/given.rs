//! One array of a file as the first value of a parameter.

use super::error::listed;
use super::{sha256, DataError, Source};
use crate::ir::GivenArray;
use crate::lang::sema::MAX_ELEMENTS;
use std::path::Path;

/// Reads an array: the only one of the file, or that with this name.
///
/// # Errors
/// Names the file, the array and the element.
pub fn given_array(path: &Path, name: &str) -> Result<GivenArray, DataError> {
    let source = Source::one_file(path)?;
    let names: Vec<&str> = source.names().collect();
    let chosen = match names.as_slice() {
        [only] => *only,
        _ if names.contains(&name) => name,
        _ => {
            let what = format!("has several arrays, and none is called `{name}`");
            return Err(source
                .fault(&what)
                .help(&format!("it has {}", listed(&names))));
        }
    };
    if let Some(Ok(header)) = source.header(chosen) {
        let count = header
            .dims
            .iter()
            .try_fold(1usize, |n, dim| n.checked_mul(*dim));
        if count.is_none_or(|count| count as u64 > MAX_ELEMENTS) {
            let what =
                format!("it is {header}, and a parameter has at most {MAX_ELEMENTS} elements");
            return Err(source.fault_of(chosen, &what));
        }
    }
    let array = source.array(chosen)?;
    let dims = array.header.dims.clone();
    let values: Vec<f64> = (0..dims.iter().product()).map(|k| array.real(k)).collect();
    if let Some(k) = values.iter().position(|value| !value.is_finite()) {
        let mut rest = k;
        let mut index = vec![0; dims.len()];
        for (place, dim) in index.iter_mut().zip(&dims).rev() {
            *place = rest % dim;
            rest /= dim;
        }
        let what = format!("the element {index:?} is {}", values[k]);
        return Err(source.fault_of(chosen, &what));
    }
    Ok(GivenArray {
        file: Some((
            path.to_owned(),
            sha256(path).map_err(|error| DataError::unreadable(path, &error))?,
        )),
        dims,
        values,
    })
}
