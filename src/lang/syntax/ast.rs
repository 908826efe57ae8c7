//! The syntax tree. Every node has a [`Span`]; names are not resolved yet.

use crate::lang::diag::{SourceId, Span};

/// A name as written, `h` or, as one of several, `h[2]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    /// The characters.
    pub name: String,
    /// The index between brackets; [`unroll`](crate::lang::sema::unroll) leaves none.
    pub index: Option<Box<Expr>>,
    /// The place.
    pub span: Span,
}

impl Ident {
    /// A name without an index.
    pub fn new(name: impl Into<String>, span: Span) -> Ident {
        Ident {
            name: name.into(),
            index: None,
            span,
        }
    }
}

/// A dotted name: `h`, `task.obs`, `rec.hebb`. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The parts.
    pub parts: Vec<Ident>,
    /// The place, from the first part to the last.
    pub span: Span,
}

/// A comment or documentation line, kept for the printer.
#[derive(Clone, Debug, PartialEq)]
pub struct Comment {
    /// The whole comment with its `//`, without the line end.
    pub text: String,
    /// The place.
    pub span: Span,
}

/// One parsed text.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// The text it came from.
    pub source: SourceId,
    /// Items in text order; broken ones are left out.
    pub items: Vec<Item>,
    /// All comments in text order, `//!` lines among them.
    pub comments: Vec<Comment>,
}

/// A top-level item.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The kind.
    pub kind: ItemKind,
    /// The place of the whole item.
    pub span: Span,
}

/// The kinds of top-level item.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    /// The version of the language, `bpm 1`; only ever the first item, and always [`VERSION`](super::VERSION).
    Version,
    /// An import, `import "common.bpm"`.
    Import {
        /// The path between the quotes.
        path: String,
        /// The place of the string with its quotes.
        path_span: Span,
    },
    /// A dimension, `dim N = 200`.
    Dim {
        /// The name.
        name: Ident,
        /// A size expression.
        value: Expr,
    },
    /// A rule, `rule retroactive(M, bound = 1) { ... }`.
    Rule {
        /// The name.
        name: Ident,
        /// The parameters in order.
        params: Vec<RuleParam>,
        /// The statements.
        body: Vec<Stmt>,
    },
    /// A cell, `cell lstm(x, size) { ... }`.
    Cell {
        /// The name.
        name: Ident,
        /// The parameters in order.
        params: Vec<RuleParam>,
        /// The statements.
        body: Vec<Stmt>,
    },
    /// A network, `network agent { ... }`.
    Network {
        /// The name.
        name: Ident,
        /// The statements.
        body: Vec<Stmt>,
    },
    /// A block of settings, `task cue_reward { ... }` or `train a2c { ... }`.
    Block(Block),
}

/// A parameter of a rule or a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleParam {
    /// The name.
    pub name: Ident,
    /// The default value.
    pub default: Option<Expr>,
    /// The place of the whole parameter.
    pub span: Span,
}

/// A block `keyword name { entries }`; inner blocks may lack the name.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The keyword `task`, `train` or `optimizer`; resolved later.
    pub keyword: Ident,
    /// The name, such as `cue_reward`, `a2c` or `adam`; resolved later.
    pub name: Option<Ident>,
    /// The settings and inner blocks, in order.
    pub entries: Vec<Entry>,
    /// The place of the whole block.
    pub span: Span,
}

/// One entry of a [`Block`].
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// A setting, `batch = 30`.
    Setting {
        /// The name.
        key: Path,
        /// The value.
        value: Expr,
        /// The place of the whole setting.
        span: Span,
    },
    /// An inner block, `optimizer adam { lr = 1e-4 }`.
    Block(Block),
}

/// A statement of a network, cell, plastic bundle, rule or region.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// The kind.
    pub kind: StmtKind,
    /// The place of the whole statement.
    pub span: Span,
}

