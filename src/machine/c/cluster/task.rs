//! The task between two steps, in a warp of its own.

use super::super::slots::leaves;
use super::super::text::Text;
use super::super::Episode;
use super::kernels::Kernels;
use super::memory::Offsets;
use crate::program::Program;

/// The most steps of an episode whose random numbers are drawn at its beginning.
const MOST_DRAWN: usize = 2048;

/// The most floats of shared memory that copies of the task for each action may take.
const MOST_COPIES: usize = 4096;

/// The sizes of a task on the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct TaskMemory {
    actions: usize,
    /// The words of the task's memory.
    words: usize,
    /// The numbers that it shows the network at each step.
    shown: usize,
    steps: usize,
}

impl TaskMemory {
    /// The sizes of an episode's task, if it is on the device.
    pub(super) fn of(program: &Program, episode: &Episode<'_>) -> Option<TaskMemory> {
        let (slot, _) = episode.read.first()?;
        let task = episode.task.as_ref()?;
        let shows = leaves(program, episode, "a->").into_iter();
        Some(TaskMemory {
            actions: program.outputs[*slot].1,
            words: task.words,
            steps: episode.steps,
            shown: shows
                .filter(|leaf| leaf.of_task)
                .map(|leaf| leaf.to.n)
                .sum(),
        })
    }

    /// Returns true if every action is taken ahead, on a copy of the task.
    fn ahead(self) -> bool {
        self.actions * (self.words + self.shown) <= MOST_COPIES
    }

    /// The random numbers of actions in shared memory: those of all steps, or one.
    fn drawn(self) -> usize {
        match self.steps <= MOST_DRAWN {
            true => self.steps.max(1),
            false => 1,
        }
    }

    /// The floats in shared memory: random numbers in f64, the task, and what `act.h` keeps for each action.
    pub(super) fn floats(self) -> usize {
        let of_action = match self.ahead() {
            true => self.words + self.shown + 1,
            false => self.words + 1,
        };
        2 * self.drawn() + self.words + self.actions * of_action
    }
}

impl Kernels<'_> {
    /// Writes the functions that take actions, if the task is on the device.
    pub(super) fn action(&self, text: &mut Text) {
        let (Some(memory), Some((slot, _))) = (self.task_memory, self.episode.read.first()) else {
            return;
        };
        let (place, _) = self.program.outputs[*slot];
        let logit = self.copied.at(place.aged(), "(k)");
        text.raw(&format!(
            "\n#define LOGIT(k) {logit}\n#define SHOWN {}\n#define DRAWN {}\n#define AHEAD {}\n",
            memory.shown,
            memory.drawn(),
            u8::from(memory.ahead())
        ));
        text.open("DEVICE float shown(const int *task, int i) {");
        for leaf in leaves(self.program, self.episode, "a->") {
            if leaf.of_task {
                text.line(&format!("if (i < {}) return {};", leaf.to.n, leaf.value));
                text.line(&format!("i -= {};", leaf.to.n));
            }
        }
        text.line("(void)task;");
        text.line("return 0.0f;");
        text.close("}");
        text.raw(include_str!("act.h"));
    }

    /// Code of one warp that takes the action of the step before.
    pub(super) fn act(&self, at: &Offsets) -> Vec<String> {
        let call = format!("act(&a, c, lane, step, blk, warp, BASE + {});", at.own);
        self.task_memory.iter().map(|_| call.clone()).collect()
    }

    /// Code of one warp, beside the vector code of a step, that prepares its action.
    pub(super) fn ahead(&self, at: &Offsets) -> Option<String> {
        self.task_memory?;
        Some(format!("ahead(&a, lane, step, warp, BASE + {});", at.own))
    }

    /// Code that begins the task.
    pub(super) fn begin_task(&self, at: &Offsets) -> Vec<String> {
        let Some(memory) = self.task_memory else {
            return Vec::new();
        };
        let (warps, own) = (self.shape.warps, at.own);
        let mut lines = vec![format!(
            "if (warp == {warps}) begin_task(&a, lane, warp, BASE + {own});"
        )];
        if memory.drawn() > 1 {
            lines.push(format!(
                "else LANES32 for (int t = tid; t < a.steps; t += {}) UNIFORM_OF(BASE + {own}, t) = uniform_of(&a, lane, t); END32",
                warps * 32
            ));
        }
        lines
    }

    /// Code of one warp between two steps: the action, and what the task shows.
    pub(super) fn task(&self, at: &Offsets, first: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let copies = self.task_memory.is_some_and(TaskMemory::ahead) && !first;
        if self.task_memory.is_some() {
            lines.extend(
                self.act(at)
                    .iter()
                    .filter(|_| !first)
                    .map(|call| match copies {
                        true => format!("const int action = {call}"),
                        false => call.clone(),
                    }),
            );
            lines.push(match copies {
                true => format!(
                    "const float *const shows = SHOWS_OF(BASE + {}, action);",
                    at.own
                ),
                false => format!("const int *const task = TASK_OF(BASE + {});", at.own),
            });
        }
        lines.push("LANES32".to_owned());
        let mut from = 0;
        for mut leaf in leaves(self.program, self.episode, "a.") {
            if copies && leaf.of_task {
                leaf.value = format!("shows[{from} + i]");
                from += leaf.to.n;
            }
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
