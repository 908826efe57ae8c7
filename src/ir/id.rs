//! Typed indices. Their `Display` is the name that printed graphs use.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {
        $($(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The index into a table.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        })*
    };
}

ids! {
    /// A value of a graph.
    ValueId = "%";
    /// A parameter, trained or constant.
    ParamId = "param";
    /// An input of the step.
    InputId = "input";
    /// A state or trace carried from step to step.
    StateId = "state";
    /// A noise source.
    NoiseId = "noise";
    /// An output of the step.
    OutputId = "output";
}
