//! Compile-time numbers and sizes: `dim`s, task sizes, arguments of rules, arithmetic.

use super::analyser::Analyser;
use super::scope::{Context, Symbol};
use super::sizes::{check_size, SizeExpr, SizeFault};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::syntax::ast::{
    BinaryOp, Expr, ExprKind, Ident, Initialiser, ItemKind, Path, UnaryOp,
};
use petgraph::graph::{DiGraph, NodeIndex};
use std::collections::BTreeMap;

/// The name of a `dim` and its value.
type Dim<'a> = (&'a Ident, &'a Expr);

impl<'a> Analyser<'a, '_> {
    pub(super) fn collect_dims(&mut self) {
        let files = self.files;
        for item in files.iter().flat_map(|file| &file.items) {
            if let ItemKind::Dim { name, .. } = &item.kind {
                if let Some((_, earlier)) = self.dims.get(name.name.as_str()) {
                    let earlier = *earlier;
                    self.duplicate("dim", name, earlier);
                } else {
                    // The dim has no value yet: `evaluate_dims` replaces the poison.
                    self.dims.insert(&name.name, (SizeExpr::Poison, name.span));
                    self.known_paths.insert(name.name.clone());
                }
            }
        }
    }

    /// The expression of a `dim`, or its override.
    fn dim_value(&self, name: &str, value: &'a Expr) -> &'a Expr {
        match self.overrides.get(name) {
            Some((Initialiser::Value(value) | Initialiser::Draw(value), _)) => value,
            None => value,
        }
    }

    /// Evaluates all dims that have values by now, each after those it names.
    pub(super) fn evaluate_dims(&mut self) {
        for (name, value) in self.ordered_dims().0 {
            if !self.is_open_dim(name) {
                continue;
            }
            let mut quiet = Diagnostics::counting();
            let expr = self.size_expr_into(value, Context::NETWORK, &mut quiet);
            if let Ok(size) = self.sizes.evaluate(&expr) {
                if check_size(size, value.span).is_none() {
                    self.dims
                        .insert(&name.name, (SizeExpr::Constant(size), name.span));
                }
            }
        }
    }

    fn is_open_dim(&self, name: &Ident) -> bool {
        matches!(
            self.dims.get(name.name.as_str()),
            Some((SizeExpr::Poison, _))
        )
    }

    /// The dims with values, each after those it names; then the cycles among the rest.
    fn ordered_dims(&self) -> (Vec<Dim<'a>>, Vec<Vec<Dim<'a>>>) {
        let mut graph: DiGraph<Dim<'a>, ()> = DiGraph::new();
        let mut nodes: BTreeMap<&str, NodeIndex> = BTreeMap::new();
        let files = self.files;
        for item in files.iter().flat_map(|file| &file.items) {
            if let ItemKind::Dim { name, value } = &item.kind {
                nodes.entry(&name.name).or_insert_with(|| {
                    let value = self.dim_value(&name.name, value);
                    graph.add_node((name, value))
                });
            }
        }
        for node in graph.node_indices() {
            let mut needed: Vec<NodeIndex> = expr_paths(graph[node].1)
                .iter()
                .filter(|path| path.parts.len() == 1)
                .filter_map(|path| nodes.get(path.parts[0].name.as_str()).copied())
                .collect();
            needed.sort_unstable();
            needed.dedup();
            for other in needed {
                graph.add_edge(other, node, ());
            }
        }
        // Of the two algorithms in petgraph, this one does not recurse.
        let mut components = petgraph::algo::kosaraju_scc(&graph);
        components.reverse();
        let (mut ordered, mut circles) = (Vec::new(), Vec::new());
        for mut component in components {
            let itself = |node: NodeIndex| graph.contains_edge(node, node);
            match component[..] {
                [node] if !itself(node) => ordered.push(graph[node]),
                _ => {
                    component.sort_unstable();
                    circles.push(component.iter().map(|node| graph[*node]).collect());
                }
            }
        }
        (ordered, circles)
    }

    /// Reports dims without a value. Dims that only depend on a broken one are skipped.
    pub(super) fn report_dims(&mut self) {
        let (ordered, circles) = self.ordered_dims();
        for (name, value) in ordered {
            if !self.is_open_dim(name) {
                continue;
            }
            let size = self.size_expr(value, Context::NETWORK);
            match self.sizes.evaluate(&size) {
                Ok(size) => {
                    if let Some(diagnostic) = check_size(size, value.span) {
                        self.diagnostics.push(diagnostic);
                    }
                }
                Err(SizeFault::Arithmetic(span)) => {
                    self.diagnostics.push(super::sizes::arithmetic(span));
                }
                Err(SizeFault::Unknown(_) | SizeFault::Poison) => {}
            }
        }
        for circle in circles {
            let (name, value) = circle[0];
            let mut diagnostic = Diagnostic::new(
                Code::Cycle,
                name.span,
                format!("dim `{}` depends on itself", name.name),
            )
            .with_secondary(value.span, "through this");
            for (name, value) in circle[1..].iter().take(4) {
                diagnostic =
                    diagnostic.with_secondary(value.span, format!("and through `{}`", name.name));
            }
            self.diagnostics
                .push(diagnostic.with_help("give one of them a number: `dim n = 100`"));
        }
    }

    /// Evaluates a size and reports errors.
    pub(super) fn size_expr(&mut self, expr: &Expr, context: Context) -> SizeExpr {
        let mut found = Diagnostics::new();
        let size = self.size_expr_into(expr, context, &mut found);
        for diagnostic in found.iter() {
            self.diagnostics.push(diagnostic.clone());
        }
        size
    }

    fn size_expr_into(
        &self,
        expr: &Expr,
        context: Context,
        diagnostics: &mut Diagnostics,
    ) -> SizeExpr {
        match &expr.kind {
            ExprKind::Number { value, .. } => {
                if *value >= 0.0 && value.fract() == 0.0 && *value <= 9e15 {
                    SizeExpr::Constant(*value as u64)
                } else {
                    diagnostics.push(
                        Diagnostic::new(
                            Code::BadSize,
                            expr.span,
                            "a size is a whole number from 1",
                        )
                        .with_label("not a whole number"),
                    );
                    SizeExpr::Poison
                }
            }
            ExprKind::Binary(
                op @ (BinaryOp::Add
                | BinaryOp::Subtract
                | BinaryOp::Multiply
                | BinaryOp::Divide
                | BinaryOp::Power),
                a,
                b,
            ) => SizeExpr::Binary(
                *op,
                Box::new(self.size_expr_into(a, context, diagnostics)),
                Box::new(self.size_expr_into(b, context, diagnostics)),
                expr.span,
            ),
            ExprKind::Name(path) => self.size_name(path, context, diagnostics),
            ExprKind::Call { function, args } if function.name == "size" && args.len() == 1 => {
                match &args[0].value.kind {
                    ExprKind::Name(path) => self.size_of_name(path, context, diagnostics),
                    ExprKind::Number { .. }
                    | ExprKind::Text(_)
                    | ExprKind::List(_)
                    | ExprKind::Next(_)
                    | ExprKind::External(_)
                    | ExprKind::Unary(..)
                    | ExprKind::Binary(..)
                    | ExprKind::Call { .. }
                    | ExprKind::Element { .. }
                    | ExprKind::Slice { .. } => {
                        diagnostics.push(not_a_size(expr.span).with_help(
                            "`size` takes a name here: `size(h)`, `size(pre)` or `size(post)`",
                        ));
                        SizeExpr::Poison
                    }
                }
            }
            ExprKind::Text(_)
            | ExprKind::List(_)
            | ExprKind::Next(_)
            | ExprKind::External(_)
            | ExprKind::Unary(..)
            | ExprKind::Binary(..)
            | ExprKind::Call { .. }
            | ExprKind::Element { .. }
            | ExprKind::Slice { .. } => {
                diagnostics.push(not_a_size(expr.span));
                SizeExpr::Poison
            }
        }
    }

    fn size_name(&self, path: &Path, context: Context, diagnostics: &mut Diagnostics) -> SizeExpr {
        let first = path.parts[0].name.as_str();
        if path.parts.len() == 1 {
            if let Some(rule) = context.rule {
                if let Some((argument, inner)) = self.instances[rule].arguments.get(first) {
                    return self.size_expr_into(argument, *inner, diagnostics);
                }
            }
            if let Some((size, _)) = self.dims.get(first) {
                return size.clone();
            }
        } else if first == "task" && path.parts.len() == 2 {
            return self.task_size(path, diagnostics);
        }
        if let Some(rule) = context.rule {
            if self.instances[rule].missing.contains(&first) {
                return SizeExpr::Poison;
            }
        }
        if self.expansion.is_reported(&dotted(path)) {
            return SizeExpr::Poison;
        }
        let mut diagnostic = Diagnostic::new(
            Code::UnknownName,
            path.span,
            format!("no size is called `{}`", dotted(path)),
        );
        let full = diagnostics.is_full() || self.diagnostics.is_full();
        let dims = self.dims.keys().copied().take_while(|_| !full);
        diagnostic = match Diagnostics::nearest(first, dims) {
            Some(near) => diagnostic.with_help(format!("did you mean `{near}`?")),
            None => diagnostic.with_help(
                "declare it with `dim NAME = 100`; for the size of a vector write `size(h)`",
            ),
        };
        diagnostics.push(diagnostic);
        SizeExpr::Poison
    }

    /// The size `task.NAME`.
    pub(super) fn task_size(&self, path: &Path, diagnostics: &mut Diagnostics) -> SizeExpr {
        let name = &path.parts[1];
        let Some(task) = &self.task else {
            if !self.task_named {
                diagnostics.push(
                    Diagnostic::new(
                        Code::MissingItem,
                        path.span,
                        format!("`{}` needs a task, and the spec has none", dotted(path)),
                    )
                    .with_help("add a block such as `task cue_reward { }`"),
                );
            }
            return SizeExpr::Poison;
        };
        let sizes = &task.ports.sizes;
        match sizes.iter().find(|port| port.name == name.name) {
            Some(port) => SizeExpr::Constant(port.size as u64),
            None => {
                let names: Vec<&str> = sizes.iter().map(|port| port.name.as_str()).collect();
                diagnostics.push(
                    Diagnostic::new(
                        Code::UnknownName,
                        name.span,
                        format!(
                            "task `{}` has no size called `{}`",
                            task.info.name, name.name
                        ),
                    )
                    .with_secondary(task.span, "the task is chosen here")
                    .with_help(format!("it has {}", listed(&names))),
                );
                SizeExpr::Poison
            }
        }
    }

    /// The size of the vector with this name.
    fn size_of_name(
        &self,
        path: &Path,
        context: Context,
        diagnostics: &mut Diagnostics,
    ) -> SizeExpr {
        let name = path.parts[0].name.as_str();
        if let (Some(bundle), 1) = (context.bundle, path.parts.len()) {
            let bundle = &self.bundles[bundle.index()];
            match name {
                "pre" => return SizeExpr::Variable(bundle.pre),
                "post" => return SizeExpr::Variable(bundle.post),
                _ => {}
            }
        }
        let ty = match self.names.get(name).map(|named| named.symbol) {
            Some(Symbol::Input(id)) => self.input_types.get(id.index()).copied(),
            Some(Symbol::State(id)) => self.state_types.get(id.index()).copied(),
            Some(Symbol::Definition(id)) => self
                .resolved
                .get(id.index())
                .and_then(Option::as_ref)
                .map(|e| e.ty),
            Some(Symbol::Noise(_) | Symbol::Param(_) | Symbol::Bundle(_)) | None => None,
        };
        match ty {
            Some(super::model::Type::Vector(size)) => SizeExpr::Variable(size),
            Some(super::model::Type::Poison) => SizeExpr::Poison,
            Some(super::model::Type::Scalar | super::model::Type::Element { .. }) | None => {
                diagnostics.push(
                    Diagnostic::new(
                        Code::UnknownName,
                        path.span,
                        format!("`{}` has no size that is known here", dotted(path)),
                    )
                    .with_help("`size` takes an input or state of the network, `pre` or `post`"),
                );
                SizeExpr::Poison
            }
        }
    }

    /// Evaluates a compile-time number and reports errors.
    pub(super) fn constant(&mut self, expr: &Expr, context: Context) -> Option<f64> {
        match self.try_constant(expr, context) {
            Ok(value) if value.is_finite() => Some(value),
            Ok(_) => {
                self.diagnostics.push(Diagnostic::new(
                    Code::NotConstant,
                    expr.span,
                    "this is not a finite number",
                ));
                None
            }
            Err(Some(diagnostic)) => {
                self.diagnostics.push(*diagnostic);
                None
            }
            Err(None) => None,
        }
    }

    /// Evaluates a compile-time number; `Err(None)` if an error was already reported.
    pub(super) fn try_constant(
        &self,
        expr: &Expr,
        context: Context,
    ) -> Result<f64, Option<Box<Diagnostic>>> {
        match &expr.kind {
            ExprKind::Number { value, .. } => Ok(*value),
            ExprKind::Unary(UnaryOp::Negate, x) => Ok(-self.try_constant(x, context)?),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (
                    self.try_constant(a, context)?,
                    self.try_constant(b, context)?,
                );
                match op {
                    BinaryOp::Add => Ok(a + b),
                    BinaryOp::Subtract => Ok(a - b),
                    BinaryOp::Multiply => Ok(a * b),
                    BinaryOp::Divide => Ok(a / b),
                    BinaryOp::Power => Ok(a.powf(b)),
                    BinaryOp::Or
                    | BinaryOp::And
                    | BinaryOp::Equal
                    | BinaryOp::NotEqual
                    | BinaryOp::Less
                    | BinaryOp::LessEqual
                    | BinaryOp::Greater
                    | BinaryOp::GreaterEqual => Err(not_constant(expr.span)),
                }
            }
            ExprKind::Call { function, args } if args.len() == 1 && args[0].name.is_none() => {
                let x = || self.try_constant(&args[0].value, context);
                match function.name.as_str() {
                    "sqrt" => Ok(x()?.sqrt()),
                    "exp" => Ok(x()?.exp()),
                    "log" => Ok(x()?.ln()),
                    "size" => self.constant_size(expr, context),
                    _ => Err(not_constant(expr.span)),
                }
            }
            ExprKind::Name(path) => {
                if let (Some(rule), 1) = (context.rule, path.parts.len()) {
                    let name = path.parts[0].name.as_str();
                    if let Some((argument, inner)) = self.instances[rule].arguments.get(name) {
                        return self.try_constant(argument, *inner);
                    }
                }
                match self.setting(path) {
                    Some(value) => Ok(value),
                    None => self.constant_size(expr, context),
                }
            }
            ExprKind::Text(_)
            | ExprKind::List(_)
            | ExprKind::Next(_)
            | ExprKind::External(_)
            | ExprKind::Unary(UnaryOp::Not, _)
            | ExprKind::Call { .. }
            | ExprKind::Element { .. }
            | ExprKind::Slice { .. } => Err(not_constant(expr.span)),
        }
    }

    /// The number of a setting: `train.gamma`, `train.optimizer.lr`.
    pub(super) fn setting(&self, path: &Path) -> Option<f64> {
        let train = self.train.as_ref()?;
        let parts: Vec<&str> = path.parts.iter().map(|part| part.name.as_str()).collect();
        let (settings, name) = match parts[..] {
            ["train", name] => (&train.settings, name),
            ["train", "optimizer", name] => (&train.optimizer_settings, name),
            _ => return None,
        };
        let (_, value) = settings.iter().find(|(known, _)| *known == name)?;
        value.number()
    }

    fn constant_size(&self, expr: &Expr, context: Context) -> Result<f64, Option<Box<Diagnostic>>> {
        let mut quiet = Diagnostics::counting();
        let size = self.size_expr_into(expr, context, &mut quiet);
        match self.sizes.evaluate(&size) {
            Ok(value) => Ok(value as f64),
            Err(_) if quiet.suppressed() == 0 => Err(None),
            Err(_) => Err(not_constant(expr.span)),
        }
    }
}

