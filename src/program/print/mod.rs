//! A program as text, for `bpmc compile --emit kernels` and golden tests.
//!
//! `x3` is region 3 of the lane's memory forward and `d3` one of the lane's memory back, `x3+5` its element 5; `record.x3` is
//! what was kept of the step forward, `before.` is the memory of the step that ran before. `s3` is a value of the shared
//! memory, `g3` are gradient sums. The numbers follow the order in which the compiler reserved them, and nothing else.

pub(crate) mod terms;

use crate::program::code::{Area, Instr, Place, Sweep};
use crate::program::ir::{Home, Program, Region, Regions};
use crate::program::layout::{Form, Slot};
use crate::program::parameters::{Origin, Prologue};
use std::fmt::{self, Display, Write};
use terms::{Terms, Way};

impl Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = Printer {
            program: self,
            text: String::new(),
        };
        out.memories();
        out.shared();
        out.forward();
        out.back();
        out.gradients();
        f.write_str(&out.text)
    }
}

struct Printer<'a> {
    program: &'a Program,
    text: String,
}

impl<'a> Printer<'a> {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn terms(&self, way: Way) -> Terms<'a> {
        Terms {
            program: self.program,
            way,
        }
    }

    fn memories(&mut self) {
        let program = self.program;
        self.line(&format!(
            "a lane: {} elements forward, {} of them kept of every step; {} back; {} shared; {} of gradient sums",
            program.lane.size,
            program.record_size,
            program.adjoint.size,
            program.shared_size,
            program.sums_size
        ));
        self.line(if program.replayed {
            "traces are kept at some steps; the updates replay those between"
        } else {
            "traces are kept at every step"
        });
        for (k, layout) in program.blocks.iter().enumerate() {
            let home = program
                .homes
                .iter()
                .position(|home| matches!(home, Home::Block { index, .. } if *index == k));
            let name = home.and_then(|slot| program.names.states.get(slot));
            let name = name.map_or("?", String::as_str);
            let constant = match program.constant.contains(&k) {
                true => ", never updated",
                false => "",
            };
            self.line(&format!(
                "trace{k} [{},{}] is `{name}`{constant}",
                layout.rows, layout.cols
            ));
        }
        self.line("\nmemory forward");
        self.regions("x", &program.lane, program.record_size);
        self.line("\nmemory back");
        self.regions("d", &program.adjoint, 0);
    }

    fn regions(&mut self, letter: &str, regions: &Regions, kept: usize) {
        for (k, Region { start, n, at }) in regions.all.iter().enumerate() {
            let named = self.program.named.iter().filter(|_| kept > 0);
            let mut names = named.filter(|(_, (place, _))| place.at == *start);
            let name = names.next().map(|(name, _)| format!(" `{name}`"));
            let keep = if *start < kept { ", kept" } else { "" };
            self.line(&format!(
                "  {letter}{k} [{n}] at {at}{keep}{}",
                name.unwrap_or_default()
            ));
        }
    }

    fn shared(&mut self) {
        let program = self.program;
        let both = [&program.step_prologue, &program.adjoint_prologue];
        self.line("\nshared, once an iteration");
        for (k, placed) in program.shared_places().iter().enumerate() {
            let of: Vec<&Prologue> = both
                .into_iter()
                .filter(|prologue| prologue.places.iter().any(|one| one.slot == placed.slot))
                .collect();
            let path = |k: usize| {
                let slot = of.first().and_then(|prologue| prologue.graph.params.get(k));
                slot.map_or("?".to_owned(), |slot| format!("`{}`", slot.path))
            };
            let origin = match &placed.origin {
                Origin::Leaf(k) => path(*k),
                Origin::Concat(parts) => {
                    let parts: Vec<String> = parts.iter().map(|k| path(*k)).collect();
                    format!("concat({})", parts.join(", "))
                }
                Origin::Slice { sum, start, width } => format!("g{sum}[{start}..+{width}]"),
                Origin::Result(k) => {
                    let step = of.first().is_some_and(|p| std::ptr::eq(*p, both[0]));
                    let whose = if step { "step" } else { "adjoint" };
                    format!("{whose} value {k}")
                }
            };
            self.line(&format!("  s{k} = {origin} {}", slot(placed.slot)));
        }
        for (whose, prologue) in ["step", "adjoint"].into_iter().zip(both) {
            self.values(&format!("{whose} values"), &prologue.graph);
        }
    }

    /// Prints a graph of parameters, if it has results.
    fn values(&mut self, title: &str, graph: &crate::ir::Graph) {
        if graph.results().is_empty() {
            return;
        }
        self.line(&format!("  {title}:"));
        // The ids of results then are those of the lines.
        let graph = graph.compacted();
        let text = graph.to_string();
        let values = text
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with('%'));
        for line in values.filter(|line| !line.ends_with("// dead")) {
            self.line(&format!("    {line}"));
        }
        // Results are numbered here, whatever they are called in the graph.
        let results = text.lines().filter(|line| line.starts_with("gradient "));
        for (k, (_, id)) in results
            .filter_map(|line| line.rsplit_once(" = "))
            .enumerate()
        {
            self.line(&format!("    value {k} = {id}"));
        }
    }

    fn forward(&mut self) {
        let program = self.program;
        let terms = self.terms(Way::Forward);
        self.line("\nstep forward");
        let names = &program.names;
        let kinds = [
            ("input", &names.inputs, &program.inputs),
            ("noise", &names.noises, &program.noises),
        ];
        for (kind, names, slots) in kinds {
            for (name, slot) in names.iter().zip(slots) {
                let to = slot.map_or("nothing".to_owned(), |slot| terms.at(Area::Lane, slot.at));
                self.line(&format!("  {kind} `{name}` goes to {to}"));
            }
        }
        let ahead = &program.ahead;
        if ahead.deferred {
            self.line("  updates of traces wait for the next step");
        }
        for k in &ahead.apart {
            let sweep = title(&ahead.sweeps, *k);
            self.line(&format!("  {sweep}, where updates wait"));
        }
        self.instrs(terms, &ahead.instrs, |k| {
            let merged = ahead.merged.get(k).copied().flatten();
            let merged = merged.map(|m| {
                let sweep = title(&ahead.sweeps, m);
                format!(", where updates wait {sweep}")
            });
            title(&ahead.sweeps, k) + &merged.unwrap_or_default()
        });
        for (name, (place, n)) in names.outputs.iter().zip(&program.outputs) {
            self.line(&format!(
                "  output `{name}` = {} [{n}]",
                terms.place(*place)
            ));
        }
        for (slot, place, n) in &program.nexts {
            let home = match program.homes.get(*slot) {
                Some(Home::Vector { step: Some(at), .. }) => terms.at(Area::Lane, *at),
                Some(Home::Vector { step: None, .. } | Home::Block { .. }) | None => {
                    "nothing".to_owned()
                }
            };
            let name = names.states.get(*slot).map_or("?", String::as_str);
            self.line(&format!(
                "  state `{name}` = {} [{n}], goes to {home}",
                terms.place(*place)
            ));
        }
        if !ahead.deferred && !ahead.updates.is_empty() {
            self.line("  all updates");
        }
        self.sweeps(terms, "sweep", &ahead.sweeps);
        self.sweeps(terms, "update", &ahead.updates);
    }

    fn back(&mut self) {
        let program = self.program;
        let terms = self.terms(Way::Back);
        let back = &program.back;
        self.line("\nstep back");
        let names = &program.names;
        for (name, slot) in names.outputs.iter().zip(&program.seeds) {
            let to = slot.map_or("nothing".to_owned(), |slot| terms.at(Area::Lane, slot.at));
            self.line(&format!("  adjoint of output `{name}` goes to {to}"));
        }
        let sweep = |k: usize| title(&back.sweeps, k);
        self.instrs(terms, &back.early, sweep);
        for opening in &back.opening {
            self.line(&format!(
                "  {}, or without a later step {}",
                sweep(opening.merged),
                sweep(opening.alone)
            ));
        }
        self.line("  of the later step:");
        self.instrs(terms, &back.late, sweep);
        self.results(
            terms,
            "adjoint of state",
            &names.states,
            &program.adjoints_out,
        );
        self.results(
            terms,
            "adjoint of input",
            &names.inputs,
            &program.input_adjoints,
        );
        self.line("  of this step:");
        self.instrs(terms, &back.main, sweep);
        for k in &back.closing {
            self.line(&format!("  after the first step {}", sweep(*k)));
        }
        self.sweeps(terms, "sweep", &back.sweeps);
    }

    /// Prints the values handed on from the later step.
    fn results(
        &mut self,
        terms: Terms<'_>,
        kind: &str,
        names: &[String],
        results: &[(usize, Place, usize)],
    ) {
        for (slot, place, n) in results {
            let home = match self.program.homes.get(*slot) {
                Some(Home::Vector {
                    adjoint: Some(at), ..
                }) if kind == "adjoint of state" => {
                    let to = terms.at(Area::Lane, *at);
                    format!(", goes to {to}")
                }
                _ => String::new(),
            };
            let name = names.get(*slot).map_or("?", String::as_str);
            let from = terms.place(*place);
            self.line(&format!("  {kind} `{name}` = {from} [{n}]{home}"));
        }
    }

    fn instrs(&mut self, terms: Terms<'_>, instrs: &[Instr], sweep: impl Fn(usize) -> String) {
        for instr in instrs {
            let text = match instr {
                Instr::Sweep(k) => sweep(*k),
                other => terms.instr(other),
            };
            self.line(&format!("  {text}"));
        }
    }

    fn sweeps(&mut self, terms: Terms<'_>, kind: &str, sweeps: &[Sweep]) {
        for (k, sweep) in sweeps.iter().enumerate() {
            self.line(&format!("\n  {}", terms.heading(kind, k, sweep)));
            for op in &sweep.ops {
                self.line(&format!("    {}", terms.op(op)));
            }
            for root in &sweep.roots {
                self.line(&format!("    {}", terms.root(root)));
            }
        }
    }

    fn gradients(&mut self) {
        let epilogue = &self.program.epilogue;
        self.line("\ngradients, once an iteration");
        for (k, sum) in epilogue.sums.iter().enumerate() {
            let outers = self.program.outers.iter();
            let outer = outers.enumerate().find(|(_, outer)| outer.sum == sum.at);
            let outer = outer.map_or(String::new(), |(k, _)| format!(", from outer {k}"));
            self.line(&format!("  g{k} {}{outer}", slot(*sum)));
        }
        self.values("values", &epilogue.graph);
        for (parameter, origin) in &epilogue.gradients {
            let path = epilogue.graph.params.get(*parameter);
            let path = path.map_or("?", |slot| slot.path.as_str());
            let mut text = format!("  `{path}` has ");
            match origin {
                Origin::Leaf(k) => write!(text, "g{k}"),
                Origin::Slice { sum, start, width } => {
                    write!(text, "columns {start}..{} of g{sum}", start + width)
                }
                Origin::Result(k) => write!(text, "value {k}"),
                Origin::Concat(parts) => write!(text, "parts {parts:?}"),
            }
            .expect("writing to a string");
            self.line(&text);
        }
    }
}

fn title(sweeps: &[Sweep], k: usize) -> String {
    let name = sweeps.get(k).map_or("?", |sweep| sweep.name);
    format!("sweep {k} ({name})")
}

/// The place and form of a value in a memory.
fn slot(slot: Slot) -> String {
    let (layout, form) = match slot.form {
        Form::Plain => return format!("[{}] at {}", slot.n, slot.at),
        Form::Panels(layout) => (layout, "in panels"),
        Form::Transposed(layout) => (layout, "transposed, in panels"),
        Form::Rows(layout) => (layout, "in rows"),
        Form::TransposedRows(layout) => (layout, "transposed, in rows"),
    };
    format!("[{},{}] {form} at {}", layout.rows, layout.cols, slot.at)
}
