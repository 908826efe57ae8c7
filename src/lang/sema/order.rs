//! The order of a step: each value after its dependencies, or an error about the cycle between them.

use super::analyser::{Analyser, DefinitionSource};
use super::model::{DefId, Step};
use super::scope::{Context, Symbol};
use crate::ir::StateId;
use crate::lang::diag::{Code, Diagnostic, Span};
use crate::lang::syntax::ast::{Arg, Expr, ExprKind, Path};
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::BTreeMap;

impl<'a> Analyser<'a, '_> {
    /// The definitions and updates, each after its dependencies; `None` if there is a cycle.
    pub(super) fn order(&mut self) -> Option<Vec<Step>> {
        let mut graph: DiGraph<Step, ()> = DiGraph::new();
        let mut nodes: BTreeMap<(u8, u32), NodeIndex> = BTreeMap::new();
        for k in 0..self.definitions.len() as u32 {
            nodes.insert((0, k), graph.add_node(Step::Define(DefId(k))));
        }
        for k in 0..self.states.len() as u32 {
            nodes.insert((1, k), graph.add_node(Step::Next(StateId(k))));
        }
        let key = |step: Step| match step {
            Step::Define(id) => (0, id.0),
            Step::Next(id) => (1, id.0),
        };
        let mut updates: BTreeMap<StateId, Vec<usize>> = BTreeMap::new();
        for (k, update) in self.updates.iter().enumerate() {
            updates.entry(update.target).or_default().push(k);
        }
        for (&(kind, k), &node) in &nodes {
            let mut needs = Vec::new();
            if kind == 0 {
                let pending = &self.definitions[k as usize];
                match pending.source {
                    DefinitionSource::Expr(expr) => self.needs(expr, pending.context, &mut needs),
                    DefinitionSource::Received(bundle, expr) => {
                        let context = self.transmit_contexts[&bundle];
                        self.needs(expr, context, &mut needs);
                        self.path_needs(
                            self.bundles[bundle.index()].pre_path,
                            Context::NETWORK,
                            &mut needs,
                        );
                    }
                    DefinitionSource::Silent(_) | DefinitionSource::Broken => {}
                }
            } else {
                for &at in updates.get(&StateId(k)).into_iter().flatten() {
                    let update = &self.updates[at];
                    self.needs(update.value, update.context, &mut needs);
                    for condition in &update.conditions {
                        self.needs(condition, update.context, &mut needs);
                    }
                }
            }
            let mut needed: Vec<(u8, u32)> = needs.into_iter().map(key).collect();
            needed.sort_unstable();
            needed.dedup();
            for step in needed {
                graph.add_edge(nodes[&step], node, ());
            }
        }
        // Kahn's algorithm, lowest index first, so that the order follows the text if possible.
        let mut waiting: Vec<usize> = graph
            .node_indices()
            .map(|n| graph.neighbors_directed(n, petgraph::Incoming).count())
            .collect();
        let mut ready: std::collections::BTreeSet<NodeIndex> = graph
            .node_indices()
            .filter(|n| waiting[n.index()] == 0)
            .collect();
        let mut order = Vec::with_capacity(graph.node_count());
        while let Some(node) = ready.pop_first() {
            order.push(graph[node]);
            for next in graph.neighbors(node) {
                waiting[next.index()] -= 1;
                if waiting[next.index()] == 0 {
                    ready.insert(next);
                }
            }
        }
        if order.len() == graph.node_count() {
            return Some(order);
        }
        self.report_cycle(&graph, &waiting);
        None
    }

    /// Follows dependencies backwards from a value on or behind a cycle until one repeats, and reports the
    /// cycle.
    fn report_cycle(&mut self, graph: &DiGraph<Step, ()>, waiting: &[usize]) {
        let stuck = |n: &NodeIndex| waiting[n.index()] > 0;
        let Some(mut node) = graph.node_indices().find(stuck) else {
            return;
        };
        let mut path: Vec<NodeIndex> = Vec::new();
        let cycle = loop {
            if let Some(at) = path.iter().position(|n| *n == node) {
                break &path[at..];
            }
            path.push(node);
            let mut needs: Vec<NodeIndex> = graph
                .neighbors_directed(node, petgraph::Incoming)
                .filter(stuck)
                .collect();
            needs.sort_unstable();
            match needs.first() {
                Some(next) => node = *next,
                None => return,
            }
        };
        // The cycle starts at the lowest index, so that the message does not depend on the entry point.
        let first = (0..cycle.len()).min_by_key(|k| cycle[*k]).unwrap_or(0);
        let mut names: Vec<(String, Span)> = (0..cycle.len())
            .map(|k| self.step_name(graph[cycle[(first + k) % cycle.len()]]))
            .collect();
        let (start, start_span) = names[0].clone();
        let text: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
        let message = if names.len() == 1 {
            format!("{start} needs itself within one step")
        } else {
            format!(
                "{start} needs itself within one step: {} → {start}",
                text.join(" → ")
            )
        };
        let mut diagnostic = Diagnostic::new(Code::Cycle, start_span, message)
            .with_label("a value cannot need itself")
            .with_help(
                "break the circle with a state: a bare state name is the value that entered the step",
            );
        for (name, span) in names.drain(1..).take(4) {
            diagnostic = diagnostic.with_secondary(span, format!("through {name}"));
        }
        self.diagnostics.push(diagnostic);
    }

    fn step_name(&self, step: Step) -> (String, Span) {
        match step {
            Step::Define(id) => {
                let definition = &self.definitions[id.index()];
                (format!("`{}`", definition.path), definition.span)
            }
            Step::Next(id) => {
                let span = self
                    .updates
                    .iter()
                    .find(|u| u.target == id)
                    .map(|u| u.target_span)
                    .or(self.states[id.index()].span);
                (
                    format!("`next {}`", self.states[id.index()].path),
                    span.expect("states of a spec have a declaration"),
                )
            }
        }
    }

    fn needs(&self, expr: &Expr, context: Context, needs: &mut Vec<Step>) {
        let mut stack = vec![(expr, context)];
        while let Some((expr, context)) = stack.pop() {
            match &expr.kind {
                ExprKind::Number { .. } | ExprKind::Text(_) | ExprKind::External(_) => {}
                ExprKind::List(items) => stack.extend(items.iter().map(|e| (e, context))),
                ExprKind::Name(path) => {
                    if let (Some(rule), 1) = (context.rule, path.parts.len()) {
                        let name = path.parts[0].name.as_str();
                        if let Some((argument, inner)) = self.instances[rule].arguments.get(name) {
                            stack.push((argument, *inner));
                            continue;
                        }
                    }
                    self.path_needs(path, context, needs);
                }
                ExprKind::Next(path) => {
                    if let Some(Symbol::State(id)) = self.lookup(path, context) {
                        needs.push(Step::Next(id));
                    }
                }
                ExprKind::Unary(_, x) => stack.push((x, context)),
                ExprKind::Binary(_, a, b) => stack.extend([(&**a, context), (&**b, context)]),
                // The number of neurons of a side is known before any of them is active.
                ExprKind::Call { function, args }
                    if matches!(function.name.as_str(), "size" | "index")
                        && is_side(args, context) => {}
                // What a delay keeps is of an earlier step.
                ExprKind::Call { function, .. } if function.name == "delay" => {}
                ExprKind::Call { args, .. } => {
                    stack.extend(args.iter().map(|arg| (&arg.value, context)));
                }
                ExprKind::Element { base, index } => {
                    stack.extend([(&**base, context), (&**index, context)]);
                }
                ExprKind::Slice { base, start, end } => {
                    stack.extend([(&**base, context), (&**start, context), (&**end, context)]);
                }
            }
        }
    }

    fn path_needs(&self, path: &Path, context: Context, needs: &mut Vec<Step>) {
        if let (Some(bundle), 1) = (context.bundle, path.parts.len()) {
            let bundle = &self.bundles[bundle.index()];
            match path.parts[0].name.as_str() {
                "pre" => return self.path_needs(bundle.pre_path, Context::NETWORK, needs),
                "post" => return self.path_needs(bundle.post_path, Context::NETWORK, needs),
                _ => {}
            }
        }
        match self.lookup(path, context) {
            Some(Symbol::Definition(id)) => needs.push(Step::Define(id)),
            Some(Symbol::Bundle(bundle)) => needs.push(Step::Define(self.received[&bundle])),
            Some(Symbol::Input(_) | Symbol::State(_) | Symbol::Noise(_) | Symbol::Param(_))
            | None => {}
        }
    }

    /// The symbol of a path, without reports; rule parameters, `pre`, `post` and sizes are ignored.
    pub(super) fn lookup(&self, path: &Path, context: Context) -> Option<Symbol> {
        let name = path.parts[0].name.as_str();
        match path.parts.len() {
            1 => {
                if let Some(bundle) = context.bundle {
                    if let Some(named) = self.bundles[bundle.index()].names.get(name) {
                        return Some(named.symbol);
                    }
                }
                if context.rule.is_some() {
                    return None;
                }
                self.names.get(name).map(|named| named.symbol)
            }
            2 => match self.names.get(name).map(|named| named.symbol) {
                Some(Symbol::Bundle(bundle)) => self.bundles[bundle.index()]
                    .names
                    .get(&path.parts[1].name)
                    .map(|named| named.symbol),
                Some(
                    Symbol::Input(_)
                    | Symbol::State(_)
                    | Symbol::Noise(_)
                    | Symbol::Param(_)
                    | Symbol::Definition(_),
                )
                | None => None,
            },
            _ => None,
        }
    }
}

/// Returns true if the only argument of a call in a bundle is `pre` or `post`.
fn is_side(args: &[Arg], context: Context) -> bool {
    let [argument] = args else { return false };
    match &argument.value.kind {
        ExprKind::Name(path) if context.bundle.is_some() && path.parts.len() == 1 => {
            matches!(path.parts[0].name.as_str(), "pre" | "post")
        }
        _ => false,
    }
}
