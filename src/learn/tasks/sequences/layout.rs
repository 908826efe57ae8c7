//! The roles of the arrays of a file in the network, by name and shape.

use crate::lang::catalog::{Interface, Port, Start, TaskPorts};
use crate::learn::data::{DataError, Header, Source};

/// Most steps of a sequence.
const MOST_STEPS: usize = 1_000_000;

/// The steps at which an output has a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// At every step.
    EveryStep,
    /// At the last step of a sequence.
    LastStep,
}

/// An input, or an output with a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    /// Name, size, and whether it is a class.
    pub port: Port,
    /// The steps at which it is there; inputs are at every step.
    pub when: When,
}

/// The roles of the arrays of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Sequences of the file.
    pub sequences: usize,
    /// Steps of the longest.
    pub steps: usize,
    /// Inputs, in the order of the network.
    pub inputs: Vec<Value>,
    /// Outputs with targets, in the order of the network.
    pub targets: Vec<Value>,
    /// Numbers for each step.
    pub signals: Vec<String>,
    /// First values of states.
    pub starts: Vec<Start>,
}

/// The beginning of the names of arrays with first values of states.
pub(super) const START: &str = "start.";

/// Tells if an array of this name has a meaning of its own.
fn is_reserved(name: &str) -> bool {
    matches!(name, "weight" | "length" | "trial")
        || name.starts_with("weight.")
        || name.starts_with(START)
}

impl Layout {
    /// The roles of the arrays of `source` in a network with these names. Classes are not counted yet: their size is 0.
    pub(super) fn of(source: &Source, interface: &Interface) -> Result<Layout, DataError> {
        let (sequences, steps) = extent(source, interface)?;
        let mut layout = Layout {
            sequences,
            steps,
            inputs: Vec::new(),
            targets: Vec::new(),
            signals: Vec::new(),
            starts: Vec::new(),
        };
        for name in &interface.inputs {
            let header = header(source, name)?.ok_or_else(|| {
                source
                    .fault(&format!(
                        "has no array `{name}`, and the network has an input of this name"
                    ))
                    .help(&format!("it has {}", source.describe()))
            })?;
            layout.inputs.push(layout.input(source, name, header)?);
        }
        for name in &interface.outputs {
            if let Some(header) = header(source, name)? {
                layout.targets.push(layout.target(source, name, header)?);
            }
        }
        if layout.targets.is_empty() {
            let outputs: Vec<String> = interface
                .outputs
                .iter()
                .map(|name| format!("`{name}`"))
                .collect();
            return Err(source
                .fault(&format!(
                    "has no array for an output of the network ({})",
                    outputs.join(", ")
                ))
                .help(&format!(
                    "it has {}; an array with the name of an output is its target",
                    source.describe()
                )));
        }
        for name in source.names() {
            let taken = is_reserved(name)
                || interface
                    .inputs
                    .iter()
                    .chain(&interface.outputs)
                    .any(|n| n == name);
            let header = source.header(name).and_then(Result::ok);
            if !taken && header.is_some_and(|header| header.dims == [sequences, steps]) {
                layout.signals.push(name.to_owned());
            }
        }
        layout.check_reserved(source)?;
        layout.starts = layout.starts(source)?;
        Ok(layout)
    }

    /// The same as [`Layout::of`], for the ports that an earlier look has found.
    pub(super) fn again(source: &Source, ports: &TaskPorts) -> Result<Layout, DataError> {
        let names = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect();
        let interface = Interface {
            inputs: names(&ports.inputs),
            outputs: names(&ports.targets),
        };
        let mut layout = Layout::of(source, &interface)?;
        if layout.steps != ports.steps {
            return Err(source.fault(&format!(
                "has {} steps, and there should be {}",
                layout.steps, ports.steps
            )));
        }
        for (value, port) in layout
            .inputs
            .iter_mut()
            .zip(&ports.inputs)
            .chain(layout.targets.iter_mut().zip(&ports.targets))
        {
            if value.port.classes {
                value.port.size = port.size;
            }
            if value.port != *port {
                let what = format!(
                    "it has size {}, and there should be {}",
                    value.port.size, port.size
                );
                return Err(source.fault_of(&port.name, &what));
            }
        }
        if let Some(missing) = ports
            .signals
            .iter()
            .find(|name| !layout.signals.contains(name))
        {
            let what = format!(
                "has no array `{missing}` of shape [{}, {}]",
                layout.sequences, layout.steps
            );
            return Err(source
                .fault(&what)
                .help(&format!("it has {}", source.describe())));
        }
        layout.signals.clone_from(&ports.signals);
        let (found, wanted) = (shapes(&layout.starts), shapes(&ports.starts));
        if found != wanted {
            let what = format!(
                "has the first values {}, and there should be {}",
                told(&found),
                told(&wanted)
            );
            return Err(source.fault(&what));
        }
        Ok(layout)
    }