fn not_constant(span: Span) -> Option<Box<Diagnostic>> {
    Some(Box::new(
        Diagnostic::new(
            Code::NotConstant,
            span,
            "this must be a number known at compile time",
        )
        .with_help("numbers, `dim`s, task sizes, arguments of the rule and arithmetic on them are"),
    ))
}

fn not_a_size(span: Span) -> Diagnostic {
    Diagnostic::new(Code::BadSize, span, "this is not a size")
        .with_help("sizes are whole numbers, `dim`s, `task.NAME`, `size(NAME)` and + - * / on them")
}

/// The path `a.b` as written.
pub(super) fn dotted(path: &Path) -> String {
    path.parts
        .iter()
        .map(|part| part.name.as_str())
        .collect::<Vec<_>>()
        .join(".")
}

/// The names as a list in words: "`a`, `b` and `c`".
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [one] => format!("`{one}`"),
        [most @ .., last] => format!(
            "{} and `{last}`",
            most.iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

/// All names in an expression.
pub(super) fn expr_paths(expr: &Expr) -> Vec<&Path> {
    let mut paths = Vec::new();
    let mut stack = vec![expr];
    while let Some(expr) = stack.pop() {
        match &expr.kind {
            ExprKind::Number { .. } | ExprKind::Text(_) | ExprKind::External(_) => {}
            ExprKind::Name(path) | ExprKind::Next(path) => paths.push(path),
            ExprKind::List(items) => stack.extend(items),
            ExprKind::Unary(_, x) => stack.push(x),
            ExprKind::Binary(_, a, b) => stack.extend([a.as_ref(), b.as_ref()]),
            ExprKind::Call { args, .. } => stack.extend(args.iter().map(|arg| &arg.value)),
            ExprKind::Element { base, index } => stack.extend([base.as_ref(), index.as_ref()]),
            ExprKind::Slice { base, start, end } => {
                stack.extend([base.as_ref(), start.as_ref(), end.as_ref()]);
            }
        }
    }
    paths
}
