//! Declarations of single names: the parts each kind accepts, its slot and its type.

use super::analyser::{Analyser, DefinitionSource, ParamType, PendingDefinition, PendingParam};
use super::constants::listed;
use super::model::{DefId, DefKind, Type};
use super::scope::{Context, Symbol};
use crate::ir::{
    Draw, InputId, InputSlot, NoiseId, NoiseKind, NoiseSlot, ParamId, ParamSlot, StateId, StateSlot,
};
use crate::lang::diag::{Code, Diagnostic, Diagnostics, Span};
use crate::lang::syntax::ast::{DeclEntry, DeclKind, Initialiser};

impl<'a> Analyser<'a, '_> {
    pub(super) fn declare_entry(&mut self, kind: DeclKind, entry: &'a DeclEntry, context: Context) {
        let path = self.path(context, &entry.name.name);
        self.check_parts(kind, entry, context);
        match kind {
            DeclKind::Modulator | DeclKind::Output => match &entry.init {
                Some(Initialiser::Value(value)) => {
                    let def = if kind == DeclKind::Output {
                        DefKind::Output
                    } else {
                        DefKind::Modulator
                    };
                    self.define(&entry.name, None, value, context, def);
                }
                Some(Initialiser::Draw(_)) | None => {
                    self.bad_init(entry, format!("`{}` needs a value: `= expression`", path));
                    let id = self.broken(path, entry.name.span);
                    self.bind(context, &entry.name, Symbol::Definition(id));
                }
            },
            DeclKind::Input => {
                let ty = self.declared_type(kind, entry, context);
                let id = InputId(self.inputs.len() as u32);
                self.inputs.push(InputSlot {
                    path,
                    dims: Vec::new(),
                    span: Some(entry.name.span),
                });
                self.input_types.push(ty);
                self.bind(context, &entry.name, Symbol::Input(id));
            }
            DeclKind::State | DeclKind::Trace => {
                let ty = self.declared_type(kind, entry, context);
                let init = self.state_init(entry, &path, context);
                let first = self.state_array(entry, &path, ty, context);
                let computed = self.state_first(entry, &path, ty, context);
                let default = context
                    .bundle
                    .and_then(|bundle| self.bundles[bundle.index()].reset);
                let reset = self.reset(entry.reset.as_ref().or(default));
                let id = StateId(self.states.len() as u32);
                self.states.push(StateSlot {
                    path,
                    dims: Vec::new(),
                    init,
                    first,
                    reset,
                    trace: kind == DeclKind::Trace,
                    given: false,
                    span: Some(entry.name.span),
                });
                self.state_types.push(ty);
                self.bind(context, &entry.name, Symbol::State(id));
                if let Some(computed) = computed {
                    self.declare_first(id, computed);
                }
            }
            DeclKind::Noise => {
                let ty = self.declared_type(kind, entry, context);
                let mut draw = self.draw(entry, &path, context);
                if matches!(draw, Draw::Given(_)) {
                    let message =
                        format!("the noise `{path}` is drawn in every step, and a file is not");
                    self.bad_init(entry, message);
                    draw = Draw::Constant(0.0);
                }
                let id = NoiseId(self.noises.len() as u32);
                self.noises.push(NoiseSlot {
                    path,
                    dims: Vec::new(),
                    draw,
                    kind: NoiseKind::Step,
                    span: Some(entry.name.span),
                });
                self.noise_types.push(ty);
                self.bind(context, &entry.name, Symbol::Noise(id));
            }
            DeclKind::Weight | DeclKind::Coeff | DeclKind::Trained | DeclKind::Const => {
                let ty = self.declared_type(kind, entry, context);
                let init = self.draw(entry, &path, context);
                let id = self.add_param(
                    path,
                    kind != DeclKind::Const,
                    init,
                    ParamType::Value(ty),
                    entry.name.span,
                );
                self.bind(context, &entry.name, Symbol::Param(id));
            }
        }
    }

    pub(super) fn add_param(
        &mut self,
        path: String,
        trained: bool,
        init: Draw,
        ty: ParamType,
        span: Span,
    ) -> ParamId {
        let id = ParamId(self.params.len() as u32);
        self.params.push(PendingParam {
            slot: ParamSlot {
                path,
                dims: Vec::new(),
                trained,
                init,
                grad_scale: 1.0,
                span: Some(span),
            },
            ty,
        });
        id
    }

    fn broken(&mut self, path: String, span: Span) -> DefId {
        let id = DefId(self.definitions.len() as u32);
        self.definitions.push(PendingDefinition {
            path,
            kind: DefKind::Value,
            size: None,
            source: DefinitionSource::Broken,
            context: Context::NETWORK,
            span,
        });
        self.resolved.push(None);
        id
    }

    /// Reports parts of a declaration that its kind does not accept.
    fn check_parts(&mut self, kind: DeclKind, entry: &DeclEntry, context: Context) {
        use DeclKind::{Const, Input, Modulator, Noise, Output, State, Trace, Trained};
        let inside = context.bundle.is_some();
        let word = kind.word();
        let mut report = |span: Span, message: String, help: &str| {
            self.diagnostics
                .push(Diagnostic::new(Code::MisplacedStatement, span, message).with_help(help));
        };
        match kind {
            Input | State | Modulator | Output if inside => report(
                entry.name.span,
                format!("`{word}` cannot stand in a bundle or rule"),
                "declare it in the network",
            ),
            DeclKind::Weight | DeclKind::Coeff | Trace if !inside => report(
                entry.name.span,
                format!("`{word}` belongs in a `plastic` bundle or rule"),
                match kind {
                    Trace => "in the network itself, memory is a `state`",
                    _ => "in the network itself, a free parameter is `trained g: [10] = 1`",
                },
            ),
            Input
            | State
            | Modulator
            | Output
            | DeclKind::Weight
            | DeclKind::Coeff
            | Trace
            | Trained
            | Const
            | Noise => {}
        }
        if let Some(size) = &entry.size {
            if inside {
                report(
                    size.span,
                    "inside a bundle sizes come from its neurons".to_owned(),
                    "say `per connection`, `per post`, `per pre` or `per network`",
                );
            } else if matches!(kind, Modulator | Output) {
                report(
                    size.span,
                    format!(
                        "the size of `{word} {}` is that of its value",
                        entry.name.name
                    ),
                    "leave the brackets out",
                );
            }
        }
        if let Some(per) = &entry.per {
            if !inside {
                report(
                    per.span,
                    "granularities (`per ...`) belong in a bundle or rule".to_owned(),
                    match (kind, &entry.size) {
                        (Noise, _) => "noise is drawn at every step; leave `per ...` out",
                        (_, Some(_)) => "leave it out: the size is given",
                        (_, None) => "in the network itself give a size: `trained g: [10] = 1`",
                    },
                );
            }
        }
        if let Some(reset) = &entry.reset {
            if !matches!(kind, State | Trace) {
                report(
                    reset.span,
                    format!("`{word}` has nothing to reset"),
                    "only states and traces are carried from step to step",
                );
            }
        }
        if let (Input, Some(_)) = (kind, &entry.init) {
            report(
                entry.span,
                "an input gets its values from the task".to_owned(),
                "leave the initial value out",
            );
        }
    }

    fn declared_type(&mut self, kind: DeclKind, entry: &'a DeclEntry, context: Context) -> Type {
        if let Some(bundle) = context.bundle {
            let word = match &entry.per {
                Some(per) => per.name.as_str(),
                None if matches!(kind, DeclKind::Trained | DeclKind::Const) => "network",
                None => "connection",
            };
            let (pre, post) = match word {
                "connection" => (true, true),
                "pre" => (true, false),
                "post" => (false, true),
                "network" => (false, false),
                _ => {
                    let span = entry.per.as_ref().map_or(entry.span, |per| per.span);
                    let words = ["connection", "post", "pre", "network"];
                    let diagnostic = Diagnostic::new(
                        Code::WrongKind,
                        span,
                        format!("`per {word}` is no granularity"),
                    );
                    self.diagnostics.push(diagnostic.with_help(
                        match Diagnostics::nearest(word, words) {
                            Some(near) => format!("did you mean `per {near}`?"),
                            None => format!("there are {}", listed(&words)),
                        },
                    ));
                    return Type::Poison;
                }
            };
            return if pre || post {
                Type::Element { bundle, pre, post }
            } else {
                Type::Scalar
            };
        }
        let size_path = format!("{}.size", entry.name.name);
        self.known_paths.insert(size_path.clone());
        let overridden = self
            .overrides
            .get(&size_path)
            .map(|(Initialiser::Value(value) | Initialiser::Draw(value), _)| value);
        match overridden.or(entry.size.as_ref()) {
            Some(size) => {
                let expr = self.size_expr(size, context);
                let var = self
                    .sizes
                    .fresh(format!("`{}`", entry.name.name), entry.name.span);
                self.sizes.define(var, expr, size.span, self.diagnostics);
                Type::Vector(var)
            }
            None => Type::Scalar,
        }
    }
}
