//! The syntax tree. Every node has a [`Span`]; names are not resolved yet.

use crate::lang::diag::{SourceId, Span};

/// A name as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    /// The characters.
    pub name: String,
    /// Where.
    pub span: Span,
}

/// A dotted name: `h`, `task.obs`, `rec.hebb`. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The parts.
    pub parts: Vec<Ident>,
    /// From the first part to the last.
    pub span: Span,
}

/// A comment or documentation line, kept for the printer.
#[derive(Clone, Debug, PartialEq)]
pub struct Comment {
    /// The whole comment with its `//`, without the line end.
    pub text: String,
    /// Where.
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
    /// What it is.
    pub kind: ItemKind,
    /// All of it.
    pub span: Span,
}

/// The kinds of top-level item.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemKind {
    /// `import "common.bpm"`
    Import {
        /// The path between the quotes.
        path: String,
        /// The string with its quotes.
        path_span: Span,
    },
    /// `dim N = 200`
    Dim {
        /// The name.
        name: Ident,
        /// A size expression.
        value: Expr,
    },
    /// `rule retroactive(M, bound = 1) { ... }`
    Rule {
        /// The name.
        name: Ident,
        /// Parameters in order.
        params: Vec<RuleParam>,
        /// The statements it stands for.
        body: Vec<Stmt>,
    },
    /// `cell lstm(x, size) { ... }`
    Cell {
        /// The name.
        name: Ident,
        /// Parameters in order.
        params: Vec<RuleParam>,
        /// The statements it stands for.
        body: Vec<Stmt>,
    },
    /// `network agent { ... }`
    Network {
        /// The name.
        name: Ident,
        /// Its statements.
        body: Vec<Stmt>,
    },
    /// `task cue_reward { ... }`, `train a2c { ... }`: two words and settings.
    Block(Block),
}

/// A parameter of a rule or a cell.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleParam {
    /// The name.
    pub name: Ident,
    /// The value where the call gives none.
    pub default: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// `keyword name { entries }`; inner blocks may lack the name.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// `task`, `train`, `optimizer`; resolved later.
    pub keyword: Ident,
    /// `cue_reward`, `a2c`, `adam`; resolved later.
    pub name: Option<Ident>,
    /// Settings and inner blocks, in order.
    pub entries: Vec<Entry>,
    /// All of it.
    pub span: Span,
}

/// One entry of a [`Block`].
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// `batch = 30`
    Setting {
        /// The name.
        key: Path,
        /// The value.
        value: Expr,
        /// All of it.
        span: Span,
    },
    /// `optimizer adam { lr = 1e-4 }`
    Block(Block),
}

/// A statement of a network, cell, plastic bundle, rule or region.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// All of it.
    pub span: Span,
}

/// The kinds of statement. Which are allowed where is checked later.
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `trace hebb = 0, e = 0`
    Decl {
        /// The leading word.
        kind: DeclKind,
        /// One or more, separated by commas.
        entries: Vec<DeclEntry>,
    },
    /// `plastic rec: h -> y using simple(m) { ... }`
    Plastic {
        /// The bundle's name.
        name: Ident,
        /// The presynaptic vector.
        pre: Path,
        /// The postsynaptic vector.
        post: Path,
        /// The rule, if one is named.
        using: Option<RuleUse>,
        /// When its traces are reset where they do not say it themselves.
        reset: Option<Ident>,
        /// Its statements; may be empty.
        body: Vec<Stmt>,
    },
    /// `cell layer1: lstm(x, 200) reset carry`: a cell put to use.
    Cell {
        /// What the use is called; the cell's names are reached through it, `layer1.h`.
        name: Ident,
        /// The cell and its arguments.
        cell: RuleUse,
        /// The rule for its plastic bundles, if one is given.
        using: Option<RuleUse>,
        /// When its states and traces are reset where they do not say it themselves.
        reset: Option<Ident>,
        /// Statements for its plastic bundles; may be empty.
        body: Vec<Stmt>,
    },
    /// `y = tanh(x)`: a value of this step.
    Let {
        /// The name it defines.
        target: Ident,
        /// Its value.
        value: Expr,
    },
    /// `h <- y`: the value that leaves the step.
    Update {
        /// A state or a trace.
        target: Ident,
        /// Its value.
        value: Expr,
    },
    /// `transmit w + alpha * hebb`: the effective weight.
    Transmit {
        /// The effective weight of one connection.
        value: Expr,
    },
    /// `on post[0 .. N / 2] { ... }`
    On {
        /// `pre` or `post`.
        side: Ident,
        /// First index.
        start: Expr,
        /// One past the last index.
        end: Expr,
        /// Statements of the region.
        body: Vec<Stmt>,
    },
    /// `when reward != 0 { ... }`
    When {
        /// True where it is not zero.
        condition: Expr,
        /// Statements of the event.
        body: Vec<Stmt>,
    },
}

