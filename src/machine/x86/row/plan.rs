//! The plan of a row: its order, and the values of all rows that get registers. Plans are tried by counting the instructions
//! that they take, and the one with the fewest is written.

use super::super::assembler::Counts;
use super::super::values::{Unit, Value};
use super::super::Emitter;
use super::schedule::{Schedule, ORDERS};
use super::Row;

/// The order of a row, and the values that keep a register for all rows as far as there are registers.
#[derive(Clone, Debug)]
pub struct Plan {
    pub schedule: Schedule,
    pub lasting: Vec<Value>,
}

/// A read counts as this part of an instruction, a spill as much more than one.
fn cost(counts: Counts) -> usize {
    4 * counts.instructions + counts.reads + 4 * counts.spills
}

impl Plan {
    /// The best plan found; `None` if the sweep needs anything unsupported.
    pub fn best(emitter: &mut Emitter<'_>, units: &[Unit], masked: bool) -> Option<Plan> {
        let mut best: Option<(usize, Plan)> = None;
        let mut tried: Vec<Schedule> = Vec::new();
        for order in ORDERS {
            let schedule = Schedule::new(emitter.sweep, &emitter.extents, order);
            if tried.iter().any(|other| other.items == schedule.items) {
                continue;
            }
            tried.push(schedule.clone());
            let mut plan = Plan {
                schedule,
                lasting: Vec::new(),
            };
            let Some((counts, wanted)) = plan.tried(emitter, units, masked) else {
                continue;
            };
            let mut least = cost(counts);
            let mut keep = |cost: usize, plan: &Plan| {
                if best.as_ref().is_none_or(|(known, _)| cost < *known) {
                    best = Some((cost, plan.clone()));
                }
            };
            keep(least, &plan);
            // One more register for all rows at a time, until that takes more than it saves.
            for value in wanted {
                plan.lasting.push(value);
                let Some((counts, _)) = plan.tried(emitter, units, masked) else {
                    break;
                };
                let cost = cost(counts);
                keep(cost, &plan);
                if cost > least + 8 {
                    break;
                }
                least = least.min(cost);
            }
        }
        best.map(|(_, plan)| plan)
    }

    /// The instructions of a row, and the values of all rows that it reads, those that take most instructions first.
    fn tried(
        &self,
        emitter: &mut Emitter<'_>,
        units: &[Unit],
        masked: bool,
    ) -> Option<(Counts, Vec<Value>)> {
        emitter.asm.counting = true;
        let mut row = Row::new(emitter, units, masked, self);
        let done = row.counted();
        row.emitter.asm.counting = false;
        done
    }
}

impl Row<'_, '_> {
    fn counted(&mut self) -> Option<(Counts, Vec<Value>)> {
        self.enter()?;
        self.emitter.asm.counts = Counts::default();
        self.emit()?;
        let fixed = self.uses.keys().copied().filter(|value| value.is_fixed());
        let mut wanted: Vec<(usize, usize, Value)> = fixed
            .map(|value| {
                let fetched = self.fetched.get(&value).copied().unwrap_or(0);
                (fetched, self.uses[&value].len(), value)
            })
            .collect();
        wanted.sort_by_key(|(fetched, uses, value)| (std::cmp::Reverse((*fetched, *uses)), *value));
        let wanted = wanted.into_iter().map(|(.., value)| value).collect();
        Some((self.emitter.asm.counts, wanted))
    }
}
