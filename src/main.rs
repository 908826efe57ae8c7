//! The `bpmc` command.
fn main() {}