/// `retroactive(dopamine, bound = 2)`: a rule or a cell with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleUse {
    /// The rule or cell.
    pub name: Ident,
    /// Positional arguments, then named ones.
    pub args: Vec<Arg>,
    /// All of it.
    pub span: Span,
}

/// The word a declaration begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeclKind {
    /// Comes from the task.
    Input,
    /// Carried from step to step.
    State,
    /// Drawn anew every step.
    Noise,
    /// Trained, per connection unless said otherwise.
    Weight,
    /// Trained, the plasticity coefficient of a connection.
    Coeff,
    /// Trained, one for the bundle unless said otherwise.
    Trained,
    /// Drawn or set once, never trained.
    Const,
    /// Memory of a connection, per lane.
    Trace,
    /// A named signal for rules.
    Modulator,
    /// What the task, the trainer or the user reads.
    Output,
}

impl DeclKind {
    /// The word.
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

/// One name of a declaration: `h: [200] = 0 per post reset trial`.
#[derive(Clone, Debug, PartialEq)]
pub struct DeclEntry {
    /// The name.
    pub name: Ident,
    /// The size between brackets.
    pub size: Option<Expr>,
    /// `= value` or `~ distribution`.
    pub init: Option<Initialiser>,
    /// The granularity after `per`.
    pub per: Option<Ident>,
    /// The policy after `reset`.
    pub reset: Option<Ident>,
    /// All of it.
    pub span: Span,
}

/// How a declared thing gets its value.
#[derive(Clone, Debug, PartialEq)]
pub enum Initialiser {
    /// `= expr`
    Value(Expr),
    /// `~ uniform(0, 0.01)`
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
    /// What it is.
    pub kind: ExprKind,
    /// All of it, its own brackets excluded.
    pub span: Span,
}

/// The kinds of expression.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `200_000`, `1e-4`. `text` is as written.
    Number {
        /// The value.
        value: f64,
        /// The spelling.
        text: String,
    },
    /// `"200MB"`, without its quotes.
    Text(String),
    /// `[1, 2, 3]`
    List(Vec<Expr>),
    /// A name.
    Name(Path),
    /// `next h`
    Next(Path),
    /// `external reward`
    External(Ident),
    /// `-x`, `!x`
    Unary(UnaryOp, Box<Expr>),
    /// `a + b`
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `f(a, b, size = 3)`
    Call {
        /// The function.
        function: Ident,
        /// Positional arguments, then named ones.
        args: Vec<Arg>,
    },
    /// `y[0 .. 10]`
    Slice {
        /// The vector.
        base: Box<Expr>,
        /// First index.
        start: Box<Expr>,
        /// One past the last.
        end: Box<Expr>,
    },
}

/// Prefix operators.
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

/// Infix operators.
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

    /// How tightly it binds; comparisons do not chain, `^` binds to the right, the others to the left.
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