/// The kinds of statement. A later stage checks which are allowed where.
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// A declaration, `trace hebb = 0, e = 0`.
    Decl {
        /// The leading word.
        kind: DeclKind,
        /// The declared names, separated by commas; at least one.
        entries: Vec<DeclEntry>,
    },
    /// A plastic bundle, `plastic rec: h -> y using simple(m) { ... }`.
    Plastic {
        /// The name of the bundle.
        name: Ident,
        /// The presynaptic vector.
        pre: Path,
        /// The postsynaptic vector.
        post: Path,
        /// The rule, if one is named.
        using: Option<RuleUse>,
        /// The default for when its traces are reset.
        reset: Option<Ident>,
        /// The statements; may be empty.
        body: Vec<Stmt>,
    },
    /// A use of a cell, `cell layer1: lstm(x, 200) reset carry`.
    Cell {
        /// The name of the use; the cell's names are reached through it, `layer1.h`.
        name: Ident,
        /// The cell and its arguments.
        cell: RuleUse,
        /// The rule for its plastic bundles, if one is given.
        using: Option<RuleUse>,
        /// The default for when its states and traces are reset.
        reset: Option<Ident>,
        /// The statements for its plastic bundles; may be empty.
        body: Vec<Stmt>,
    },
    /// A value of this step, `y = tanh(x)`.
    Let {
        /// The defined name.
        target: Ident,
        /// The size between brackets.
        size: Option<Expr>,
        /// The value.
        value: Expr,
    },
    /// A next value, `h <- y`.
    Update {
        /// The state or trace.
        target: Ident,
        /// The value.
        value: Expr,
    },
    /// The effective weight, `transmit w + alpha * hebb`.
    Transmit {
        /// The effective weight of one connection.
        value: Expr,
    },
    /// A region, `on post[0 .. N / 2] { ... }`.
    On {
        /// The side, `pre` or `post`.
        side: Ident,
        /// The first index.
        start: Expr,
        /// One past the last index.
        end: Expr,
        /// The statements of the region.
        body: Vec<Stmt>,
    },
    /// An event, `when reward != 0 { ... }`.
    When {
        /// The condition, true where it is not zero.
        condition: Expr,
        /// The statements of the event.
        body: Vec<Stmt>,
    },
    /// The connections that exist, `connect where mask`.
    Connect {
        /// The constant that is not 0 where there is a connection.
        mask: Expr,
    },
    /// Warnings that are meant, `allow(W0104, "an episode has ten steps")`.
    Allow {
        /// The code of the warnings.
        code: Ident,
        /// Why they are meant.
        reason: Expr,
    },
    /// Repeated statements, `for k in 0 .. 4 { ... }`; [`unroll`](crate::lang::sema::unroll) leaves none.
    For {
        /// The name of the index.
        variable: Ident,
        /// The first index.
        start: Expr,
        /// One past the last index.
        end: Expr,
        /// The statements.
        body: Vec<Stmt>,
    },
}

impl StmtKind {
    /// The statements between its braces, of a statement that has them.
    pub fn body(&self) -> Option<&Vec<Stmt>> {
        match self {
            StmtKind::Plastic { body, .. }
            | StmtKind::Cell { body, .. }
            | StmtKind::On { body, .. }
            | StmtKind::When { body, .. }
            | StmtKind::For { body, .. } => Some(body),
            StmtKind::Decl { .. }
            | StmtKind::Let { .. }
            | StmtKind::Update { .. }
            | StmtKind::Allow { .. }
            | StmtKind::Connect { .. }
            | StmtKind::Transmit { .. } => None,
        }
    }
}

/// A rule or a cell with its arguments, `retroactive(dopamine, bound = 2)`.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleUse {
    /// The rule or cell.
    pub name: Ident,
    /// The positional arguments, then the named ones.
    pub args: Vec<Arg>,
    /// The place of the whole use.
    pub span: Span,
}

/// The keyword of a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclKind {
    /// A vector that comes from the task.
    Input,
    /// A value carried from step to step.
    State,
    /// A value drawn in every step.
    Noise,
    /// A trained parameter, per connection by default.
    Weight,
    /// A trained plasticity coefficient of a connection.
    Coeff,
    /// A trained parameter, one for the bundle by default.
    Trained,
    /// A value that is drawn or set once and never trained.
    Const,
    /// A memory of a connection, per lane.
    Trace,
    /// A named signal for rules.
    Modulator,
    /// A value for the task, the trainer or the user.
    Output,
}

