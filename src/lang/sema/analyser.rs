//! The analyser: the tables that a spec fills, and the order of the stages that fill them.

use super::blocks;
use super::cells::Expansion;
use super::delays::PendingDelay;
use super::firsts::PendingFirst;
use super::layers::{CallParams, CallPlace};
use super::model::{
    Bundle, BundleId, DefId, DefKind, Definition, Expr, ExprKind, First, Model, Region, Step,
    TaskModel, TrainModel, Type,
};
use super::overrides::Overrides;
use super::scope::{refuse_side, Context, Named, Names, RuleInstance, Symbol};
use super::sizes::{SizeExpr, SizeTable, SizeVar};
use crate::ir::{InputId, InputSlot, NoiseSlot, ParamId, ParamSlot, StateId, StateSlot};
use crate::lang::catalog::Catalog;
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::syntax::ast;
use std::collections::{BTreeMap, BTreeSet};

/// A definition whose expression is not resolved yet.
pub(super) struct PendingDefinition<'a> {
    pub path: String,
    pub kind: DefKind,
    /// The size between brackets, `y: [8] = ...`.
    pub size: Option<&'a ast::Expr>,
    pub source: DefinitionSource<'a>,
    pub context: Context,
    pub span: Span,
}

/// The origin of the value of a definition.
#[derive(Clone, Copy)]
pub(super) enum DefinitionSource<'a> {
    /// An expression of the spec.
    Expr(&'a ast::Expr),
    /// The input that a bundle delivers: the sum over pre of this effective weight times pre.
    Received(BundleId, &'a ast::Expr),
    /// Nothing: a bundle without `transmit`.
    Silent(BundleId),
    /// A value with an error that was already reported.
    Broken,
}

/// An update `target <- value` with its regions and conditions.
pub(super) struct PendingUpdate<'a> {
    pub target: StateId,
    pub target_span: Span,
    pub value: &'a ast::Expr,
    pub context: Context,
    pub regions: Vec<RegionSource<'a>>,
    pub conditions: Vec<&'a ast::Expr>,
}

/// An update whose target was not declared yet: target, value, context, regions, conditions.
pub(super) type LateUpdate<'a> = (
    &'a ast::Ident,
    &'a ast::Expr,
    Context,
    Vec<RegionSource<'a>>,
    Vec<&'a ast::Expr>,
);

/// A region `on post[start .. end]` before sizes are known.
#[derive(Clone, Copy)]
pub(super) struct RegionSource<'a> {
    pub side: super::model::Side,
    pub start: &'a ast::Expr,
    pub end: &'a ast::Expr,
    pub span: Span,
}

/// A region whose bounds wait for sizes.
pub(super) struct PendingRegion {
    pub start: SizeExpr,
    pub end: SizeExpr,
    pub size: SizeVar,
    /// True for the element `x[3]`.
    pub is_element: bool,
    pub span: Span,
}

