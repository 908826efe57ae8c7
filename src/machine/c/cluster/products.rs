//! Products with matrices of parameters in vector code, which every block computes.

use super::super::element;
use super::unit::each_of_warp;
use super::vectors::{letter, Made, Schedule};
use crate::program::access::Access;
use crate::program::code::{Place, Product};
use crate::program::layout::filled;

impl Schedule<'_> {
    /// Adds a product with a matrix of parameters.
    pub(super) fn product(
        &mut self,
        v: Place,
        (m, rows, cols): (usize, usize, usize),
        form: Product,
        read: &[Access],
        written: Option<Access>,
    ) {
        let range = written.expect("it writes");
        let scalar = form == Product::ScaledRows && rows == 1;
        let unit = read.iter().map(|r| match scalar {
            true => self.ready(*r, None),
            false => self.in_memory(*r),
        });
        let (unit, part) = (unit.max().unwrap_or(0), self.part);
        let copied = self.names.copied;
        match form {
            Product::ScaledRows => {
                let from = copied.parameters(m);
                if cols == 1 {
                    // One column is one number.
                    let terms: Vec<String> = (0..rows)
                        .map(|r| match scalar {
                            true => format!("{} * {from}]", self.operand(v, 1, unit, "0")),
                            false => {
                                format!("{} * {from} + {}]", copied.at(v, &r.to_string()), r * 16)
                            }
                        })
                        .collect();
                    self.element(range, 1, unit, terms.join(" + "));
                } else if scalar {
                    let v = self.operand(v, 1, unit, "0");
                    self.element(range, cols, unit, format!("{v} * {from} + i]"));
                } else {
                    let name = format!("s{}{}", letter(range.area), range.at);
                    let v = copied.at(v, "r");
                    let group = self.group(unit, cols);
                    group.value(part, &name, "0.0f");
                    group.code[part].push(format!(
                        "for (int r = 0; r < {rows}; r++) {name} += {v} * {from} + (i / 16 * {rows} + r) * 16 + i % 16];"
                    ));
                    self.element(range, cols, unit, name);
                }
            }
            Product::RowProducts => {
                let stride = filled(cols);
                let memory = element::memory(range.area);
                let (to, warps) = (range.at, self.names.warps);
                let (v, from) = (copied.at(v, "i"), copied.parameters(m));
                self.unit(unit).warps.extend([
                    format!("for (int j = warp; j < {rows}; j += {warps}) {{"),
                    "    VAR32(part);".to_owned(),
                    each_of_warp(
                        cols,
                        &format!("AT32(part) += {v} * {from} + j * {stride} + i];"),
                    ),
                    "    const float all = SUM32(part);".to_owned(),
                    format!("    LANES32 if (l == 0) {memory}[{to} + j] = all; END32"),
                    "}".to_owned(),
                ]);
                self.made(range, unit, Made::Memory);
            }
        }
    }
}
