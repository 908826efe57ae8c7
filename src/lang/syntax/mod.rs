//! Text to syntax tree and back. The only place that names pest; the grammar is `grammar/bpm.pest`.
//!
//! A text goes through three steps. `scan` reads it once, finds the comments, checks that brackets
//! match and are not too deep, and gives the regions that are safe to parse. The pest parser reads a
//! region; its grammar swallows what is broken, so it always reaches the end. `build` turns what it
//! found into the tree and explains each broken part in our own words.
//!
//! ```
//! use bpmc::lang::diag::{Diagnostics, SourceId};
//! use bpmc::lang::syntax;
//!
//! let text = "dim N=200";
//! let mut diagnostics = Diagnostics::new();
//! let file = syntax::parse(SourceId(0), text, &mut diagnostics);
//! assert!(diagnostics.is_empty());
//! assert_eq!(syntax::print(&file, text), "dim N = 200\n");
//! ```

pub mod ast;
mod build;
mod dump;
mod expected;
mod expression;
mod guess;
mod parse;
mod print;
mod report;
mod scan;
#[cfg(test)]
mod tests;
mod token;
mod upgrade;
mod version;

pub use dump::dump;
pub use parse::{parse, parse_value, MAX_BYTES, MAX_ERRORS, MAX_EXPRESSION_DEPTH, MAX_NESTING};
pub use print::print;
pub use token::{token_at, Token, TokenKind};
pub use upgrade::{upgrades, Upgrade};
pub use version::VERSION;
