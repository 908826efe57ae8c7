//! Rules 2 to 7: what is read and written, in the order in which a step runs.

use super::flow::{Flow, Ranges};
use super::Faults;
use crate::program::access::{self, Access};
use crate::program::code::{Area, Instr, Place, Product, Source, Sweep};
use crate::program::ir::{Home, Program, Regions};
use crate::program::layout::{filled, Form, Layout, Slot};
use crate::program::print::terms::{Terms, Way};

pub(super) fn check(program: &Program, faults: &mut Faults) {
    let record = forward(program, faults);
    back(program, &record, faults);
}

/// Which memories instructions may name.
#[derive(Clone, Copy)]
struct Reach {
    way: Way,
    reads: &'static [Area],
    writes: &'static [Area],
}

const FORWARD: Reach = Reach {
    way: Way::Forward,
    reads: &[Area::Lane, Area::Shared],
    writes: &[Area::Lane],
};
const WAITING: Reach = Reach {
    reads: &[Area::Lane, Area::RecordBefore, Area::Shared],
    ..FORWARD
};
const UPDATE: Reach = Reach {
    reads: &[Area::Record, Area::Shared],
    writes: &[],
    ..FORWARD
};
const BACK: Reach = Reach {
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
struct Walk<'a, 'f> {
    program: &'a Program,
    shared: Vec<Slot>,
    lane: Flow<'a>,
    /// The memory of the step that ran before, where that is at hand.
    before: Option<Flow<'a>>,
    /// What the record holds.
    record: Ranges,
    time: usize,
    /// The time in the memory of the step that ran before.
    time_before: usize,
    faults: &'f mut Faults,
}

/// Follows a step forward; returns what its record holds.
fn forward(program: &Program, faults: &mut Faults) -> Ranges {
    let ahead = &program.ahead;
    let mut start = Flow::new(&program.lane);
    for slot in program.inputs.iter().chain(&program.noises).flatten() {
        start.feed(slot.at, slot.size());
    }
    for home in &program.homes {
        if let Home::Vector {
            step: Some(at), n, ..
        } = home
        {
            start.feed(*at, *n);
        }
    }
    for region in &program.lane.all {
        if region.start < program.record_size {
            start.hold(region.start);
        }
    }
    let mut walk = Walk::new(program, start.clone(), faults);
    for instr in &ahead.instrs {
        walk.instr(FORWARD, instr, &ahead.sweeps);
    }
    walk.results();
    let alone = walk.lane;
    // What is kept of a step is what it has written.
    let record = alone.defined.clone();
    let mut walk = Walk::new(program, start, faults);
    walk.record = record.clone();
    for update in &ahead.updates {
        walk.sweep(UPDATE, update);
    }
    let mut both = alone.clone();
    if ahead.deferred {
        walk.time = 0;
        for k in &ahead.apart {
            walk.sweep(WAITING, &ahead.sweeps[*k]);
        }
        walk.time = 0;
        for instr in &ahead.instrs {
            match instr {
                Instr::Sweep(k) if ahead.merged[*k].is_some() => {
                    let merged = ahead.merged[*k].unwrap_or(*k);
                    walk.sweep(WAITING, &ahead.sweeps[merged]);
                }
                other => walk.instr(FORWARD, other, &ahead.sweeps),
            }
        }
        walk.results();
        both.join(&walk.lane);
    }
    both.apart("forward", faults);
    record
}

/// Follows the last step back and what is left after the first, then a step back with a later one.
fn back(program: &Program, record: &Ranges, faults: &mut Faults) {
    let back = &program.back;
    let mut fed = Flow::new(&program.adjoint);
    for slot in program.seeds.iter().flatten() {
        fed.feed(slot.at, slot.size());
    }
    let mut last = fed.clone();
    adjoints(program, &mut last);
    let mut walk = Walk::new(program, last, faults);
    walk.record = record.clone();
    walk.instrs(BACK, &back.early, &back.sweeps);
    for opening in &back.opening {
        walk.sweep(BACK, &back.sweeps[opening.alone]);
    }
    walk.instrs(BACK, &back.main, &back.sweeps);
    let (end, done) = (walk.time, walk.lane.clone());
    for k in &back.closing {
        walk.sweep(BACK, &back.sweeps[*k]);
    }
    walk.instrs(BACK, &back.late, &back.sweeps);
    walk.handed_on();
    let mut all = walk.lane;

    let mut walk = Walk::new(program, fed, faults);
    walk.record = record.clone();
    walk.instrs(BACK, &back.early, &back.sweeps);
    walk.before = Some(done);
    for (k, opening) in back.opening.iter().enumerate() {
        walk.joined(end + k, &back.sweeps[opening.merged]);
    }
    // What follows in the memory of the later step, while this one waits.
    let time = walk.time;
    if let Some(before) = walk.before.take() {
        let this = std::mem::replace(&mut walk.lane, before);
        walk.time = end + back.opening.len();
        walk.instrs(BACK, &back.late, &back.sweeps);
        walk.handed_on();
        all.join(&walk.lane);
        walk.lane = this;
    }
    adjoints(program, &mut walk.lane);
    walk.time = time;
    walk.instrs(BACK, &back.main, &back.sweeps);
    all.join(&walk.lane);
    all.apart("back", faults);
}

/// Feeds the adjoints of leaving states.
fn adjoints(program: &Program, flow: &mut Flow<'_>) {
    for home in &program.homes {
        if let Home::Vector {
            adjoint: Some(at),
            n,
            ..
        } = home
        {
            flow.feed(*at, *n);
        }
    }
}

impl<'a, 'f> Walk<'a, 'f> {
    fn new(program: &'a Program, lane: Flow<'a>, faults: &'f mut Faults) -> Walk<'a, 'f> {
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

    fn instrs(&mut self, reach: Reach, instrs: &[Instr], sweeps: &[Sweep]) {
        for instr in instrs {
            self.instr(reach, instr, sweeps);
        }
    }

    fn instr(&mut self, reach: Reach, instr: &Instr, sweeps: &[Sweep]) {
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
    fn sweep(&mut self, reach: Reach, sweep: &Sweep) {
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
    fn joined(&mut self, before: usize, sweep: &Sweep) {
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

    /// What is read after a step forward.
    fn results(&mut self) {
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

    /// What is read after a step back.
    fn handed_on(&mut self) {
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

/// How many elements are touched where these are written; sums over pre come in whole panels.
fn whole(access: Access, layout: Layout) -> usize {
    if access.n == layout.cols {
        filled(access.n)
    } else {
        access.n
    }
}
