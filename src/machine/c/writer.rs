//! The writer of a source: definitions, the code of a step, and the kernels around it.

use super::element::at;
use super::slots::{fill, row};
use super::sweeps;
use super::text::Text;
use super::vectors::{instructions, Names};
use super::{Episode, Product, Sizes, Threads};
use crate::program::ir::Home;
use crate::program::{Program, Verified};
use std::collections::BTreeMap;
use std::fmt::Write;

/// A source under construction.
pub(super) struct Writer<'a> {
    pub program: &'a Verified<Program>,
    pub episode: &'a Episode<'a>,
    pub threads: Threads,
    /// The offsets of blocks of connections.
    pub blocks: Vec<usize>,
    /// The offsets of gradient sums among a lane's own.
    pub sums: BTreeMap<usize, usize>,
    pub text: Text,
}

impl Writer<'_> {
    pub(super) fn definitions(&mut self, sizes: &Sizes) {
        let mut text = String::from("/* Written by bpmc. */\n\n");
        let program = self.program;
        for (name, value) in [
            ("THREADS", sizes.threads),
            ("TEAM", sizes.team),
            ("RESIDENT", sizes.resident),
            ("LANES", self.episode.lanes),
            ("STEPS", sizes.steps),
            ("INTERVAL", sizes.interval),
            ("CHECKPOINTS", sizes.checkpoints),
            ("LANE", program.lane.size),
            ("ADJOINT", program.adjoint.size),
            ("RECORD", sizes.record),
            ("TRACES", sizes.traces),
            ("ARENA", sizes.arena),
            ("SUMS", sizes.sums),
            ("CARRIED", sizes.carried),
            ("TASK_WORDS", sizes.task),
            ("ONE_PASS", usize::from(program.ahead.deferred)),
            ("DEVICE_TASK", usize::from(self.episode.task.is_some())),
            ("A2C", usize::from(self.episode.objective.is_some())),
        ] {
            writeln!(text, "#define {name} {value}").expect("writing to a string");
        }
        if let Some(objective) = self.episode.objective {
            let actions = sizes.outputs.saturating_sub(1);
            writeln!(text, "#define ACTIONS {actions}").expect("writing to a string");
            for (name, value) in [
                ("GAMMA", objective.gamma),
                ("VALUE", objective.value),
                ("CONCENTRATION", objective.concentration),
                ("ENTROPY", objective.entropy),
            ] {
                writeln!(text, "#define {name} {value:e}").expect("writing to a string");
            }
        }
        self.text.raw(&text);
        self.text.raw("\n");
    }

    pub(super) fn context(&mut self) {
        self.text.raw(include_str!("context.h"));
    }

    pub(super) fn memory(&mut self, name: &str, places: &[(&'static str, String)]) {
        let text = &mut self.text;
        text.open(&format!(
            "\nDEVICE Context {name}(const Args *a, const int lane, float *shared_memory) {{"
        ));
        text.line("Context c;");
        text.line("c.L = 0; c.B = 0; c.R = 0; c.RB = 0; c.scratch = 0; c.sums = 0;");
        text.line("c.in = 0; c.out = 0; c.adj = 0; c.row = 0;");
        text.line("c.S = a->shared;");
        text.line("c.outers = a->outers;");
        text.line("c.vectors = (u64)a->lanes * a->steps;");
        for (name, place) in places {
            if *name == "traces" {
                text.line(&format!("c.out = {place};"));
                text.line("c.in = c.out;");
            } else {
                text.line(&format!("c.{name} = {place};"));
            }
        }
        text.line("return c;");
        text.close("}");
    }

    pub(super) fn products(&mut self, products: &[Product]) {
        for (k, product) in products.iter().enumerate() {
            for (side, at, n) in [
                ("a", product.a, product.rows),
                ("b", product.b, product.cols),
            ] {
                self.text.line(&format!(
                    "DEVICE float *outer_{side}{k}(const Context c) {{ return c.outers + c.vectors * {at} + c.row * {n}; }}"
                ));
            }
        }
    }

    pub(super) fn sweeps(&mut self) {
        let program = self.program;
        let kinds = [
            ("ahead", &program.ahead.sweeps),
            ("replay", &program.ahead.updates),
            ("back", &program.back.sweeps),
        ];
        for (kind, sweeps) in kinds {
            for (k, sweep) in sweeps.iter().enumerate() {
                self.text.line("");
                let name = format!("{kind}_{k}");
                sweeps::function(
                    &name,
                    sweep,
                    &self.blocks,
                    &self.sums,
                    self.threads,
                    &mut self.text,
                );
            }
        }
    }

    pub(super) fn steps(&mut self) {
        let program = self.program;
        let names = Names {
            sums: &self.sums,
            threads: self.threads,
        };
        let text = &mut self.text;
        let back = |k: usize, text: &mut Text| text.line(&format!("back_{k}(c);"));
        text.open("\nDEVICE void ahead(const Context c, const int pending) {");
        for k in &program.ahead.apart {
            text.line(&format!("if (pending) ahead_{k}(c);"));
        }
        instructions(&program.ahead.instrs, &names, text, |k, text| {
            text.line(&match program.ahead.merged[k] {
                Some(merged) => format!("if (pending) ahead_{merged}(c); else ahead_{k}(c);"),
                None => format!("ahead_{k}(c);"),
            });
        });
        text.close("}");
        for name in ["settle", "replay"] {
            text.open(&format!("\nDEVICE void {name}(const Context c) {{"));
            for k in 0..program.ahead.updates.len() {
                text.line(&format!("replay_{k}(c);"));
            }
            text.close("}");
        }
        for (name, instrs) in [
            ("early", &program.back.early),
            ("late", &program.back.late),
            ("main_back", &program.back.main),
        ] {
            text.open(&format!("\nDEVICE void {name}(const Context c) {{"));
            instructions(instrs, &names, text, back);
            text.close("}");
        }
        text.open("\nDEVICE void opening(const Context c, const int later) {");
        for opening in &program.back.opening {
            text.line(&format!(
                "if (later) back_{}(c); else back_{}(c);",
                opening.merged, opening.alone
            ));
        }
        text.close("}");
        text.open("\nDEVICE void closing(const Context c) {");
        for k in &program.back.closing {
            back(*k, text);
        }
        text.close("}");
        // The adjoints are added, because other readers of the same value add theirs.
        text.open("\nDEVICE void keep_input_adjoints(const Context c, const Args *a) {");
        text.open("PHASE");
        for (slot, place, n) in &program.input_adjoints {
            let target = self.episode.input_adjoints.iter().find(|(k, _)| k == slot);
            if let Some((_, to)) = target {
                let to = row(*to, *n);
                text.line(&fill(
                    *n,
                    &format!("a->input_adjoints[{to}] += {};", at(*place, "i")),
                ));
            }
        }
        text.close("END_PHASE");
        text.line("(void)a;");
        text.close("}");
        text.open("\nDEVICE void hand_on(const Context c, const Args *a) {");
        text.line("Context of_later = c;");
        text.line("of_later.L = c.B;");
        text.line("of_later.R = c.RB;");
        text.line("of_later.row = c.row + 1;");
        text.line("keep_input_adjoints(of_later, a);");
        text.open("PHASE");
        for (slot, place, n) in &program.adjoints_out {
            if let Home::Vector {
                adjoint: Some(to), ..
            } = program.homes[*slot]
            {
                let from = place.aged();
                text.line(&fill(*n, &format!("c.L[{to} + i] = {};", at(from, "i"))));
            }
        }
        text.close("END_PHASE");
        text.close("}");
    }
}
