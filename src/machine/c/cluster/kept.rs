//! The memory that the forward pass keeps of a step: its vectors and outputs, its traces, and the states that outlive the last one.

use super::super::element::number;
use super::super::text::Text;
use super::kernels::Kernels;
use crate::program::ir::Home;
use crate::program::layout::Layout;

impl Kernels<'_> {
    /// Writes code that keeps the states that outlive the last step, inside of a unit.
    pub(super) fn hand_on(&self, text: &mut Text) {
        let program = self.program;
        let threads = self.threads();
        for (slot, home) in program.homes.iter().enumerate() {
            let Some((to, n)) = self.carried[slot] else {
                continue;
            };
            let to = format!("a.carried_next[(u64)lane * CARRIED + {to}");
            let value = match home {
                Home::Block { index, layout } => {
                    let tile = self.tile(*layout);
                    let put = format!(
                        "if (row < {} && column < {cols}) {to} + row * {cols} + column] = OF_TILE(p{index}, k * {} + r);",
                        layout.rows,
                        tile.rows,
                        cols = layout.cols
                    );
                    self.each_connection(tile, &[put], text);
                    continue;
                }
                Home::Vector { step: Some(at), .. } => format!("c.L[{at} + i]"),
                Home::Vector { step: None, .. } => {
                    match program.nexts.iter().find(|(k, _, _)| *k == slot) {
                        Some((_, place, _)) => self.copied.at(place.aged(), "i"),
                        None => number(program.first[slot] as f32),
                    }
                }
            };
            text.line(&format!(
                "LANES32 if (blk == 0 && warp < {}) for (int i = tid; i < {n}; i += {threads}) {to} + i] = {value}; END32",
                self.shape.warps
            ));
        }
    }

    /// Code that keeps the vectors and the outputs of the step before.
    pub(super) fn keep_record(&self) -> Vec<String> {
        let threads = self.threads();
        let record = self.program.record_size;
        let mut lines = vec![
            "LANES32".to_owned(),
            format!("    float *const record = a.records + (c.row - 1) * {record};"),
            format!(
                "    for (int i = blk * {threads} + tid; i < {record}; i += {}) record[i] = c.B[i];",
                threads * self.shape.blocks
            ),
            "    (void)record;".to_owned(),
        ];
        for (k, (slot, to)) in self.episode.read.iter().enumerate() {
            let (place, n) = self.program.outputs[*slot];
            let value = self.copied.at(place.aged(), "i");
            lines.push(format!(
                "    if (blk == {}) for (int i = tid; i < {n}; i += {threads}) a.outputs[c.vectors * {to} + (c.row - 1) * {n} + i] = {value};",
                k % self.shape.blocks
            ));
        }
        lines.push("END32".to_owned());
        lines
    }

    /// Code that keeps the traces with which a step begins.
    pub(super) fn keep_trace(
        &self,
        b: usize,
        layout: Layout,
        size: usize,
        at: usize,
    ) -> Vec<String> {
        let tile = self.tile(layout);
        let fours = tile.padded_rows() / 4;
        let value = |j: usize| {
            // The rows of padding repeat the last one.
            format!(
                "OF_TILE(p{b}, k * {rows} + (4 * r + {j} < {rows} ? 4 * r + {j} : {last}))",
                rows = tile.rows,
                last = tile.rows - 1
            )
        };
        vec![
            "LANES32".to_owned(),
            format!("    float *const kept = {};", self.stored(size, at, tile, "step")),
            "    UNROLL".to_owned(),
            format!("    for (int k = 0; k < {}; k++) {{", tile.columns),
            "        UNROLL".to_owned(),
            format!(
                "        for (int r = 0; r < {fours}; r++) keep4(kept + (k * {fours} + r) * {}, {}, {}, {}, {});",
                4 * self.threads(),
                value(0),
                value(1),
                value(2),
                value(3)
            ),
            "    }".to_owned(),
            "END32".to_owned(),
        ]
    }
}
