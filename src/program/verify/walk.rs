//! Following instructions: what each reads and writes, and whether it may.

use super::flow::{Flow, Ranges};
use super::Faults;
use crate::program::access::{self, Access};
use crate::program::code::{Area, Instr, Place, Product, Source, Sweep};
use crate::program::ir::{Program, Regions};
use crate::program::layout::{filled, Form, Layout, Slot};
use crate::program::print::terms::{Terms, Way};

/// The memories that instructions may name.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    way: Way,
    reads: &'static [Area],
    writes: &'static [Area],
}

pub(super) const FORWARD: Reach = Reach {
    way: Way::Forward,
    reads: &[Area::Lane, Area::Shared],
    writes: &[Area::Lane],
};
pub(super) const WAITING: Reach = Reach {
    reads: &[Area::Lane, Area::RecordBefore, Area::Shared],
    ..FORWARD
};
pub(super) const UPDATE: Reach = Reach {
    reads: &[Area::Record, Area::Shared],
    writes: &[],
    ..FORWARD
};
pub(super) const BACK: Reach = Reach {
    way: Way::Back,
    reads: &[Area::Lane, Area::Record, Area::Shared],
    writes: &[Area::Lane],
};
const JOINED: Reach = Reach {
    reads: &[
        Area::Lane,
        Area::Before,
        Area::Record,
        Area::RecordBefore,
        Area::Shared,
    ],
    writes: &[Area::Lane, Area::Before],
    ..BACK
};

/// The memories of a lane while instructions are followed.
pub(super) struct Walk<'a, 'f> {
    program: &'a Program,
    shared: Vec<Slot>,
    pub lane: Flow<'a>,
    /// The memory of the step that ran before, where that is at hand.
    pub before: Option<Flow<'a>>,
    /// The ranges of the record.
    pub record: Ranges,
    pub time: usize,
    /// The time in the memory of the step that ran before.
    time_before: usize,
    faults: &'f mut Faults,
}

impl<'a, 'f> Walk<'a, 'f> {
    pub(super) fn new(
        program: &'a Program,
        lane: Flow<'a>,
        faults: &'f mut Faults,
    ) -> Walk<'a, 'f> {
        let places = program.shared_places();
        Walk {
            program,
            shared: places.iter().map(|placed| placed.slot).collect(),
            lane,
            before: None,
            record: Ranges::default(),
            time: 0,
            time_before: 0,
            faults,
        }
    }

    pub(super) fn instrs(&mut self, reach: Reach, instrs: &[Instr], sweeps: &[Sweep]) {
        for instr in instrs {
            self.instr(reach, instr, sweeps);
        }
    }

    pub(super) fn instr(&mut self, reach: Reach, instr: &Instr, sweeps: &[Sweep]) {
        if let Instr::Sweep(k) = instr {
            return self.sweep(reach, &sweeps[*k]);
        }
        let terms = Terms {
            program: self.program,
            way: reach.way,
        };
        let say = || format!("`{}`", terms.instr(instr));
        self.lengths(instr, &say);
        for access in access::reads(instr) {
            let matrix = match *instr {
                Instr::MatVec {
                    m,
                    rows,
                    cols,
                    form,
                    ..
                } if access.area == Area::Shared && access.at == m => {
                    Some((form, Layout { rows, cols }))
                }
                _ => None,
            };
            match matrix {
                Some((form, layout)) => self.product(m_form(form, layout), access, &say),
                None => self.read(reach, access, access.n, &say),
            }
        }
        if let Some(access) = access::writes(instr) {
            let zeros = matches!(instr, Instr::Zero { .. });
            self.write(reach, access, access.n, zeros, &say);
        }
        self.time += 1;
    }