/// A bundle with the names declared in it.
pub(super) struct BundleScope<'a> {
    pub name: &'a ast::Ident,
    pub pre_path: &'a ast::Path,
    pub post_path: &'a ast::Path,
    pub pre: SizeVar,
    pub post: SizeVar,
    pub names: Names,
    pub rule: Option<String>,
    /// The default for when traces are reset.
    pub reset: Option<&'a ast::Ident>,
    pub transmits: Vec<(&'a ast::Expr, Context, Span)>,
    /// The mask of `connect where`.
    pub connect: Option<(&'a ast::Expr, Context, Span)>,
    /// The constant that it names.
    pub mask: Option<ParamId>,
}

/// A parameter before sizes are known.
pub(super) struct PendingParam {
    pub slot: ParamSlot,
    pub ty: ParamType,
}

/// The dimensions of a parameter before sizes are known.
#[derive(Clone, Copy)]
pub(super) enum ParamType {
    /// The type of a value of the language.
    Value(Type),
    /// The `[from, to]` matrix of `linear`.
    Matrix(SizeVar, SizeVar),
    /// The numbers from 0 of the elements of a vector of this size.
    Index(SizeVar),
    /// A matrix or bias drawn from uniform(±1/sqrt(from)) once `from` is known; `bias` tells which.
    FanIn {
        from: SizeVar,
        to: SizeVar,
        bias: bool,
    },
}

pub(super) struct Analyser<'a, 'd> {
    pub diagnostics: &'d mut Diagnostics,
    pub overrides: &'a Overrides,
    /// The available tasks, trainers and optimizers.
    pub catalog: &'a Catalog,
    /// Paths that `--set` may name.
    pub known_paths: BTreeSet<String>,
    pub files: &'a [ast::File],
    /// The network with its cells expanded.
    pub expansion: &'a Expansion,
    pub rules: BTreeMap<&'a str, (&'a ast::Ident, &'a [ast::RuleParam], &'a [ast::Stmt])>,
    pub dims: BTreeMap<&'a str, (SizeExpr, Span)>,
    pub task: Option<TaskModel>,
    /// True if there is a `task` block, even a broken one.
    pub task_named: bool,
    pub train: Option<TrainModel>,
    pub sizes: SizeTable,
    pub params: Vec<PendingParam>,
    pub inputs: Vec<InputSlot>,
    pub input_types: Vec<Type>,
    pub states: Vec<StateSlot>,
    /// The states that count steps, by the number that they count to.
    pub counters: BTreeMap<u32, StateId>,
    pub state_types: Vec<Type>,
    /// Computed first values, each with the state that tells where it is taken.
    pub firsts: BTreeMap<StateId, (PendingFirst<'a>, StateId)>,
    /// The seeds of masks, by their paths.
    pub seeds: BTreeMap<String, (u64, Span)>,
    pub noises: Vec<NoiseSlot>,
    pub noise_types: Vec<Type>,
    pub names: Names,
    pub bundles: Vec<BundleScope<'a>>,
    pub instances: Vec<RuleInstance<'a>>,
    pub definitions: Vec<PendingDefinition<'a>>,
    /// The types and expressions of the definitions resolved so far.
    pub resolved: Vec<Option<Expr>>,
    pub updates: Vec<PendingUpdate<'a>>,
    /// Updates that precede the declaration of their target.
    pub late_updates: Vec<LateUpdate<'a>>,
    /// The definition of the input that each bundle delivers.
    pub received: BTreeMap<BundleId, DefId>,
    /// The sides of bundles that are values of this step, until those are resolved.
    pub sides: BTreeMap<DefId, Vec<(&'a ast::Path, SizeVar)>>,
    /// The inputs that carry signals of the task, by signal.
    pub externals: BTreeMap<String, InputId>,
    /// The targets that are as large as an output: its name, the size, and where it is read.
    pub open_targets: Vec<(String, SizeVar, Span)>,
    /// The definition being resolved; parameters of `linear` and `fanout` in it are named after it.
    pub owner: String,
    /// The number of parameters of each function in this definition so far.
    pub owner_counts: BTreeMap<&'static str, usize>,
    /// The parameters of each call of `linear` and `fanout`.
    pub call_params: BTreeMap<CallPlace, CallParams>,
    /// The constants of calls of `index`.
    pub indices: BTreeMap<CallPlace, ParamId>,
    /// The delays that are not resolved yet.
    pub delays: BTreeMap<CallPlace, PendingDelay<'a>>,
    /// The number of operations resolved so far.
    pub nodes: usize,
    /// The factors on gradients: path, place, factor.
    pub grad_scales: Vec<(String, Span, f64)>,
    /// The context of each bundle's `transmit`.
    pub transmit_contexts: BTreeMap<BundleId, Context>,
    pub regions: Vec<PendingRegion>,
    pub outputs: Vec<DefId>,
}

impl<'a, 'd> Analyser<'a, 'd> {
    pub(super) fn new(
        files: &'a [ast::File],
        expansion: &'a Expansion,
        overrides: &'a Overrides,
        catalog: &'a Catalog,
        diagnostics: &'d mut Diagnostics,
    ) -> Analyser<'a, 'd> {
        Analyser {
            diagnostics,
            overrides,
            catalog,
            known_paths: expansion.known_paths.clone(),
            files,
            expansion,
            rules: BTreeMap::new(),
            dims: BTreeMap::new(),
            task: None,
            task_named: false,
            train: None,
            sizes: SizeTable::default(),
            params: Vec::new(),
            inputs: Vec::new(),
            input_types: Vec::new(),
            states: Vec::new(),
            counters: BTreeMap::new(),
            state_types: Vec::new(),
            firsts: BTreeMap::new(),
            seeds: BTreeMap::new(),
            noises: Vec::new(),
            noise_types: Vec::new(),
            names: Names::new(),
            bundles: Vec::new(),
            instances: Vec::new(),
            definitions: Vec::new(),
            resolved: Vec::new(),
            updates: Vec::new(),
            late_updates: Vec::new(),
            received: BTreeMap::new(),
            transmit_contexts: BTreeMap::new(),
            sides: BTreeMap::new(),
            externals: BTreeMap::new(),
            open_targets: Vec::new(),
            owner: String::new(),
            owner_counts: BTreeMap::new(),
            call_params: BTreeMap::new(),
            indices: BTreeMap::new(),
            delays: BTreeMap::new(),
            nodes: 0,
            grad_scales: Vec::new(),
            regions: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Runs all stages in order; `None` if errors leave no model.
    pub(super) fn run(mut self) -> Option<Model> {
        self.collect_rules();
        self.collect_dims();
        self.task_named = self.blocks("task").next().is_some();
        self.evaluate_dims();
        self.task = blocks::task(&mut self);
        self.evaluate_dims();
        self.report_dims();
        self.train = blocks::train(&mut self);
        let network = self.find_network();
        if let Some((_, body)) = network {
            self.declare_network(body);
            self.match_late_updates();
            self.match_bundle_leaves();
            if let Some(mut order) = self.order() {
                for step in &order {
                    if let Step::Define(id) = step {
                        self.resolve_definition(*id);
                    }
                }
                let mut nexts = self.resolve_updates();
                self.count(&mut order, &mut nexts);
                let firsts = self.resolve_firsts(&mut order, &mut nexts);
                self.resolve_delays(&mut order, &mut nexts);
                return self.finish(network?.0, order, nexts, firsts);
            }
        }
        let known = std::mem::take(&mut self.known_paths);
        if network.is_some() {
            self.overrides.report_unknown(&known, self.diagnostics);
        }
        None
    }

    fn collect_rules(&mut self) {
        let files = self.files;
        for item in files.iter().flat_map(|file| &file.items) {
            if let ast::ItemKind::Rule { name, params, body } = &item.kind {
                if let Some((earlier, ..)) = self.rules.get(name.name.as_str()) {
                    let earlier = earlier.span;
                    self.duplicate("rule", name, earlier);
                } else {
                    for param in params {
                        refuse_side(&param.name.name, param.name.span, self.diagnostics);
                    }
                    self.rules.insert(&name.name, (name, params, body));
                }
            }
        }
    }

    pub(super) fn duplicate(&mut self, what: &str, name: &ast::Ident, earlier: Span) {
        self.diagnostics.push(
            Diagnostic::new(
                Code::Duplicate,
                name.span,
                format!("{what} `{}` is declared twice", name.name),
            )
            .with_label("again here")
            .with_secondary(earlier, "first declared here"),
        );
    }

    /// All blocks with the keyword `keyword`.
    pub(super) fn blocks(&self, keyword: &'a str) -> impl Iterator<Item = &'a ast::Block> + 'a {
        self.files
            .iter()
            .flat_map(|file| &file.items)
            .filter_map(move |item| match &item.kind {
                ast::ItemKind::Block(block) if block.keyword.name == keyword => Some(block),
                ast::ItemKind::Block(_)
                | ast::ItemKind::Version
                | ast::ItemKind::Import { .. }
                | ast::ItemKind::Dim { .. }
                | ast::ItemKind::Rule { .. }
                | ast::ItemKind::Cell { .. }
                | ast::ItemKind::Network { .. } => None,
            })
    }

    fn find_network(&mut self) -> Option<(&'a ast::Ident, &'a [ast::Stmt])> {
        let files = self.files;
        let mut found: Option<(&'a ast::Ident, &'a [ast::Stmt])> = None;
        for item in files.iter().flat_map(|file| &file.items) {
            if let ast::ItemKind::Network { name, body } = &item.kind {
                match found {
                    Some((first, _)) => {
                        self.diagnostics.push(
                            Diagnostic::new(
                                Code::Duplicate,
                                name.span,
                                "an experiment has one network, and this is the second",
                            )
                            .with_secondary(first.span, "the first is here"),
                        );
                    }
                    None => {
                        let body = self.expansion.network.as_ref().unwrap_or(body);
                        found = Some((name, body));
                    }
                }
            }
        }
        found
    }

    /// Adds a name to the scope of the network or of a bundle.
    pub(super) fn bind(&mut self, context: Context, name: &ast::Ident, symbol: Symbol) {
        let named = Named {
            symbol,
            span: name.span,
        };
        let names = match context.bundle {
            Some(bundle) => {
                refuse_side(&name.name, name.span, self.diagnostics);
                &mut self.bundles[bundle.index()].names
            }
            None => &mut self.names,
        };
        let earlier = names.get(&name.name).map(|n| n.span);
        match earlier {
            Some(earlier) => self.duplicate("the name", name, earlier),
            None => {
                names.insert(name.name.clone(), named);
            }
        }
    }

    /// The path of a name declared in `context`.
    pub(super) fn path(&self, context: Context, name: &str) -> String {
        match context.bundle {
            Some(bundle) => format!("{}.{name}", self.bundles[bundle.index()].name.name),
            None => name.to_owned(),
        }
    }

    fn finish(
        mut self,
        name: &ast::Ident,
        order: Vec<Step>,
        nexts: Vec<Option<Expr>>,
        firsts: Vec<First>,
    ) -> Option<Model> {
        let known = std::mem::take(&mut self.known_paths);
        self.overrides.report_unknown(&known, self.diagnostics);
        self.size_targets();
        let sizes = self.sizes.solve(self.diagnostics);
        let regions = self.solve_regions();
        if self.diagnostics.has_errors() {
            return None;
        }
        let masks: Vec<Option<ParamId>> = self.bundles.iter().map(|b| b.mask).collect();
        let definitions = std::mem::take(&mut self.definitions)
            .into_iter()
            .zip(std::mem::take(&mut self.resolved))
            .map(|(pending, expr)| Definition {
                path: pending.path,
                kind: pending.kind,
                expr: expr.unwrap_or(Expr {
                    kind: ExprKind::Poison,
                    ty: Type::Poison,
                    span: pending.span,
                }),
                span: pending.span,
            })
            .collect();
        let mut model = Model {
            name: name.name.clone(),
            params: Vec::new(),
            inputs: Vec::new(),
            states: Vec::new(),
            noises: Vec::new(),
            param_types: Vec::new(),
            state_types: self.state_types,
            noise_types: self.noise_types,
            order,
            definitions,
            nexts,
            firsts,
            outputs: self.outputs,
            bundles: self
                .bundles
                .into_iter()
                .map(|b| Bundle {
                    name: b.name.name.clone(),
                    pre: b.pre,
                    post: b.post,
                    same_state: same_state(&self.names, b.pre_path, b.post_path),
                    rule: b.rule,
                    connections: None,
                    span: b.name.span,
                })
                .collect(),
            regions,
            sizes,
            task: self.task,
            train: self.train,
        };
        super::finish::refuse_poison(&model, self.diagnostics);
        super::finish::refuse_ranks(&model, self.diagnostics);
        super::connections::connect(
            &mut model,
            &masks,
            &mut self.params,
            &self.seeds,
            self.diagnostics,
        );
        super::finish::fill_slots(
            &mut model,
            self.params,
            self.inputs,
            &self.input_types,
            self.states,
            self.noises,
            self.diagnostics,
        );
        super::finish::apply_grad_scales(&mut model, &self.grad_scales, self.diagnostics);
        if let Some(task) = &mut model.task {
            // A task that reads files reads what is used.
            task.ports
                .signals
                .retain(|name| self.externals.contains_key(name));
        }
        super::ports::check(&model, self.diagnostics);
        super::ports::give_states(&mut model, self.diagnostics);
        (!self.diagnostics.has_errors()).then_some(model)
    }

    fn solve_regions(&mut self) -> Vec<Region> {
        let pending = std::mem::take(&mut self.regions);
        pending
            .iter()
            .map(|region| {
                let start = self.sizes.evaluate(&region.start);
                let end = self.sizes.evaluate(&region.end);
                let size = self.sizes.get(region.size).unwrap_or(1);
                match (start, end) {
                    (Ok(start), Ok(end)) if start <= end && end <= size => Region {
                        start: start as usize,
                        end: end as usize,
                    },
                    (Ok(start), Ok(_)) if region.is_element => {
                        self.diagnostics.push(
                            Diagnostic::new(
                                Code::BadSize,
                                region.span,
                                format!("there is no element {start} of something of size {size}"),
                            )
                            .with_help(format!(
                                "elements are numbered from 0; the last one is {}",
                                size - 1
                            )),
                        );
                        Region { start: 0, end: 0 }
                    }
                    (Ok(start), Ok(end)) => {
                        self.diagnostics.push(
                            Diagnostic::new(
                                Code::BadSize,
                                region.span,
                                format!(
                                    "`{start} .. {end}` is no range of something of size {size}"
                                ),
                            )
                            .with_help(format!(
                                "ranges run from 0 to {size}; the end is not included"
                            )),
                        );
                        Region { start: 0, end: 0 }
                    }
                    (Err(fault), _) | (_, Err(fault)) => {
                        if let super::sizes::SizeFault::Arithmetic(span) = fault {
                            self.diagnostics.push(super::sizes::arithmetic(span));
                        }
                        Region { start: 0, end: 0 }
                    }
                }
            })
            .collect()
    }
}

/// The place of the post side, where both sides are the same state of the network.
fn same_state(names: &Names, pre: &ast::Path, post: &ast::Path) -> Option<Span> {
    let ([pre], [name]) = (&pre.parts[..], &post.parts[..]) else {
        return None;
    };
    let state = matches!(
        names.get(&name.name),
        Some(Named {
            symbol: Symbol::State(_),
            ..
        })
    );
    (state && pre.name == name.name).then_some(post.span)
}
