//! The selection of passes.

use super::{find, Pass, Run, MAX_LEVEL, PIPELINE};
use crate::lang::diag::Diagnostics;
use crate::program::Choices;
use std::fmt;
use std::str::FromStr;

/// A pass that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no pass `{name}`{guess} (the passes are {})", names())]
pub struct UnknownPass {
    name: String,
    guess: String,
}

impl UnknownPass {
    pub(super) fn new(name: &str) -> UnknownPass {
        let known = PIPELINE.iter().map(|pass| pass.name);
        UnknownPass {
            name: name.to_owned(),
            guess: Diagnostics::nearest(name, known)
                .map(|name| format!("; did you mean `{name}`?"))
                .unwrap_or_default(),
        }
    }
}

fn names() -> String {
    let names: Vec<&str> = PIPELINE.iter().map(|pass| pass.name).collect();
    names.join(", ")
}

/// The selection of passes: those of a level, some more, some less, and the number of rewrites after which they stop.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    level: u8,
    /// Passes by their place in the pipeline.
    on: u32,
    off: u32,
    stop_after: Option<usize>,
    /// Other code for the passes of [`PIPELINE`].
    pipeline: Option<&'static [Pass]>,
}

impl PartialEq for Selection {
    fn eq(&self, other: &Selection) -> bool {
        let key = |s: &Selection| {
            let pipeline = s.pipeline.map(<[Pass]>::as_ptr);
            (s.level, s.on, s.off, s.stop_after, pipeline)
        };
        key(self) == key(other)
    }
}

impl Eq for Selection {}

impl Default for Selection {
    fn default() -> Selection {
        Selection::level(MAX_LEVEL)
    }
}

impl Selection {
    /// The passes of a level, 0 to [`MAX_LEVEL`].
    pub const fn level(level: u8) -> Selection {
        Selection {
            level,
            on: 0,
            off: 0,
            stop_after: None,
            pipeline: None,
        }
    }

    /// Runs other code for passes of the same names. Tests plant faults with it, which `bpmc verify` must find.
    #[doc(hidden)]
    #[must_use]
    pub fn with_pipeline(mut self, pipeline: &'static [Pass]) -> Selection {
        self.pipeline = Some(pipeline);
        self
    }

    /// The passes that are selected from, in their order.
    pub fn pipeline(&self) -> &'static [Pass] {
        self.pipeline.unwrap_or(&PIPELINE)
    }

    /// Also this pass, whatever the level.
    #[must_use]
    pub fn with(mut self, pass: &Pass) -> Selection {
        self.on |= bit(pass.name);
        self.off &= !bit(pass.name);
        self
    }

    /// Not this pass.
    #[must_use]
    pub fn without(mut self, pass: &Pass) -> Selection {
        self.off |= bit(pass.name);
        self.on &= !bit(pass.name);
        self
    }

    /// Not the passes that come after this one.
    #[must_use]
    pub fn through(self, last: &Pass) -> Selection {
        let later = PIPELINE.iter().rev();
        let later = later.take_while(|pass| pass.name != last.name);
        later.fold(self, Selection::without)
    }

    /// No more than `rewrites` single rewrites, all passes together; a pass over programs counts as one.
    #[must_use]
    pub fn stopping_after(mut self, rewrites: usize) -> Selection {
        self.stop_after = Some(rewrites);
        self
    }

    /// The level.
    pub fn opt(&self) -> u8 {
        self.level
    }

    /// After how many rewrites to stop.
    pub fn stop_after(&self) -> Option<usize> {
        self.stop_after
    }

    /// Returns true if a pass of the pipeline is to run; `false` for names that it does not have.
    pub fn enabled(&self, name: &str) -> bool {
        let Ok(pass) = find(name) else { return false };
        let bit = bit(name);
        self.off & bit == 0 && (self.on & bit != 0 || pass.level <= self.level)
    }

    /// The passes over programs, however many rewrites are allowed.
    pub fn choices(&self) -> Choices {
        let mut choices = Choices::none();
        for pass in PIPELINE.iter() {
            if let (Run::Kernels(kernels), true) = (pass.run, self.enabled(pass.name)) {
                choices = choices.with(kernels);
            }
        }
        choices
    }
}

