//! The `bpmc` command; see `bpmc --help`. The work is in the library, the command line in [`bpmc::cli`].

mod pages;

use std::process::ExitCode;

fn main() -> ExitCode {
    bpmc::cli::main(pages::PAGES)
}
