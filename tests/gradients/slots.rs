//! Names of the numbers of a run, for messages of tests: which value, which element, which lane and step.

use bpmc::ir::Graph;

/// A value's path and dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    path: String,
    dims: Vec<usize>,
}

/// The values of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slots {
    pub params: Vec<Slot>,
    pub states: Vec<Slot>,
    pub inputs: Vec<Slot>,
    pub outputs: Vec<Slot>,
}

/// The place of an element of something of these dimensions: `[2, 3]`, or nothing for a single number.
pub fn place(dims: &[usize], mut index: usize) -> String {
    let mut places = Vec::new();
    for dim in dims.iter().rev() {
        places.push((index % dim).to_string());
        index /= dim;
    }
    places.reverse();
    if places.is_empty() {
        String::new()
    } else {
        format!("[{}]", places.join(", "))
    }
}

impl Slot {
    fn new(path: &str, dims: &[usize]) -> Slot {
        Slot {
            path: path.to_owned(),
            dims: dims.to_vec(),
        }
    }

    /// An element of a value that all lanes share.
    pub fn element(&self, index: usize) -> String {
        format!("`{}`{}", self.path, place(&self.dims, index))
    }

    /// An element of a value that each lane has, lane after lane.
    pub fn of_lane(&self, index: usize) -> String {
        let width = self.dims.iter().product::<usize>().max(1);
        format!("{} in lane {}", self.element(index % width), index / width)
    }
}

impl Slots {
    pub fn of(graph: &Graph) -> Slots {
        let params = graph.params.iter();
        let states = graph.states.iter();
        let inputs = graph.inputs.iter();
        let outputs = graph.outputs.iter();
        Slots {
            params: params.map(|s| Slot::new(&s.path, &s.dims)).collect(),
            states: states.map(|s| Slot::new(&s.path, &s.dims)).collect(),
            inputs: inputs.map(|s| Slot::new(&s.path, &s.dims)).collect(),
            outputs: outputs.map(|s| Slot::new(&s.path, &s.dims)).collect(),
        }
    }
}