fn bit(name: &str) -> u32 {
    let place = PIPELINE.iter().position(|pass| pass.name == name);
    place.map_or(0, |place| 1 << place)
}

/// The arguments of the command that select the same.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--opt {}", self.level)?;
        for pass in PIPELINE.iter() {
            if self.on & bit(pass.name) != 0 {
                write!(f, " --pass {}", pass.name)?;
            } else if self.off & bit(pass.name) != 0 {
                write!(f, " --no-pass {}", pass.name)?;
            }
        }
        match self.stop_after {
            Some(rewrites) => write!(f, " --stop-after {rewrites}"),
            None => Ok(()),
        }
    }
}

/// Reads what [`Selection`] displays.
impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Selection, String> {
        let mut selection = Selection::default();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} of nothing"))?;
            let pass = || find(value).map_err(|error| error.to_string());
            let number = |most: usize| {
                let number = value.parse().ok().filter(|number| *number <= most);
                number.ok_or_else(|| format!("{word} {value}: a number up to {most} is meant"))
            };
            selection = match word {
                "--opt" => Selection {
                    level: number(MAX_LEVEL.into())? as u8,
                    ..selection
                },
                "--pass" => selection.with(pass()?),
                "--no-pass" => selection.without(pass()?),
                "--stop-after" => selection.stopping_after(number(usize::MAX)?),
                _ => return Err(format!("`{word}` selects no pass")),
            };
        }
        Ok(selection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_turn_passes_on_one_after_another() {
        let count = |level| {
            let selection = Selection::level(level);
            PIPELINE
                .iter()
                .filter(|p| selection.enabled(p.name))
                .count()
        };
        assert_eq!([0, 1, 2, 3].map(count), [0, 5, 10, 15]);
        assert_eq!(Selection::level(0).choices(), Choices::none());
        assert_eq!(Selection::default().choices(), Choices::default());
        let two = Selection::level(2).choices();
        let names: Vec<&str> = two.passes().map(|pass| pass.name).collect();
        assert_eq!(
            names,
            [
                "time_hoisting",
                "gates",
                "elementwise_fusion",
                "recomputation"
            ]
        );
    }

    #[test]
    fn single_passes_are_forced_on_and_off() {
        let gates = find("gate_merging").unwrap();
        let only = Selection::level(0).with(gates);
        assert!(only.enabled("gate_merging") && !only.enabled("dead_code"));
        let without = Selection::default().without(gates);
        assert!(!without.enabled("gate_merging") && without.enabled("dead_code"));
        assert!(without.with(gates).enabled("gate_merging"));
        assert!(!without.enabled("nosuch"));
        let planning = find("buffer_planning").unwrap();
        let choices = Selection::default().without(planning).choices();
        assert!(choices.passes().all(|pass| pass.name != planning.name));
    }

    #[test]
    fn a_selection_reads_back() {
        let selection = Selection::level(2)
            .with(find("plastic_fusion").unwrap())
            .without(find("dead_code").unwrap())
            .stopping_after(7);
        let text = selection.to_string();
        assert_eq!(
            text,
            "--opt 2 --no-pass dead_code --pass plastic_fusion --stop-after 7"
        );
        assert_eq!(text.parse(), Ok(selection));
        assert_eq!("".parse(), Ok(Selection::default()));
        for wrong in ["--opt 4", "--opt", "--pass nosuch", "--what 3"] {
            assert!(wrong.parse::<Selection>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_pass_gets_a_suggestion_and_the_list() {
        let message = find("gate_mergign").unwrap_err().to_string();
        assert!(
            message
                .starts_with("there is no pass `gate_mergign`; did you mean `gate_merging`? (the"),
            "{message}"
        );
        assert!(
            message.ends_with("recomputation, buffer_planning)"),
            "{message}"
        );
        let message = find("zz").unwrap_err().to_string();
        assert!(!message.contains("did you mean"), "{message}");
    }
}