impl DeclKind {
    /// The keyword as written.
    pub fn word(self) -> &'static str {
        match self {
            DeclKind::Input => "input",
            DeclKind::State => "state",
            DeclKind::Noise => "noise",
            DeclKind::Weight => "weight",
            DeclKind::Coeff => "coeff",
            DeclKind::Trained => "trained",
            DeclKind::Const => "const",
            DeclKind::Trace => "trace",
            DeclKind::Modulator => "modulator",
            DeclKind::Output => "output",
        }
    }
}

/// One name of a declaration, `h: [200] = 0 per post reset trial`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclEntry {
    /// The name.
    pub name: Ident,
    /// The size between brackets.
    pub size: Option<Expr>,
    /// The initialiser, `= value` or `~ distribution`.
    pub init: Option<Initialiser>,
    /// The granularity after `per`.
    pub per: Option<Ident>,
    /// The policy after `reset`.
    pub reset: Option<Ident>,
    /// The place of the whole entry.
    pub span: Span,
}

/// The initialiser of a declared name.
#[derive(Clone, Debug, PartialEq)]
pub enum Initialiser {
    /// A value, `= expr`.
    Value(Expr),
    /// A distribution, `~ uniform(0, 0.01)`.
    Draw(Expr),
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// The name of a named argument.
    pub name: Option<Ident>,
    /// The value.
    pub value: Expr,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// The kind.
    pub kind: ExprKind,
    /// The place, without the expression's own brackets.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A number, `200_000` or `1e-4`.
    Number {
        /// The value.
        value: f64,
        /// The text as written.
        text: String,
    },
    /// A string `"200MB"`, without its quotes.
    Text(String),
    /// A list, `[1, 2, 3]`.
    List(Vec<Expr>),
    /// A name.
    Name(Path),
    /// A next value, `next h`.
    Next(Path),
    /// A signal of the task, `external reward`.
    External(Ident),
    /// A prefix operation, `-x` or `!x`.
    Unary(UnaryOp, Box<Expr>),
    /// An infix operation, `a + b`.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// A call, `f(a, b, size = 3)`.
    Call {
        /// The function.
        function: Ident,
        /// The positional arguments, then the named ones.
        args: Vec<Arg>,
    },
    /// An element of what is no name, `(a + b)[3]`; that of a name is a [`Path`].
    Element {
        /// The vector.
        base: Box<Expr>,
        /// The index.
        index: Box<Expr>,
    },
    /// A slice, `y[0 .. 10]`.
    Slice {
        /// The vector.
        base: Box<Expr>,
        /// The first index.
        start: Box<Expr>,
        /// One past the last index.
        end: Box<Expr>,
    },
}

/// The prefix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`
    Negate,
    /// `!`
    Not,
}

impl UnaryOp {
    /// The sign.
    pub fn sign(self) -> &'static str {
        match self {
            UnaryOp::Negate => "-",
            UnaryOp::Not => "!",
        }
    }
}

/// The infix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `||`
    Or,
    /// `&&`
    And,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterEqual,
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `^`
    Power,
}

impl BinaryOp {
    /// The sign.
    pub fn sign(self) -> &'static str {
        match self {
            BinaryOp::Or => "||",
            BinaryOp::And => "&&",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::Add => "+",
            BinaryOp::Subtract => "-",
            BinaryOp::Multiply => "*",
            BinaryOp::Divide => "/",
            BinaryOp::Power => "^",
        }
    }

    /// The binding strength. Comparisons do not chain, `^` groups to the right, the others to the left.
    pub fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And => 2,
            BinaryOp::Equal
            | BinaryOp::NotEqual
            | BinaryOp::Less
            | BinaryOp::LessEqual
            | BinaryOp::Greater
            | BinaryOp::GreaterEqual => 3,
            BinaryOp::Add | BinaryOp::Subtract => 4,
            BinaryOp::Multiply | BinaryOp::Divide => 5,
            BinaryOp::Power => 7,
        }
    }
}