    fn input(&self, source: &Source, name: &str, header: &Header) -> Result<Value, DataError> {
        let port = |size, classes| Port {
            name: name.to_owned(),
            size,
            classes,
        };
        let whole = header.element.is_whole();
        let port = match header.dims[..] {
            [s, t] if (s, t) == (self.sequences, self.steps) => port(usize::from(!whole), whole),
            [s, t, size] if (s, t) == (self.sequences, self.steps) && size > 0 => port(size, false),
            [s] | [s, _] if s == self.sequences => {
                let what = format!(
                    "it is {header}, and an input has an axis of {} steps",
                    self.steps
                );
                let help = format!(
                    "to show it at every step save `np.repeat({name}[:, None], {}, axis=1)`",
                    self.steps
                );
                return Err(source.fault_of(name, &what).help(&help));
            }
            _ => {
                return Err(self.shape_fault(
                    source,
                    name,
                    header,
                    "[sequences, steps, size] or [sequences, steps]",
                ))
            }
        };
        Ok(Value {
            port,
            when: When::EveryStep,
        })
    }

    fn target(&self, source: &Source, name: &str, header: &Header) -> Result<Value, DataError> {
        let whole = header.element.is_whole();
        let (size, classes, when) = match header.dims[..] {
            [s, t, size] if (s, t) == (self.sequences, self.steps) && size > 0 => {
                (size, false, When::EveryStep)
            }
            [s, t] if (s, t) == (self.sequences, self.steps) => {
                (usize::from(!whole), whole, When::EveryStep)
            }
            [s, size] if s == self.sequences && size > 0 => (size, false, When::LastStep),
            [s] if s == self.sequences => (usize::from(!whole), whole, When::LastStep),
            _ => {
                let shapes = "[sequences, steps, size], [sequences, steps], or of the last step [sequences, size] or [sequences]";
                return Err(self.shape_fault(source, name, header, shapes));
            }
        };
        let port = Port {
            name: name.to_owned(),
            size,
            classes,
        };
        Ok(Value { port, when })
    }

    fn shape_fault(&self, source: &Source, name: &str, header: &Header, shapes: &str) -> DataError {
        let what = format!(
            "it is {header}, and there are {} sequences of {} steps",
            self.sequences, self.steps
        );
        source
            .fault_of(name, &what)
            .help(&format!("shapes are {shapes}"))
    }

    /// Checks the shapes of weights, lengths and trials.
    fn check_reserved(&self, source: &Source) -> Result<(), DataError> {
        for name in source.names() {
            if name.starts_with(START) {
                continue;
            }
            let dims: &[usize] = match name {
                "length" => &[self.sequences],
                _ if is_reserved(name) => &[self.sequences, self.steps],
                _ => continue,
            };
            if let Some(output) = name.strip_prefix("weight.") {
                if !self.targets.iter().any(|value| value.port.name == output) {
                    continue;
                }
            }
            let header = source.header(name).transpose().map_err(DataError::clone)?;
            if let Some(header) = header.filter(|header| header.dims != dims) {
                let shape = if dims.len() == 1 {
                    "[sequences]"
                } else {
                    "[sequences, steps]"
                };
                return Err(self.shape_fault(source, name, header, shape));
            }
        }
        Ok(())
    }

    /// The arrays with first values of states; the network is not known yet.
    fn starts(&self, source: &Source) -> Result<Vec<Start>, DataError> {
        let names = source.names();
        let starts = names.filter_map(|name| Some((name, name.strip_prefix(START)?)));
        let start = |(name, path): (&str, &str)| {
            let header = header(source, name)?.filter(|header| !header.dims.is_empty());
            let dims = header.map_or(&[][..], |header| &header.dims);
            match dims.split_first() {
                Some((sequences, dims)) if *sequences == self.sequences => Ok(Start {
                    path: path.to_owned(),
                    dims: dims.to_vec(),
                    origin: source
                        .fault_of(name, "")
                        .message
                        .trim_end_matches(": ")
                        .to_owned(),
                }),
                _ => {
                    let what =
                        format!("it is {dims:?}, and there are {} sequences", self.sequences);
                    let help = "first values have the shape [sequences, ...], with the dimensions of the state";
                    Err(source.fault_of(name, &what).help(help))
                }
            }
        };
        starts.map(start).collect()
    }

