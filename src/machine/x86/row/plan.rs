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

/// The registers that a first plan leaves to values that do not last.
const PASSING: usize = 7;
/// Blocks below this number of elements are swept so fast that one plan is enough.
const SMALL: usize = 1024;

/// A read counts as this part of an instruction, a spill as much more than one.
fn cost(counts: Counts) -> usize {
    4 * counts.instructions + counts.reads + 4 * counts.spills
}

/// The plan with the lowest cost so far.
#[derive(Default)]
struct Best(Option<(usize, Plan)>);

impl Best {
    fn keep(&mut self, counts: Counts, plan: &Plan) {
        let cost = cost(counts);
        if self.0.as_ref().is_none_or(|(known, _)| cost < *known) {
            self.0 = Some((cost, plan.clone()));
        }
    }
}

impl Plan {
    /// The best plan found; `None` if the sweep needs anything unsupported.
    pub fn best(emitter: &mut Emitter<'_>, units: &[Unit], masked: bool) -> Option<Plan> {
        let small = emitter.sweep.layout.size() < SMALL;
        let orders = if small { &ORDERS[..1] } else { &ORDERS[..] };
        let mut best = Best::default();
        let mut tried: Vec<Schedule> = Vec::new();
        let mut wanted = Vec::new();
        for order in orders {
            let schedule = Schedule::new(emitter.sweep, &emitter.extents, *order);
            if tried.iter().any(|other| other.items == schedule.items) {
                continue;
            }
            tried.push(schedule.clone());
            let mut plan = Plan {
                schedule,
                lasting: Vec::new(),
            };
            let Some((counts, values)) = plan.tried(emitter, units, masked) else {
                continue;
            };
            best.keep(counts, &plan);
            let room = emitter.isa.vectors() as usize;
            let first = room.saturating_sub(PASSING + emitter.sums(units));
            plan.lasting = values.iter().take(first).copied().collect();
            if let Some((counts, _)) = plan.tried(emitter, units, masked) {
                best.keep(counts, &plan);
            }
            wanted.push((plan.schedule, values));
        }
        let (_, mut plan) = best.0.clone()?;
        if small {
            return Some(plan);
        }
        // Some registers more or less for all rows.
        let of = wanted
            .into_iter()
            .find(|(schedule, _)| schedule.items == plan.schedule.items);
        let (_, values) = of?;
        let now = plan.lasting.len();
        for n in [
            now + 1,
            now + 2,
            now.saturating_sub(1),
            now.saturating_sub(2),
        ] {
            if n > values.len() || n == now {
                continue;
            }
            plan.lasting = values[..n].to_vec();
            if let Some((counts, _)) = plan.tried(emitter, units, masked) {
                best.keep(counts, &plan);
            }
        }
        best.0.map(|(_, plan)| plan)
    }

    /// The plan for other panels of the same sweep; `None` if it has too few registers for them.
    pub fn adapted(&self, emitter: &mut Emitter<'_>, units: &[Unit], masked: bool) -> Option<Plan> {
        let mut plan = Plan {
            schedule: self.schedule.clone(),
            lasting: Vec::new(),
        };
        let (_, mut values) = plan.tried(emitter, units, masked)?;
        values.truncate(self.lasting.len());
        plan.lasting = values;
        plan.tried(emitter, units, masked)?;
        Some(plan)
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
