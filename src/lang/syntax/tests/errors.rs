//! Tests of the messages about bad texts.

use insta::assert_snapshot;

use super::errors;

#[test]
fn signs_for_definitions() {
    let text = r"network n {
  trace hebb := 0, e = 0
  y := 3
  y == 3
  h -> y
  transmit = w
  a += 3
  z = a <-b
  trace e <- 3
}
";
    assert_snapshot!(errors(text), @r#"
    E0101 25..27 `:=`: expected `=` or `~`, found `:=`
      help: write `=` without the colon
    E0101 41..43 `:=`: expected `=` or `<-`, found `:=`
      help: write `=` without the colon
    E0101 50..52 `==`: expected `=` or `<-`, found `==`
      help: `==` compares; write `=` to give a value
    E0101 59..61 `->`: expected `=` or `<-`, found `->`
      help: an update is written `name <- value`
    E0101 75..76 `=`: expected an expression, found `=`
      help: `transmit` takes the value itself: `transmit w + alpha * hebb`
    E0101 83..85 `+=`: expected `=` or `<-`, found `+=`
      help: write `a <- a + ...`
    E0101 96..98 `<-`: expected the end of the statement, found `<-`
      help: to compare with a negative number put a space: `a < -b`
    E0101 110..112 `<-`: expected `=` or `~`, found `<-`
      help: a declared thing starts with `= value` and is updated in a statement of its own
    "#);
}

#[test]
fn plastic_headers() {
    let text = r"network n {
  plastic rec h -> y { transmit = w }
  plastic rec: h y { b c d }
  plastic rec: h -> y
  plastic: h -> y { }
}
";
    assert_snapshot!(errors(text), @r#"
    E0101 26..27 `h`: expected `:`, found `h`
      help: write `plastic NAME: pre -> post`
    E0101 44..45 `=`: expected an expression, found `=`
      help: `transmit` takes the value itself: `transmit w + alpha * hebb`
    E0101 67..68 `y`: expected `->`, found `y`
      help: write `plastic NAME: pre -> post`
    E0101 73..74 `c`: expected `=` or `<-`, found `c`
      help: a value is written `name = ...`, an update `name <- ...`
    E0101 100..100 ``: expected `using`, `reset` or `{`, found the end of the line
      help: a bundle has a body, a rule after `using`, or both
    E0101 110..111 `:`: expected a name, found `:`
    "#);
}

#[test]
fn expressions() {
    let text = r"network n {
  q = x + * 3
  w = f(a b)
  x = y[3]
  c = (a + )
  d = 5 ** 3
  e = 2 3
  y =
  h <- y
  f = a and b
  when a = 3 { b }
}
";
    assert_snapshot!(errors(text), @r#"
    E0101 22..23 `*`: expected an expression, found `*`
    E0101 36..37 `b`: expected `,` or `)`, found `b`
    E0101 61..62 `)`: expected an expression, found `)`
    E0101 72..73 `*`: expected an expression, found `*`
      help: a power is written `a ^ b`
    E0101 84..85 `3`: expected the end of the statement, found `3`
    E0101 91..91 ``: expected an expression, found the end of the line
    E0101 109..112 `and`: expected an operator, found `and`
      help: write `&&`
    E0101 124..125 `=`: expected `{`, found `=`
      help: write `==` to compare
    E0101 130..131 `b`: expected a statement, found `b`
      help: a value is written `name = ...`, an update `name <- ...`
    "#);
}

#[test]
fn folded_expressions() {
    let text = r"network n {
  a = b <= c == d
  b = f(x = 1, 3)
  c = (b <= c) == d
}
";
    assert_snapshot!(errors(text), @r#"
    E0101 25..27 `==`: comparisons do not chain
      20..22: the first comparison
      help: write `a <= b && b == c`, or put one comparison in parentheses
    E0101 45..46 `3`: a positional argument after a named one
      38..39: named argument
      help: put the named arguments last
    "#);
}

#[test]
fn literals() {
    let text = r#"network n {
  r = 3x + 1
  r = .5
  r = 1.
  r = 1_
  r = 1e999
}
task t { s = "abc
  q = 200MB
  big = 'x'
}
"#;
    assert_snapshot!(errors(text), @r#"
    E0105 79..83 `\"abc`: a text without its closing quote
      help: end it with `"` on the same line
    E0105 18..20 `3x`: `3x` is not a number
      help: write a quantity with its unit as a text, `"3x"`; names do not begin with a digit
    E0105 31..33 `.5`: `.5` is not a number
      help: write `0.5`: digits stand on both sides of the point
    E0101 41..42 `.`: expected the end of the statement, found `.`
      help: digits stand on both sides of the point: `1.0`
    E0105 49..51 `1_`: `1_` is not a number
      help: write a number as `200_000`, `0.5` or `1e-4`
    E0105 58..63 `1e999`: a number that is too large
      help: the largest number is about `1.8e308`
    E0105 90..95 `200MB`: `200MB` is not a number
      help: write a quantity with its unit as a text, `"200MB"`; names do not begin with a digit
    E0101 104..105 `\'`: expected an expression, found `'`
      help: texts stand in double quotes: `"text"`
    "#);
}

