//! The state of a lane's memory while its instructions are followed.

use super::Faults;
use crate::program::access::Access;
use crate::program::ir::Regions;

/// Elements by name, as disjoint ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<(usize, usize)>);

impl Ranges {
    /// Adds a range.
    pub(super) fn add(&mut self, start: usize, n: usize) {
        let mut new = (start, start + n);
        self.0.retain(|&(from, to)| {
            let touches = from <= new.1 && new.0 <= to;
            if touches {
                new = (new.0.min(from), new.1.max(to));
            }
            !touches
        });
        let at = self.0.partition_point(|range| range.0 < new.0);
        self.0.insert(at, new);
    }

    /// Returns true if all of a range is contained.
    pub(super) fn hold(&self, start: usize, n: usize) -> bool {
        let after = self.0.partition_point(|range| range.0 <= start);
        after > 0 && start + n <= self.0[after - 1].1
    }

    /// Returns true if part of a range is contained.
    pub(super) fn meet(&self, start: usize, n: usize) -> bool {
        let overlaps = |range: &(usize, usize)| range.0 < start + n && start < range.1;
        self.0.iter().any(overlaps)
    }

    /// The intersection.
    pub(super) fn both(&self, other: &Ranges) -> Ranges {
        let mut out = Ranges::default();
        for &(from, to) in &self.0 {
            for &(start, end) in &other.0 {
                let (start, end) = (from.max(start), to.min(end));
                if start < end {
                    out.add(start, end - start);
                }
            }
        }
        out
    }
}

/// A lane's memory while a step runs: written elements, and the life span of each region.
#[derive(Clone, Debug)]
pub(super) struct Flow<'a> {
    regions: &'a Regions,
    /// All elements that have a value.
    pub defined: Ranges,
    /// The elements that were written or fed, and may not be written again.
    settled: Ranges,
    /// The first and the last access to each region.
    alive: Vec<Option<(usize, usize)>>,
}

impl<'a> Flow<'a> {
    pub(super) fn new(regions: &'a Regions) -> Flow<'a> {
        Flow {
            regions,
            defined: Ranges::default(),
            settled: Ranges::default(),
            alive: vec![None; regions.all.len()],
        }
    }

    /// Keeps a region alive throughout, with its first `n` elements written from outside.
    pub(super) fn feed(&mut self, at: usize, n: usize) {
        self.defined.add(at, n);
        self.settled.add(at, n);
        self.hold(at);
    }

    /// Keeps a region alive throughout.
    pub(super) fn hold(&mut self, at: usize) {
        if let Some(k) = self.regions.find(at) {
            self.alive[k] = Some((0, usize::MAX));
        }
    }

    fn touch(&mut self, at: usize, time: usize) {
        if let Some(k) = self.regions.find(at) {
            let (_, last) = self.alive[k].get_or_insert((time, time));
            *last = time.max(*last);
        }
    }

    /// Checks a read at a time.
    pub(super) fn read(
        &mut self,
        access: Access,
        time: usize,
        faults: &mut Faults,
        say: &dyn Fn() -> String,
    ) {
        let Access { at, n, .. } = access;
        self.touch(at, time);
        faults.check(5, self.defined.hold(at, n), || {
            format!(
                "{} reads {n} elements from {at} on before they are written",
                say()
            )
        });
    }

    /// Checks a write at a time; zeros may be overwritten.
    pub(super) fn write(
        &mut self,
        access: Access,
        zeros: bool,
        time: usize,
        faults: &mut Faults,
        say: &dyn Fn() -> String,
    ) {
        let Access { at, n, .. } = access;
        self.touch(at, time);
        let anew = match zeros {
            true => self.defined.meet(at, n),
            false => self.settled.meet(at, n),
        };
        faults.check(6, !anew, || {
            format!("{} writes {n} elements from {at} on once more", say())
        });
        self.defined.add(at, n);
        if !zeros {
            self.settled.add(at, n);
        }
    }

    /// Joins the state of another path through the step.
    pub(super) fn join(&mut self, other: &Flow<'_>) {
        self.defined = self.defined.both(&other.defined);
        for (alive, other) in self.alive.iter_mut().zip(&other.alive) {
            *alive = match (*alive, *other) {
                (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
                (one, None) | (None, one) => one,
            };
        }
    }

    /// Checks rule 7.
    pub(super) fn apart(&self, way: &str, faults: &mut Faults) {
        let mut alive: Vec<(usize, usize)> = Vec::new();
        for (k, region) in self.regions.all.iter().enumerate() {
            if self.alive[k].is_some() {
                alive.push((region.at, k));
            }
        }
        alive.sort_unstable();
        for (i, (at, k)) in alive.iter().enumerate() {
            let end = at + self.regions.all[*k].size();
            for (_, other) in alive[i + 1..].iter().take_while(|(at, _)| *at < end) {
                let (a, b) = (self.alive[*k], self.alive[*other]);
                let meets = a.zip(b).is_some_and(|(a, b)| a.0 <= b.1 && b.0 <= a.1);
                faults.check(7, !meets, || {
                    format!("regions {k} and {other} {way} are alive together at one place")
                });
            }
        }
    }
}
