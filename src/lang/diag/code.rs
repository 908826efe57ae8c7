//! The table of diagnostic codes.

use super::Severity;

macro_rules! codes {
    ($($variant:ident = $text:literal, $title:literal;)*) => {
        /// Every code a diagnostic can carry. `bpmc explain CODE` prints its page,
        /// `src/lang/diag/codes/CODE.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// All codes, in order.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The stable text of the code, `E0201` or `W0102`.
            pub fn text(self) -> &'static str {
                match self { $(Code::$variant => $text,)* }
            }

            /// A title of a few words that names the mistake.
            pub fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            /// The page of the code, in Markdown: meaning, reason, an example and a corrected spec.
            pub fn page(self) -> &'static str {
                match self { $(Code::$variant => include_str!(concat!("codes/", $text, ".md")),)* }
            }
        }
    };
}

codes! {
    Syntax = "E0101", "text that does not follow the grammar";
    Unbalanced = "E0102", "a bracket without its partner";
    TooDeep = "E0103", "nesting that is too deep";
    TooLarge = "E0104", "a file that is too large";
    BadLiteral = "E0105", "a literal that cannot be read";
    UnknownVersion = "E0106", "a version of the language that is not known";
    ImportUnreadable = "E0110", "an import that cannot be read";
    ImportCycle = "E0111", "files that import each other";
    UnknownName = "E0201", "a name that is not declared";
    Duplicate = "E0202", "a name declared twice";
    UnknownRule = "E0203", "a rule that does not exist";
    BadCall = "E0204", "a call with the wrong function or arguments";
    UnknownSetting = "E0205", "a setting that does not exist";
    UnknownBlock = "E0206", "a block, task, trainer or optimizer that does not exist";
    BadSetting = "E0207", "a setting with an impossible value";
    MissingItem = "E0208", "an experiment without one of its parts";
    UnknownCell = "E0209", "a cell that does not exist, or takes other arguments";
    CellRule = "E0210", "a cell without the rule it needs, or with one it has no place for";
    CellCycle = "E0211", "cells that are made of each other";
    WrongKind = "E0301", "a name used as a kind of thing it is not";
    BadUpdate = "E0302", "an update of something that cannot be updated";
    MisplacedStatement = "E0303", "a statement where it has no meaning";
    BadTransmit = "E0304", "a plastic bundle without exactly one transmit";
    NotConstant = "E0305", "a value that must be known at compile time";
    OverlappingRegions = "E0306", "two regions that both update a trace";
    UnknownSignal = "E0307", "a signal the task does not give";
    BadInitialiser = "E0308", "an initialiser that makes no sense";
    SizeMismatch = "E0401", "two sizes that must be equal and are not";
    SizeUnknown = "E0402", "a size that nothing determines";
    BadSize = "E0403", "a size that is not a positive whole number, or too large";
    WrongAxes = "E0404", "a value with more axes than its target";
    Cycle = "E0501", "a value that needs itself within one step";
    BadNext = "E0502", "`next` of something that has no next value";
    MissingOutput = "E0601", "an output the trainer needs and does not find";
    WrongPort = "E0602", "an input or output whose size is not the task's";
    UnknownOverride = "E0701", "an override of something that is not there";
    NotFinite = "E0801", "a number that is not finite";
    UnusedModulator = "W0101", "a modulator that reaches no rule";
    UnreadTrace = "W0102", "a trace that is never read";
    NoGradient = "W0103", "a parameter that gets no gradient";
    UnboundedTrace = "W0104", "a trace that can grow without bound";
    UnusedValue = "W0105", "a value that nothing uses";
    DecayRange = "W0106", "a decay rate that starts outside [0, 1]";
    ZeroCoefficient = "W0107", "a coefficient that starts where plasticity cannot move a weight";
    TargetLeak = "W0108", "an output that reads the target of its own step";
    OneSidedUpdate = "W0109", "a trace whose update does not vary over one side of its bundle";
    SameSides = "W0110", "a bundle whose two sides are the same state";
}

impl Code {
    /// The severity: errors begin with `E`, warnings with `W`.
    pub fn severity(self) -> Severity {
        if self.text().starts_with('E') {
            Severity::Error
        } else {
            Severity::Warning
        }
    }

    /// Returns true if the diagnostic arises while a spec runs, not when it is compiled.
    pub fn is_of_running(self) -> bool {
        matches!(self, Code::NotFinite)
    }

    /// Parses a code, in upper or lower case.
    pub fn parse(text: &str) -> Option<Code> {
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.text().eq_ignore_ascii_case(text))
    }
}
