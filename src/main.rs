//! The `bpmc` command: arguments, dispatch, exit status. The work is in the library; see
//! `bpmc --help`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Candle's own threads would make the order of sums depend on the machine; bpmc splits lanes over
    // threads of its own. Set before any thread exists.
    std::env::set_var("RAYON_NUM_THREADS", "1");
    cli::panic::install();
    cli::main()
}
