//! Arrays of a `.safetensors` file.

use super::bytes::map;
use super::{DataError, Element, Entry, Header, Place, MOST_AXES};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

/// The arrays of a file.
pub(super) fn open(path: &Path) -> Result<BTreeMap<String, Entry>, DataError> {
    let file = map(path)?;
    let again = "copy or write the file again: `safetensors.numpy.save_file({\"x\": x}, \"train.safetensors\")`";
    let broken = |error: &dyn std::fmt::Display| {
        DataError::of(path, &format!("is no sound .safetensors file ({error})")).help(again)
    };
    let (length, metadata) = SafeTensors::read_metadata(&file).map_err(|error| broken(&error))?;
    let mut entries = BTreeMap::new();
    let tensors: BTreeMap<_, _> = metadata.tensors().into_iter().collect();
    for (name, about) in tensors {
        let (from, to) = about.data_offsets;
        // The header's length stands before it, in 8 bytes.
        let start = (8 + length).checked_add(from);
        let (Some(start), Some(size)) = (start, to.checked_sub(from)) else {
            return Err(broken(&format!("array `{}`", super::error::cut(&name))));
        };
        let header = match element(about.dtype) {
            _ if about.shape.len() > MOST_AXES => Err(format!("it has {} axes", about.shape.len())),
            None => Err(format!("its elements are of type {:?}", about.dtype)),
            Some(element) => match Header::extent(&about.shape, element) {
                Some((_, bytes))
                    if bytes == size
                        && start.checked_add(size).is_some_and(|end| end <= file.len()) =>
                {
                    Ok(Header {
                        dims: about.shape.clone(),
                        element,
                    })
                }
                _ => Err(format!(
                    "its shape {:?} does not fit its {size} bytes",
                    about.shape
                )),
            },
        };
        let entry = Entry {
            header: header
                .map_err(|what| DataError::of_array(path, &name, &what).help("save it as float32")),
            place: Place::File(path.to_owned(), start as u64),
        };
        entries.insert(name, entry);
    }
    Ok(entries)
}

fn element(kind: Dtype) -> Option<Element> {
    Some(match kind {
        Dtype::BOOL => Element::Bool,
        Dtype::U8 => Element::Unsigned(1),
        Dtype::U16 => Element::Unsigned(2),
        Dtype::U32 => Element::Unsigned(4),
        Dtype::U64 => Element::Unsigned(8),
        Dtype::I8 => Element::Int(1),
        Dtype::I16 => Element::Int(2),
        Dtype::I32 => Element::Int(4),
        Dtype::I64 => Element::Int(8),
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F32 => Element::F32,
        Dtype::F64 => Element::F64,
        _ => return None,
    })
}
