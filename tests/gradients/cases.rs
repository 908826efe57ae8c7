//! Every operation with operands of some sizes.

use bpmc::ir::{Binary, Boundary, Op, Reduction, Unary};

/// Where the numbers of an operand may lie, so that finite differences hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// Within ±2.
    Any,
    /// Within ±2, and not near 0.
    NotZero,
    /// Between 0.2 and 2.
    Positive,
    /// Within ±2, and not near ±1.
    NotOne,
    /// 0 or ±1.
    Truth,
}

impl Domain {
    /// Maps a number between -1 and 1 into the domain.
    pub fn map(self, x: f64) -> f64 {
        match self {
            Domain::Any => 2.0 * x,
            Domain::NotZero => 1.9 * x + 0.1_f64.copysign(x),
            Domain::Positive => 1.1 + 0.9 * x,
            Domain::NotOne => {
                let x = 2.0 * x;
                if (x.abs() - 1.0).abs() < 0.01 {
                    0.9 * x
                } else {
                    x
                }
            }
            Domain::Truth => (1.5 * x).round(),
        }
    }
}

/// Which lane axes operands may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lanes {
    /// Every combination.
    Each,
    /// The second operand is shared.
    SecondShared,
    /// All have lanes.
    All,
}

/// An operation, and the dimensions and domains of its operands.
#[derive(Clone, Debug)]
pub struct Case {
    pub op: Op,
    pub operands: Vec<(Vec<usize>, Domain)>,
    pub lanes: Lanes,
}

impl Case {
    fn new(op: Op, operands: &[(&[usize], Domain)]) -> Case {
        let operands = operands
            .iter()
            .map(|(dims, domain)| (dims.to_vec(), *domain));
        Case {
            op,
            operands: operands.collect(),
            lanes: Lanes::Each,
        }
    }

    fn lanes(mut self, lanes: Lanes) -> Case {
        self.lanes = lanes;
        self
    }

    /// For each allowed combination, whether each operand has lanes.
    pub fn combinations(&self) -> Vec<Vec<bool>> {
        let count = self.operands.len();
        let each = (0..1_usize << count).map(|bits| (0..count).map(move |k| bits >> k & 1 == 1));
        let each = each.map(|lanes| lanes.collect::<Vec<bool>>());
        each.filter(|lanes| match self.lanes {
            Lanes::Each => true,
            Lanes::SecondShared => !lanes[1],
            Lanes::All => lanes.iter().all(|lane| *lane),
        })
        .collect()
    }
}

fn unary_domain(f: Unary) -> Domain {
    match f {
        Unary::Log | Unary::Sqrt => Domain::Positive,
        Unary::Relu | Unary::Abs | Unary::Sign | Unary::Not | Unary::Recip => Domain::NotZero,
        _ => Domain::Any,
    }
}

fn binary_domains(f: Binary) -> [Domain; 2] {
    match f {
        Binary::Div => [Domain::Any, Domain::NotZero],
        Binary::Pow => [Domain::Positive, Domain::Any],
        Binary::And | Binary::Or => [Domain::NotZero, Domain::NotZero],
        Binary::Add
        | Binary::Sub
        | Binary::Mul
        | Binary::Min
        | Binary::Max
        | Binary::Less
        | Binary::LessEqual
        | Binary::Equal => [Domain::Any, Domain::Any],
    }
}

/// All operations that have operands, on vectors of `n` and matrices of `n` by `m`.
pub fn cases(n: usize, m: usize) -> Vec<Case> {
    use Domain::{Any, NotOne, NotZero, Truth};
    let mut cases = Vec::new();
    for dims in [&[][..], &[n], &[n, m]] {
        for f in Unary::ALL {
            cases.push(Case::new(Op::Unary(f), &[(dims, unary_domain(f))]));
        }
        for f in Binary::ALL {
            let [a, b] = binary_domains(f);
            cases.push(Case::new(Op::Binary(f), &[(dims, a), (dims, b)]));
        }
        let operands = [(dims, Truth), (dims, Any), (dims, Any)];
        cases.push(Case::new(Op::Select, &operands));
        cases.push(Case::new(Op::StopGradient, &[(dims, Any)]));
        cases.push(Case::new(Op::LaneSum, &[(dims, Any)]).lanes(Lanes::All));
        for boundary in Boundary::ALL {
            // Straight-through is not the derivative; it has its own test.
            let (lo, hi) = ((-1.0).into(), 1.0.into());
            if boundary != Boundary::StraightThrough {
                cases.push(Case::new(Op::Clip { lo, hi, boundary }, &[(dims, NotOne)]));
            }
            cases.push(Case::new(
                Op::ClipMask { lo, hi, boundary },
                &[(dims, NotOne)],
            ));
        }
    }
    let broadcasts: [(&[usize], &[usize], &[usize]); 7] = [
        (&[], &[n], &[]),
        (&[], &[n, m], &[]),
        (&[n], &[n, m], &[0]),
        (&[m], &[n, m], &[1]),
        (&[n], &[m, n, 2], &[1]),
        (&[n, m], &[n, 2, m], &[0, 2]),
        (&[n, m], &[2, n, m], &[1, 2]),
    ];
    for (operand, dims, from) in broadcasts {
        let (dims, from) = (dims.to_vec(), from.to_vec());
        cases.push(Case::new(Op::Broadcast { dims, from }, &[(operand, Any)]));
    }
    let reductions: [(&[usize], &[usize]); 7] = [
        (&[n], &[0]),
        (&[n, m], &[0]),
        (&[n, m], &[1]),
        (&[n, m], &[0, 1]),
        (&[n, m, 2], &[1]),
        (&[n, m, 2], &[0, 2]),
        (&[n, m, 2], &[0, 1, 2]),
    ];
    for (dims, axes) in reductions {
        for kind in [Reduction::Sum, Reduction::Max] {
            let axes = axes.to_vec();
            cases.push(Case::new(Op::Reduce { kind, axes }, &[(dims, Any)]));
        }
    }
    let reshapes: [(&[usize], Vec<usize>); 3] = [
        (&[n, m], vec![m, n]),
        (&[n, m], vec![n * m]),
        (&[n], vec![1, n, 1]),
    ];
    for (operand, dims) in reshapes {
        cases.push(Case::new(Op::Reshape { dims }, &[(operand, Any)]));
    }
    cases.push(Case::new(
        Op::Concat,
        &[(&[n], Any), (&[m], Any), (&[1], Any)],
    ));
    cases.push(Case::new(
        Op::Concat,
        &[(&[m, n], Any), (&[m, 1], Any), (&[m, 2], Any)],
    ));
    for dims in [&[n][..], &[m, n]] {
        for (start, end) in [(0, n), (n - 1, n), (0, 1)] {
            cases.push(Case::new(Op::Slice { start, end }, &[(dims, Any)]));
        }
        for (before, after) in [(0, 2), (3, 0), (1, 1), (0, 0)] {
            cases.push(Case::new(Op::Pad { before, after }, &[(dims, Any)]));
        }
    }
    for transposed in [false, true] {
        let matrix: &[usize] = if transposed { &[m, n] } else { &[n, m] };
        let op = Op::MatVec { transposed };
        let case = Case::new(op, &[(&[n], Any), (matrix, Any)]);
        cases.push(case.lanes(Lanes::SecondShared));
    }
    cases.push(Case::new(Op::Outer, &[(&[n], Any), (&[m], NotZero)]));
    cases.push(Case::new(Op::Softmax, &[(&[n], Any)]));
    cases
}
