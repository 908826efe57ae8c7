//! The laboratory around training: runs and their records, evaluation, replay, sweeps, reports, benchmarks.
//!
//! | module | holds |
//! |---|---|
//! | [`run`] | run directories: their files, resuming, checks for non-finite values |
//! | [`metrics`] | records of a run: JSON lines, tables, TensorBoard events |
//! | [`verify`] | what trains a spec against the oracle |
//! | [`watchdog`] | the search for the equation that gave a non-finite number |
//! | [`evaluation`] | fresh episodes of a trained network, with ablations |
//! | [`mod@export`] | networks as readable modules for other programs |
//! | [`inference`] | a network that runs on given inputs, in whole sequences or step by step |
//! | [`replay`] | an iteration run again, with its values written out |
//! | [`sweep`] | many runs: plans, processes, Slurm, tables |
//! | [`report`] | pages and figures about runs and sweeps |
//! | [`mod@bench`] | speed, memory and floors |
//! | [`lock`], [`shell`], [`statistics`] | file locks, quoting, medians and quartiles |

pub mod bench;
pub mod evaluation;
pub mod export;
pub mod inference;
pub mod lock;
pub mod metrics;
pub mod replay;
pub mod report;
pub mod run;
pub mod shell;
pub mod statistics;
pub mod sweep;
pub mod verify;
pub mod watchdog;
