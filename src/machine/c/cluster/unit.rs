//! A unit of vector code: what all threads of a block do between two barriers.

use super::super::text::Text;

/// A unit under construction. What it writes to memory comes last: a compiler cannot move a read ahead of a write that might
/// be to the same place, and a chain of both waits for memory at every link.
#[derive(Default)]
pub(super) struct Unit {
    /// Code of whole warps.
    pub warps: Vec<String>,
    /// Code of every thread for single numbers: what needs no sum of an exchange, then what does.
    pub scalars: [Vec<String>; 2],
    /// Code of one thread that writes them to memory.
    pub scalar_writes: Vec<String>,
    /// Code for vectors of one length.
    groups: Vec<Group>,
}

/// Code for the elements of vectors of one length.
#[derive(Default)]
pub(super) struct Group {
    n: usize,
    /// The names of an element's values.
    names: Vec<String>,
    /// Code that computes them: what needs no sum of an exchange, then what does.
    pub code: [Vec<String>; 2],
    /// Code that writes them to memory.
    pub writes: Vec<String>,
    /// The gradient sums that the code adds to, with the name of the value so far.
    sums: Vec<(usize, String)>,
}

impl Group {
    /// Adds a value of an element.
    pub(super) fn value(&mut self, part: usize, name: &str, value: &str) {
        self.names.push(name.to_owned());
        self.code[part].push(format!("{name} = {value};"));
    }

    /// Adds to an element of a gradient sum.
    pub(super) fn add(&mut self, part: usize, to: usize, value: &str) {
        if let Some((_, name)) = self.sums.iter().find(|(sum, _)| *sum == to) {
            self.code[part].push(format!("{name} += {value};"));
            return;
        }
        let name = format!("g{to}");
        self.value(part, &name, &format!("c.sums[{to} + i] + {value}"));
        self.writes.push(format!("c.sums[{to} + i] = {name};"));
        self.sums.push((to, name));
    }

    fn declare(&self, text: &mut Text) {
        if !self.names.is_empty() {
            text.line(&format!("float {};", self.names.join(", ")));
        }
    }
}

impl Unit {
    /// The code for vectors of a length.
    pub(super) fn group(&mut self, n: usize) -> &mut Group {
        let at = self.groups.iter().position(|group| group.n == n);
        let at = at.unwrap_or_else(|| {
            self.groups.push(Group {
                n,
                ..Group::default()
            });
            self.groups.len() - 1
        });
        &mut self.groups[at]
    }

    /// Writes the code of a thread.
    pub(super) fn write(&self, threads: usize, wait: bool, text: &mut Text) {
        let element = |group: &Group, lines: &[String], text: &mut Text| {
            if lines.is_empty() {
                return;
            }
            text.open(&format!("if (tid < {}) {{", group.n));
            text.line("const int i = tid;");
            text.line("(void)i;");
            lines.iter().for_each(|line| text.line(line));
            text.close("}");
        };
        let (one, many): (Vec<&Group>, Vec<&Group>) =
            self.groups.iter().partition(|group| group.n <= threads);
        one.iter().for_each(|group| group.declare(text));
        for part in 0..2 {
            if part == 1 && wait {
                text.line("WAIT;");
            }
            self.scalars[part].iter().for_each(|line| text.line(line));
            for group in &one {
                element(group, &group.code[part], text);
            }
        }
        for group in many {
            text.open(&format!(
                "for (int i = tid; i < {}; i += {threads}) {{",
                group.n
            ));
            group.declare(text);
            let lines = group.code.iter().flatten().chain(&group.writes);
            lines.for_each(|line| text.line(line));
            text.close("}");
        }
        for group in one {
            element(group, &group.writes, text);
        }
        if !self.scalar_writes.is_empty() {
            text.open("if (tid == 0) {");
            self.scalar_writes.iter().for_each(|line| text.line(line));
            text.close("}");
        }
    }
}

/// A loop of a warp over `n` elements, unrolled so that what it reads does not come one after another.
pub(super) fn each_of_warp(n: usize, body: &str) -> String {
    let whole = n / 32;
    if whole > 32 {
        return format!("LANES32 for (int i = l; i < {n}; i += 32) {body} END32");
    }
    format!(
        "LANES32 UNROLL for (int q = 0; q < {}; q++) {{ const int i = 32 * q + l; if (q < {whole} || i < {n}) {body} }} END32",
        n.div_ceil(32)
    )
}
