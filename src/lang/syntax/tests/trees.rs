//! Tests of the trees of good texts.

use insta::assert_snapshot;

use super::tree;

#[test]
fn precedence() {
    let text = r#"network n {
  a = x + y * z ^ -w ^ v
  b = -x ^ 2 * y
  c = a - b - c + d
  d = a / b * c
  e = a || b && c == d + e
  f = !a == b
  g = -(a + b)
  h = (a ^ b) ^ c
  i = 2 ^ -x * y
  j = --x
  k = a < -b
  l = y[0 .. N / 2][1 .. 2]
  m = (a + b)[0 .. 1]
  n = next h.x + external r
  o = f(1, [2, "t"], k = 3)
}
"#;
    assert_snapshot!(tree(text), @r#"
    network n
      let a
        = (x + (y * (z ^ (-(w ^ v)))))
      let b
        = ((-(x ^ 2)) * y)
      let c
        = (((a - b) - c) + d)
      let d
        = ((a / b) * c)
      let e
        = (a || (b && (c == (d + e))))
      let f
        = ((!a) == b)
      let g
        = (-(a + b))
      let h
        = ((a ^ b) ^ c)
      let i
        = ((2 ^ (-x)) * y)
      let j
        = (-(-x))
      let k
        = (a < (-b))
      let l
        = y[0 .. (N / 2)][1 .. 2]
      let m
        = (a + b)[0 .. 1]
      let n
        = ((next h.x) + (external r))
      let o
        = f(1, [2, "t"], k = 3)
    "#);
}

#[test]
fn declarations() {
    let text = r"network n {
  input obs: [task.obs], other
  state h: [200] = 0 reset trial per post
  noise xi ~ normal(0, 0.1); weight w, coeff a ~ f() per network
  const c = 1, c <- 2
  trained t trace e = 0, f: [3],
    g
  modulator m = 1 output o = 2
}
";
    assert_snapshot!(tree(text), @r#"
    network n
      input
        name obs
          : task.obs
        name other
      state h
        : 200
        = 0
        per post
        reset trial
      noise xi
        ~ normal(0, 0.1)
      weight w
      coeff a
        ~ f()
        per network
      const c
        = 1
      update c
        <- 2
      trained t
      trace
        name e
          = 0
        name f
          : 3
        name g
      modulator m
        = 1
      output o
        = 2
    "#);
}

#[test]
fn other_statements() {
    let text = r"network n {
  plastic rec: a.b -> y using simple(m, bound = 2) { transmit w e <- 1 }
  plastic p: a -> b using plain
  plastic q: a -> b { }
  on post[0 .. N/2] { when reward != 0 { e <- 1 } }
}
";
    assert_snapshot!(tree(text), @r#"
    network n
      plastic rec: a.b -> y
        using simple(m, bound = 2)
        transmit
          w
        update e
          <- 1
      plastic p: a -> b
        using plain()
      plastic q: a -> b
      on post[0 .. (N / 2)]
        when (reward != 0)
          update e
            <- 1
    "#);
}

#[test]
fn items_and_blocks() {
    let text = "\u{feff}import \"common.bpm\" dim N = 200\nrule r(M, bound = 1,) { } rule s { }\ntask t { a = 1 b.per = -2, dim = \"200MB\", optimizer adam { lr = 1e-4 } noise { } }\ntrain { }\n";
    assert_snapshot!(tree(text), @r#"
    import "common.bpm"
    dim N
      = 200
    rule r
      parameter M
      parameter bound
        = 1
    rule s
    block task t
      set a
        = 1
      set b.per
        = (-2)
      set dim
        = "200MB"
      block optimizer adam
        set lr
          = 1e-4
      block noise
    block train
    "#);
}

#[test]
fn anything_may_be_on_any_line() {
    let text = r"network
n
{
h
<-
f
(
1
,
2
)
+
3
g // c
=
1
}
";
    assert_snapshot!(tree(text), @r#"
    network n
      update h
        <- (f(1, 2) + 3)
      let g
        = 1
    "#);
}

#[test]
fn cells() {
    let text = r"cell layer(x, size = N, learning = simple(m)) {
  cell inner: lstm(x, size, init = uniform(-1, 1)) using learning reset carry { coeff a ~ b() per post }
  cell = cell + inner.rec.hebb
}
cell bare { cell <- 1 }
network n {
  cell a: f() cell b: g(1) reset never
  plastic r: cell -> y using s reset trial
  plastic q: h -> y reset carry { transmit w }
}
";
    assert_snapshot!(tree(text), @r#"
    cell layer
      parameter x
      parameter size
        = N
      parameter learning
        = simple(m)
      cell inner: lstm(x, size, init = uniform((-1), 1))
        using learning()
        reset carry
        coeff a
          ~ b()
          per post
      let cell
        = (cell + inner.rec.hebb)
    cell bare
      update cell
        <- 1
    network n
      cell a: f()
      cell b: g(1)
        reset never
      plastic r: cell -> y
        using s()
        reset trial
      plastic q: h -> y
        reset carry
        transmit
          w
    "#);
}