    /// Checks that another part of the data can be shown to the same network.
    pub(super) fn fits(
        &self,
        other: &Layout,
        own: &Source,
        source: &Source,
    ) -> Result<(), DataError> {
        if self.steps != other.steps {
            let what = format!(
                "has {} steps, and {} has {}",
                other.steps,
                own.path().display(),
                self.steps
            );
            return Err(source.fault(&what).help(
                "pad all sequences to the same number of steps, and tell their lengths in an array `length`",
            ));
        }
        let pairs = |values: &[Value]| values.to_vec();
        for (mine, theirs) in [
            (&self.inputs, &other.inputs),
            (&self.targets, &other.targets),
        ] {
            if pairs(mine) == pairs(theirs) {
                continue;
            }
            let odd = mine.iter().find(|value| !theirs.contains(value));
            let name = odd
                .or(theirs.first())
                .map_or("", |value| value.port.name.as_str());
            let told = |source: &Source| match source.header(name) {
                Some(Ok(header)) => header.to_string(),
                _ => "not there".to_owned(),
            };
            let what = format!(
                "it is {}, and in {} {}",
                told(source),
                own.path().display(),
                told(own)
            );
            return Err(source
                .fault_of(name, &what)
                .help("all parts of the data have the same arrays"));
        }
        let (mine, theirs) = (shapes(&self.starts), shapes(&other.starts));
        if mine != theirs {
            let what = format!(
                "has the first values {}, and {} {}",
                told(&theirs),
                own.path().display(),
                told(&mine)
            );
            return Err(source
                .fault(&what)
                .help("all parts of the data have the same arrays"));
        }
        Ok(())
    }

    /// The ports of the task.
    pub(super) fn ports(&self) -> TaskPorts {
        let of = |values: &[Value]| {
            values
                .iter()
                .map(|value| value.port.clone())
                .collect::<Vec<_>>()
        };
        let (inputs, targets) = (of(&self.inputs), of(&self.targets));
        let mut sizes: Vec<Port> = inputs
            .iter()
            .chain(&targets)
            .map(|port| Port::new(&port.name, port.size))
            .collect();
        if sizes.iter().all(|port| port.name != "steps") {
            sizes.push(Port::new("steps", self.steps));
        }
        TaskPorts {
            steps: self.steps,
            sizes,
            inputs,
            signals: self.signals.clone(),
            targets,
            actions: None,
            starts: self.starts.clone(),
            is_text: false,
            streams: false,
            sequences: Some(self.sequences),
        }
    }
}

/// Names and dimensions of first values.
fn shapes(starts: &[Start]) -> Vec<(&str, &[usize])> {
    let shapes = starts
        .iter()
        .map(|start| (start.path.as_str(), start.dims.as_slice()));
    shapes.collect()
}

/// Names and dimensions in words.
fn told(shapes: &[(&str, &[usize])]) -> String {
    let all: Vec<String> = shapes
        .iter()
        .map(|(path, dims)| format!("`{START}{path}` {dims:?}"))
        .collect();
    match all.as_slice() {
        [] => "none".to_owned(),
        all => all.join(", "),
    }
}

/// The header of an array; `None` where there is none of this name.
fn header<'a>(source: &'a Source, name: &str) -> Result<Option<&'a Header>, DataError> {
    source.header(name).transpose().map_err(DataError::clone)
}

/// Sequences and steps: the first two axes of an input, or of an output with all three.
fn extent(source: &Source, interface: &Interface) -> Result<(usize, usize), DataError> {
    let mut found = None;
    for name in &interface.inputs {
        found = found.or(header(source, name)?
            .filter(|header| header.dims.len() >= 2)
            .map(|h| (name, h)));
    }
    for name in &interface.outputs {
        found = found.or(header(source, name)?
            .filter(|header| header.dims.len() >= 3)
            .map(|h| (name, h)));
    }
    let Some((name, header)) = found else {
        return Err(source
            .fault("has no array for an input of the network, so the number of steps is not known")
            .help(&format!(
                "it has {}; an array [sequences, steps, size] with the name of an input is that input",
                source.describe()
            )));
    };
    let (sequences, steps) = (header.dims[0], header.dims[1]);
    if sequences == 0 || steps == 0 || steps > MOST_STEPS {
        let what = format!(
            "it is {header}, and there are 1 to {MOST_STEPS} steps of at least one sequence"
        );
        return Err(source.fault_of(name, &what));
    }
    Ok((sequences, steps))
}
