//! The task between two steps, in a warp of its own.

use super::super::slots::leaves;
use super::super::text::Text;
use super::kernels::Kernels;
use super::memory::Offsets;

impl Kernels<'_> {
    /// The number of actions of the task, 0 without one on the device.
    pub(super) fn actions(&self) -> usize {
        let policy = self.episode.read.first();
        let on_device = self.episode.task.is_some();
        policy
            .filter(|_| on_device)
            .map_or(0, |(slot, _)| self.program.outputs[*slot].1)
    }

    /// The first float of the task's memory.
    fn task_at(&self, at: &Offsets) -> usize {
        at.own + 2 * (self.actions() + 1)
    }

    /// Writes the function that takes an action, if the task is on the device.
    pub(super) fn action(&self, text: &mut Text) {
        let policy = self.episode.read.first();
        if let (Some(_), Some((slot, _))) = (&self.episode.task, policy) {
            let (place, _) = self.program.outputs[*slot];
            let logit = self.copied.at(place.aged(), "(k)");
            text.raw(&format!("\n#define LOGIT(k) {logit}\n"));
            text.raw(include_str!("act.h"));
        }
    }

    /// Code of one warp that takes the action of the step before.
    pub(super) fn act(&self, at: &Offsets) -> Vec<String> {
        let call = format!("act(&a, c, lane, step, blk, warp, BASE + {});", at.own);
        self.episode.task.iter().map(|_| call.clone()).collect()
    }

    /// Code of one warp that begins the task.
    pub(super) fn begin_task(&self, at: &Offsets) -> Vec<String> {
        if self.episode.task.is_none() {
            return Vec::new();
        }
        vec![
            format!("if (warp == {}) {{", self.shape.warps),
            format!("    int *task = (int *)(BASE + {});", self.task_at(at)),
            "    LANES32".to_owned(),
            "        if (l == 0) {".to_owned(),
            "            const Place episode = place_of(a.keys, a.iteration, 0, lane);".to_owned(),
            "            task_reset(task, &episode);".to_owned(),
            "        }".to_owned(),
            "    END32".to_owned(),
            "}".to_owned(),
        ]
    }

    /// Code of one warp between two steps: the action, and what the task shows.
    pub(super) fn task(&self, at: &Offsets, first: bool) -> Vec<String> {
        let mut lines = match first {
            true => Vec::new(),
            false => self.act(at),
        };
        if self.episode.task.is_some() {
            let at = self.task_at(at);
            lines.push(format!(
                "const int *const task = (const int *)(BASE + {at});"
            ));
        }
        lines.push("LANES32".to_owned());
        for leaf in leaves(self.program, self.episode, "a.") {
            lines.push("    {".to_owned());
            lines.extend(leaf.place.iter().map(|place| format!("    {place}")));
            let n = leaf.to.n;
            let put = leaf.put();
            lines.push(format!("    for (int i = l; i < {n}; i += 32) {put}"));
            lines.push("    }".to_owned());
        }
        lines.push("END32".to_owned());
        lines
    }
}
