//! All integration tests, in one program: it is linked once, and its tests share the cores. A file of `tests/` is a module here.
//!
//! Tests run beside each other. So each has a directory of its own ([`scratch`]), nobody changes the environment or the current
//! directory of the process, and time is the thread's own ([`stopwatch`]).

mod cases;
mod chunked;
mod cmd;
mod code_pages;
mod command;
mod data_files;
mod device;
mod device_catalog;
mod device_clusters;
mod environments;
mod export;
mod faults;
mod first_values;
mod fixtures;
mod further;
mod given_files;
mod given_values;
mod gradients;
mod guide;
mod independent_gradients;
mod independent_rewards;
mod inference;
mod inferred_rule;
mod kill;
mod language;
mod language_server;
mod layout;
mod looking;
mod loss_formulas;
mod own_data;
mod own_losses;
mod own_runs;
mod own_starts;
mod own_targets;
mod programs;
mod properties;
mod python;
mod repetition;
mod replay;
mod report;
mod run;
mod runs_support;
mod scratch;
mod sequences;
mod shipped;
mod slurm;
mod stopwatch;
mod substeps;
mod sweep;
mod sweep_support;
mod syntax;
mod syntax_support;
mod systems;
mod texts;
mod watchdog;

#[test]
fn every_file_here_is_a_module() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let known = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).expect("the folder of this file") {
        let path = entry.expect("the folder can be read").path();
        if path.extension().is_some_and(|end| end == "rs") || path.join("mod.rs").exists() {
            let name = path.file_stem().expect("it has a name").to_string_lossy();
            let line = format!("\nmod {name};\n");
            assert!(
                name == "main" || known.contains(&line),
                "tests/main.rs lacks `mod {name};`"
            );
        }
    }
}