#[test]
fn reserved_words() {
    let text = r"network n {
  per = 3
  trace on = 0
  y = using
  trnsmit w
  weight w per
  state q reset
}
rule f(a, per) { }
";
    assert_snapshot!(errors(text), @r#"
    E0101 14..17 `per`: expected a statement, found the reserved word `per`
      help: `per` is a word of the language; choose another name
    E0101 30..32 `on`: expected a name, found the reserved word `on`
      help: `on` is a word of the language; choose another name
    E0101 43..48 `using`: expected an expression, found the reserved word `using`
      help: `using` is a word of the language; choose another name
    E0101 51..58 `trnsmit`: expected a statement, found `trnsmit`
      help: did you mean `transmit`?
    E0101 75..75 ``: expected `connection`, `post`, `pre` or `network`, found the end of the line
      help: `per` says of what there is one each
    E0101 92..93 `}`: expected a name, found `}`
      help: after `reset` comes `episode`, `trial`, `never` or `carry`
    E0101 104..107 `per`: expected a name or `)`, found the reserved word `per`
      help: `per` is a word of the language; choose another name
    "#);
}

#[test]
fn foreign_characters() {
    let text =
        "network n {\n  größe = 3\n  y = x − 1\n  z = a×b\n  w = 1 ≤ 2\n}\ndim N = 3\u{a0}+ 1\n";
    assert_snapshot!(errors(text), @r#"
    E0101 14..21 `größe`: `größe` cannot be a name
      help: names are made of the letters a-z and A-Z, digits and `_`
    E0101 34..37 `−`: expected the end of the statement, found `−`
      help: write `-`
    E0101 47..49 `×`: expected the end of the statement, found `×`
      help: write `*`
    E0101 59..62 `≤`: expected the end of the statement, found `≤`
      help: write `<=`
    E0101 76..78 `\u{a0}`: expected the end of the item, found the invisible character U+00A0
      help: put an ordinary space there, or nothing
    "#);
}

#[test]
fn settings() {
    let text = r"train a2c {
  lr: 3
  batch = 3 4, eps = = 2
  a.b <- 3
  optimizer adam { , lr = 1;
    x y z
  }
}
";
    assert_snapshot!(errors(text), @r#"
    E0101 16..17 `:`: expected `=` or `{`, found `:`
      help: a setting is written `name = value`
    E0101 32..33 `4`: expected `,` or the end of the setting, found `4`
    E0101 41..42 `=`: expected an expression, found `=`
    E0101 51..53 `<-`: expected `=`, found `<-`
      help: a setting is written `name = value`
    E0101 75..76 `,`: expected a setting, found `,`
      help: take this `,` away
    E0101 93..94 `z`: expected `{`, found `z`
    "#);
}

#[test]
fn separators() {
    let text = r"network n {
  y = 3, z = 4
  ;
  trace a = 0, b = 0,
}
task t { a = 1,, b = 2 }
";
    assert_snapshot!(errors(text), @r#"
    E0101 19..20 `,`: expected the end of the statement, found `,`
      help: take this `,` away: statements are separated by line ends or `;`
    E0101 53..54 `}`: expected a name, found `}`
      help: take the last `,` away
    E0101 70..71 `,`: expected a setting, found `,`
      help: take this `,` away
    "#);
}

#[test]
fn items() {
    let text = r"x = 3
input y: [3]
netwrk a { input x: [3]
  y = 3 }
network { y = = 3 }
dim N
dim N =
import foo
foo
";
    assert_snapshot!(errors(text), @r#"
    E0101 2..3 `=`: expected a name or `{`, found `=`
      help: values stand inside a network or rule, settings inside a block; `dim NAME = value` names a size
    E0101 6..11 `input`: expected an item, found the reserved word `input`
      help: statements stand inside `network NAME { ... }`, `cell NAME(...) { ... }` or `rule NAME(...) { ... }`
    E0101 19..25 `netwrk`: expected an item, found `netwrk`
      help: did you mean `network`?
    E0101 61..62 `{`: expected a name, found `{`
      help: give it a name before the `{`
    E0101 67..68 `=`: expected an expression, found `=`
    E0101 78..78 ``: expected `=`, found the end of the line
    E0101 86..86 ``: expected an expression, found the end of the line
    E0101 94..97 `foo`: expected a text in quotes, found `foo`
    E0101 98..101 `foo`: expected an item, found `foo`
      help: a file is made of `import`, `dim`, `rule`, `cell`, `network` and blocks such as `task NAME { ... }`
    "#);
}

#[test]
fn item_in_a_network() {
    let text = r"network n {
  dim N = 3
  a b
}
";
    assert_snapshot!(errors(text), @r#"
    E0101 14..17 `dim`: expected a statement, found the reserved word `dim`
      help: `dim` stands outside of all braces; is a `}` missing before it?
    E0101 28..29 `b`: expected `=` or `<-`, found `b`
      help: a value is written `name = ...`, an update `name <- ...`
    "#);
}

#[test]
fn unclosed_brace() {
    let text = r"network n {
  plastic r: h -> y {
    transmit w
  y = 3
}
task t { a = }
";
    assert_snapshot!(errors(text), @r#"
    E0102 32..33 `{`: `{` is never closed
      57..58: this `}` is indented as that of an outer bracket
      help: close it with `}`
    E0101 72..73 `}`: expected an expression, found `}`
    "#);
}

#[test]
fn unclosed_brace_before_an_item() {
    let text = r"network n {
  y = f(1

network m {
  y = = 2
}
";
    assert_snapshot!(errors(text), @r#"
    E0102 19..20 `(`: `(` is never closed
      21..21: expected `)` before here
      help: close it with `)`
    E0101 41..42 `=`: expected an expression, found `=`
    "#);
}

#[test]
fn wrong_brackets() {
    let text = r"network n {
  y = (3]
  z = tanh(x
}
task t { b = 1 2 }
";
    assert_snapshot!(errors(text), @r#"
    E0102 20..21 `]`: `(` is closed by `]`
      18..19: this `(` is open here
    E0102 35..36 `}`: `(` is closed by `}`
      32..33: this `(` is open here
    E0101 52..53 `2`: expected `,` or the end of the setting, found `2`
    "#);
}

#[test]
fn stray_bracket() {
    let text = r"network n {
  y = = 3
}
}
task t { b = 1 2 }
";
    assert_snapshot!(errors(text), @r#"
    E0102 24..25 `}`: `}` closes nothing
      10..11: the last `{` is this one
      22..23: and is closed here
      help: take this `}` away, or open its partner before it
    E0101 18..19 `=`: expected an expression, found `=`
    E0101 41..42 `2`: expected `,` or the end of the setting, found `2`
    "#);
}

#[test]
fn unindented_blocks_beside_a_wrong_bracket() {
    let text = r"task t { a = (1 }
train a2c {
optimizer adam { lr = = 1 }
}
";
    assert_snapshot!(errors(text), @r#"
    E0102 16..17 `}`: `(` is closed by `}`
      13..14: this `(` is open here
    E0101 52..53 `=`: expected an expression, found `=`
    "#);
}

#[test]
fn uses_of_cells() {
    let text = r"network n {
  cell a lstm(x)
  cell b: lstm
  cell c: (x)
  cell d: lstm(x) using
  cell e: lstm(x) reset
  cell f: lstm(x) { w = }
  cell g: lstm(x) 3
  cel h: lstm(x)
}
";
    assert_snapshot!(errors(text), @r#"
    E0101 21..25 `lstm`: expected `:`, found `lstm`
      help: write `cell NAME: CELL(arguments)`
    E0101 43..43 ``: expected `(`, found the end of the line
    E0101 54..55 `(`: expected a name, found `(`
    E0101 81..81 ``: expected a name, found the end of the line
    E0101 105..105 ``: expected a name, found the end of the line
      help: after `reset` comes `episode`, `trial`, `never` or `carry`
    E0101 130..131 `}`: expected an expression, found `}`
    E0101 150..151 `3`: expected a statement, found `3`
    E0101 154..157 `cel`: expected a statement, found `cel`
      help: did you mean `cell`?
    "#);
}

#[test]
fn items_for_cells() {
    let text = r"cell (x) { y = 1 }
cel a(x) { state y = 1 }
cell b(x, = 2) { y = = 1 }
cell c(x { y = 1 }
cell d { y = 1
cell e(x) { y = 2 2 }
";
    assert_snapshot!(errors(text), @r#"
    E0102 77..78 `(`: `(` is never closed
      89..89: expected `)` before here
      help: close it with `)`
    E0102 97..98 `{`: `{` is never closed
      104..104: expected `}` before here
      help: close it with `}`
    E0101 5..6 `(`: expected a name or `{`, found `(`
      help: write `cell NAME(parameters) { ... }`
    E0101 24..25 `(`: expected `{`, found `(`
      help: did you mean `cell`?
    E0101 38..39 `=`: expected `{`, found `=`
    E0101 54..55 `=`: expected a name or `)`, found `=`
      help: write `cell NAME(parameters) { ... }`
    E0101 65..66 `=`: expected an expression, found `=`
    E0101 123..124 `2`: expected the end of the statement, found `2`
    "#);
}