    /// Rule 4 of an instruction that is no sweep.
    fn lengths(&mut self, instr: &Instr, say: &dyn Fn() -> String) {
        let mut lengths = access::reads(instr)
            .into_iter()
            .chain(access::writes(instr));
        let sound = lengths.all(|access| access.n > 0);
        self.faults
            .check(4, sound, || format!("{} has no elements", say()));
        let places: Vec<Place> = match instr {
            Instr::Element { operands, .. } => operands.to_vec(),
            Instr::Sum { a, .. }
            | Instr::Max { a, .. }
            | Instr::Copy { a, .. }
            | Instr::Gather { a, .. }
            | Instr::Scatter { a, .. }
            | Instr::Softmax { a, .. }
            | Instr::AddTo { a, .. } => vec![*a],
            Instr::MatVec { v, .. } => vec![*v],
            Instr::AddOuter { a, b, .. } | Instr::KeepOuter { a, b, .. } => vec![*a, *b],
            Instr::Zero { .. } | Instr::Sweep(_) => Vec::new(),
        };
        let sound = places.iter().all(|place| place.stride <= 1);
        self.faults
            .check(4, sound, || format!("{} has a larger stride", say()));
    }

    /// A sweep of one step.
    pub(super) fn sweep(&mut self, reach: Reach, sweep: &Sweep) {
        let name = sweep.name;
        let say = || format!("sweep `{name}`");
        self.operands(reach, sweep, &say);
        for access in access::sweep_writes(sweep) {
            let whole = whole(access, sweep.layout);
            self.write(reach, access, whole, false, &say);
        }
        self.time += 1;
    }

    /// A sweep that joins two steps, at a time in the memory of the later one.
    pub(super) fn joined(&mut self, before: usize, sweep: &Sweep) {
        self.time_before = before;
        self.sweep(JOINED, sweep);
    }

    fn operands(&mut self, reach: Reach, sweep: &Sweep, say: &dyn Fn() -> String) {
        for source in access::sources(sweep) {
            match source {
                Source::Post(place) if place.stride > 0 => {
                    let access = Access::of(place, sweep.layout.cols);
                    self.read(reach, access, filled(access.n), say);
                }
                Source::Post(place) => self.read(reach, Access::of(place, 1), 1, say),
                Source::Pre(place) => {
                    let access = Access::of(place, sweep.layout.rows);
                    self.read(reach, access, access.n, say);
                }
                Source::Gathered(gathered) => {
                    let access = Access::of(gathered.from, gathered.n);
                    self.read(reach, access, access.n, say);
                }
                Source::Matrix(area, at) => {
                    let n = sweep.layout.size();
                    let access = Access { area, at, n };
                    match area {
                        Area::Shared => {
                            self.product([Form::Panels(sweep.layout); 2], access, say);
                        }
                        _ => self.read(reach, access, n, say),
                    }
                }
                Source::Temporary(_)
                | Source::State(_)
                | Source::Adjoint(_)
                | Source::Number(_) => {}
            }
        }
    }

    /// A read of elements, of which `whole` are touched.
    fn read(&mut self, reach: Reach, access: Access, whole: usize, say: &dyn Fn() -> String) {
        let Access { area, at, n } = access;
        let allowed = reach.reads.contains(&area);
        self.faults.check(3, allowed, || {
            format!("{} reads {area:?}, which is not there", say())
        });
        if !allowed {
            return;
        }
        match area {
            Area::Shared => {
                let slot = self.shared.iter().rfind(|slot| slot.at <= at);
                let sound = slot.is_some_and(|slot| {
                    let plain = slot.form == Form::Plain;
                    plain && at + n <= slot.at + slot.n && at + whole <= slot.at + slot.size()
                });
                self.faults.check(2, sound, || {
                    format!("{} reads {n} shared elements from {at} on", say())
                });
            }
            Area::Record | Area::RecordBefore => {
                let inside = at + n <= self.program.record_size;
                self.inside(&self.program.lane, access, whole, inside, say);
                let known = self.record.hold(at, n);
                self.faults.check(5, known, || {
                    format!(
                        "{} reads {n} elements of a record from {at} on, which no step writes",
                        say()
                    )
                });
            }
            Area::Lane => {
                let regions = self.regions(reach);
                self.inside(regions, access, whole, true, say);
                self.lane.read(access, self.time, self.faults, say);
            }
            Area::Before => {
                self.inside(&self.program.adjoint, access, whole, true, say);
                match &mut self.before {
                    Some(before) => before.read(access, self.time_before, self.faults, say),
                    None => self.faults.check(3, false, || {
                        format!("{} reads a step before where there is none", say())
                    }),
                }
            }
        }
    }

