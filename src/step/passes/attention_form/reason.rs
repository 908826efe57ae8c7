//! The form of a trace, and the reason why it has not the other one.

use crate::ir::Reset;
use std::fmt;

/// The form of a trace in the step that is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Form {
    /// The path of the trace.
    pub trace: String,
    /// Steps of the episode whose vectors are stored in its place, or why it stays a number per connection.
    pub steps: Result<usize, Dense>,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: form: ", self.trace)?;
        match &self.steps {
            Ok(1) => write!(f, "attention over 1 stored step"),
            Ok(steps) => write!(f, "attention over {steps} stored steps"),
            Err(reason) => write!(f, "dense, because {reason}"),
        }
    }
}

/// A side of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleSide {
    /// The presynaptic side.
    Pre,
    /// The postsynaptic side.
    Post,
}

impl fmt::Display for BundleSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BundleSide::Pre => "pre",
            BundleSide::Post => "post",
        })
    }
}

/// The place at which a trace appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In its own update.
    Update,
    /// In a sum that reads it.
    Read,
}

/// The reason why a trace stays a number per connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Dense {
    /// Nobody says how many steps there are.
    NoEpisode,
    /// Its values are asked for by its name.
    Observed,
    /// It goes on from one chunk of a text to the next.
    Chunks,
    /// It goes on from one chunk of an episode to the next.
    Truncated,
    /// It is not reset once an episode.
    ResetOtherwise(Reset),
    /// Its first values are those of an array, or the task gives each episode others.
    Given,
    /// It does not start at 0.
    Start(f64),
    /// Its update is clipped, or what reads it.
    Clipped(Place),
    /// An operation, by its name in printed graphs, of which the trace is an operand is not linear in it.
    NotLinear(&'static str, Place),
    /// It is multiplied with a parameter that has a number per connection.
    PerConnection(String, Place),
    /// It is multiplied with a value of each step that has a number per connection.
    Product(Place),
    /// It decays at a rate per neuron.
    DecayPer(BundleSide),
    /// Its update adds something that is not a product of two vectors.
    NoProduct,
    /// Its update adds another trace.
    FedBy(String),
    /// Another trace takes it up.
    Feeds(String),
    /// It is read in another way than by a sum over one side.
    Elsewhere(&'static str),
    /// Its update adds nothing.
    Constant,
    /// The trace has no reader.
    Unread,
    /// Its update or a read is a sum of too many products.
    TooLong,
    /// The stored vectors are not smaller than two thirds of the trace.
    Costs {
        /// The steps of an episode.
        steps: usize,
        /// Outer products of an update.
        products: usize,
        /// Neurons of the sides.
        sides: [usize; 2],
    },
    /// The rewrites allowed by `--stop-after` were used up.
    Stopped,
}

impl fmt::Display for Dense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dense::NoEpisode => f.write_str("the spec does not say how many steps an episode has"),
            Dense::Observed => f.write_str("its values may be asked for"),
            Dense::Chunks => f.write_str("it goes on from one chunk of the text to the next"),
            Dense::Truncated => f.write_str("`chunk` cuts the episode, and it goes on from each part to the next"),
            Dense::ResetOtherwise(Reset::Trial) => f.write_str("it is reset at every trial, not once an episode"),
            Dense::ResetOtherwise(Reset::Never | Reset::Carry | Reset::Episode | Reset::Stream) => {
                f.write_str("it is kept from one episode to the next")
            }
            Dense::Given => f.write_str("its first values are not one number"),
            Dense::Start(value) => write!(f, "it starts an episode at {value}, not at 0"),
            Dense::Clipped(Place::Update) => {
                f.write_str("it is clipped, so the trace need not be a sum of its updates")
            }
            Dense::Clipped(Place::Read) => {
                f.write_str("it is clipped where it is read, so what is read need not be a sum of its updates")
            }
            Dense::NotLinear(operation, Place::Update) => {
                write!(f, "its update is not linear in it (`{operation}`)")
            }
            Dense::NotLinear(operation, Place::Read) => {
                write!(f, "what reads it is not linear in it (`{operation}`)")
            }
            Dense::PerConnection(parameter, Place::Update) => {
                write!(f, "`{parameter}` in its update is per connection")
            }
            Dense::PerConnection(parameter, Place::Read) => {
                write!(f, "`{parameter}`, by which it is read, is per connection")
            }
            Dense::Product(Place::Update) => f.write_str(
                "its update multiplies it with a number per connection that changes from step to step",
            ),
            Dense::Product(Place::Read) => f.write_str(
                "it is read times a number per connection that changes from step to step",
            ),
            Dense::DecayPer(side) => write!(f, "its decay differs from one {side} neuron to another"),
            Dense::NoProduct => {
                f.write_str("what its update adds is not a product of a pre and a post factor")
            }
            Dense::FedBy(trace) => write!(f, "the trace `{trace}` feeds it"),
            Dense::Feeds(trace) => write!(f, "it feeds the trace `{trace}`"),
            Dense::Elsewhere(operation) => write!(
                f,
                "it is read in another way than by a sum over pre or post (`{operation}`)"
            ),
            Dense::Constant => f.write_str("its update adds nothing to it"),
            Dense::Unread => f.write_str("nothing reads it"),
            Dense::TooLong => f.write_str("its update or what reads it has too many terms"),
            Dense::Costs {
                steps,
                products,
                sides: [pre, post],
            } => {
                let steps = match steps {
                    1 => "1 step".to_owned(),
                    n => format!("{n} steps"),
                };
                let products = match products {
                    1 => String::new(),
                    n => format!("{n} products x "),
                };
                write!(
                    f,
                    "{steps} x {products}({pre} + {post}) neurons is not less than 2/3 of {pre} x {post} connections"
                )
            }
            Dense::Stopped => f.write_str("`--stop-after` allows no more rewrites"),
        }
    }
}
