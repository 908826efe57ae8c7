//! The named values of an episode that can be recorded.

use super::part::Part;
use crate::lang::diag::Diagnostics;
use crate::lang::sema::model::{DefId, DefKind};
use crate::step::Compiled;

/// A value that exists in every step of an episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The name: as in the spec, `next NAME` for a state that leaves a step, `episode.NAME` for values of the
    /// task; with the brackets of a part.
    pub name: String,
    /// The kind of value, in one or two words.
    pub what: &'static str,
    /// The dimensions per lane.
    pub dims: Vec<usize>,
    pub(in crate::lab) kind: Kind,
    /// Its name without brackets.
    pub(in crate::lab) path: String,
    /// The part taken of it.
    pub(super) part: Part,
    /// Its dimensions before the part is taken.
    pub(super) whole: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::lab) enum Kind {
    Input(usize),
    Noise(usize),
    /// A state on entry to the step.
    State(usize),
    /// A state on exit from the step.
    Next(usize),
    Output(usize),
    Value(DefId),
    Action,
    Reward,
    Trial,
}

/// The reason why a value cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The network has no such value.
    #[error(transparent)]
    Unknown(#[from] UnknownProbe),
    /// The value has no such part.
    #[error("{0}")]
    Part(String),
}

/// An unknown probe name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing in this network is called `{name}`; {}", near.as_ref().map_or("`--list` shows all names".to_owned(), |near| format!("did you mean `{near}`?")))]
pub struct UnknownProbe {
    /// The name asked for.
    pub name: String,
    /// The nearest known name.
    pub near: Option<String>,
}

impl Probe {
    /// Appends what is taken of a lane's value.
    pub(in crate::lab) fn take(&self, values: &[f64], out: &mut Vec<f64>) {
        self.part.take(values, &self.whole, out);
    }
}

/// All probes of a program.
pub fn probes(program: &Compiled) -> Vec<Probe> {
    let (model, step) = (&program.model, &program.step);
    let mut all: Vec<Probe> = Vec::new();
    let mut add = |name: &str, what, dims: &[usize], kind| {
        if all.iter().all(|probe| probe.name != name) {
            all.push(Probe {
                name: name.to_owned(),
                what,
                dims: dims.to_vec(),
                kind,
                path: name.to_owned(),
                part: Part::default(),
                whole: dims.to_vec(),
            });
        }
    };
    for (k, slot) in step.states.iter().enumerate() {
        let what = if slot.trace { "trace" } else { "state" };
        add(&slot.path, what, &slot.dims, Kind::State(k));
    }
    for (k, slot) in step.outputs.iter().enumerate() {
        add(&slot.path, "output", &slot.dims, Kind::Output(k));
    }
    for (definition, id) in model.definitions.iter().zip((0..).map(DefId)) {
        let what = match definition.kind {
            DefKind::Value => "value",
            DefKind::Modulator => "modulator",
            DefKind::Output => "output",
            DefKind::Received => "received from the bundle",
        };
        let dims = model.dims(definition.expr.ty);
        add(&definition.path, what, &dims, Kind::Value(id));
    }
    for (k, slot) in step.inputs.iter().enumerate() {
        add(&slot.path, "input", &slot.dims, Kind::Input(k));
    }
    for (k, slot) in step.noises.iter().enumerate() {
        add(&slot.path, "noise", &slot.dims, Kind::Noise(k));
    }
    for (k, slot) in step.states.iter().enumerate() {
        let name = format!("next {}", slot.path);
        add(&name, "what leaves the step", &slot.dims, Kind::Next(k));
    }
    let task = model.task.as_ref();
    if let Some(actions) = task.and_then(|task| task.ports.actions.as_ref()) {
        let dims = actions.dims();
        add("episode.action", "action taken", &dims, Kind::Action);
        add("episode.reward", "reward earned", &[], Kind::Reward);
    }
    add("episode.trial", "1 where a trial starts", &[], Kind::Trial);
    all
}

/// The probe with this name.
///
/// # Errors
/// [`UnknownProbe`], with the nearest known name.
pub fn find_probe<'a>(all: &'a [Probe], name: &str) -> Result<&'a Probe, UnknownProbe> {
    all.iter().find(|probe| probe.name == name).ok_or_else(|| {
        let names = all.iter().map(|probe| probe.name.as_str());
        let near = Diagnostics::nearest(name, names.clone());
        // `hebb` is near if there is a `rec.hebb`.
        let ends = names.clone().find(|known| {
            let end = known.rsplit('.').next();
            end == Some(name)
        });
        UnknownProbe {
            name: name.to_owned(),
            near: ends.or(near).map(str::to_owned),
        }
    })
}

/// The probe of this name, or the part of one: `rec.hebb[0 .. 4, 3]`.
///
/// # Errors
/// For unknown names and places that are not there.
pub fn find_part(all: &[Probe], text: &str) -> Result<Probe, ProbeError> {
    // A spec says `external reward`, and the input that carries the signal is called `external.reward`.
    let signal = text.strip_prefix("external ");
    let text = signal.map_or(text.to_owned(), |name| format!("external.{}", name.trim()));
    let Some((name, rest)) = text.split_once('[') else {
        return Ok(find_probe(all, &text)?.clone());
    };
    let mut probe = find_probe(all, name.trim_end())?.clone();
    let Some(picks) = rest.strip_suffix(']') else {
        let message = format!("`{text}` has no `]` at its end");
        return Err(ProbeError::Part(message));
    };
    probe.part = Part::parse(&probe.path, picks, &probe.whole).map_err(ProbeError::Part)?;
    probe.dims = probe.part.dims(&probe.whole);
    probe.name = text;
    Ok(probe)
}