    fn regions(&self, reach: Reach) -> &'a Regions {
        match reach.way {
            Way::Forward => &self.program.lane,
            Way::Back => &self.program.adjoint,
        }
    }

    /// Rule 2 for elements of a lane's memory.
    fn inside(
        &mut self,
        regions: &Regions,
        access: Access,
        whole: usize,
        also: bool,
        say: &dyn Fn() -> String,
    ) {
        let Access { at, n, .. } = access;
        let region = regions.find(at).map(|k| regions.all[k]);
        let sound = region.is_some_and(|region| {
            at + n <= region.start + region.n && at + whole <= region.start + region.size()
        });
        self.faults.check(2, sound && also, || {
            format!(
                "{} names {n} elements from {at} on, which no region holds",
                say()
            )
        });
    }

    fn write(
        &mut self,
        reach: Reach,
        access: Access,
        whole: usize,
        zeros: bool,
        say: &dyn Fn() -> String,
    ) {
        let allowed = reach.writes.contains(&access.area);
        self.faults.check(3, allowed, || {
            format!("{} writes {:?}, which it may not", say(), access.area)
        });
        if !allowed {
            return;
        }
        self.inside(self.regions(reach), access, whole, true, say);
        let (flow, time) = match (access.area, &mut self.before) {
            (Area::Before, Some(before)) => (before, self.time_before),
            _ => (&mut self.lane, self.time),
        };
        flow.write(access, zeros, time, self.faults, say);
    }

    /// Rule 2 for a matrix of parameters, which must have one of these forms.
    fn product(&mut self, forms: [Form; 2], access: Access, say: &dyn Fn() -> String) {
        let mut slots = self.shared.iter();
        let sound = slots.any(|slot| slot.at == access.at && forms.contains(&slot.form));
        self.faults.check(2, sound, || {
            format!(
                "{} reads a matrix at {} that has another form",
                say(),
                access.at
            )
        });
    }

    /// Reads the results of a forward step.
    pub(super) fn results(&mut self) {
        let program = self.program;
        let outputs = program.outputs.iter().map(|(place, n)| (*place, *n));
        let nexts = program.nexts.iter().map(|(_, place, n)| (*place, *n));
        for (place, n) in outputs.chain(nexts) {
            self.time = usize::MAX;
            self.read(FORWARD, Access::of(place, n), 1, &|| "a result".to_owned());
        }
        for (place, n) in program.named.values() {
            let access = Access::of(*place, *n);
            let inside = place.at + access.n <= program.record_size;
            self.inside(&program.lane, access, 1, inside, &|| {
                "a named vector".to_owned()
            });
        }
    }

    /// Reads the results of a backward step.
    pub(super) fn handed_on(&mut self) {
        let program = self.program;
        let results = program.adjoints_out.iter().chain(&program.input_adjoints);
        for (_, place, n) in results {
            self.time = usize::MAX;
            let access = Access::of(*place, *n);
            self.read(BACK, access, 1, &|| "an adjoint".to_owned());
        }
    }
}

/// The forms in which a product reads its matrix.
fn m_form(form: Product, layout: Layout) -> [Form; 2] {
    match form {
        Product::ScaledRows => [Form::Panels(layout), Form::Transposed(layout)],
        Product::RowProducts => [Form::Rows(layout), Form::TransposedRows(layout)],
    }
}

/// The number of elements touched where these are written; sums over pre come in whole panels.
fn whole(access: Access, layout: Layout) -> usize {
    if access.n == layout.cols {
        filled(access.n)
    } else {
        access.n
    }
}
