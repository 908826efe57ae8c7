//! Tests of the canonical text.

use insta::assert_snapshot;

use super::canonical;

#[test]
fn spacing_and_blank_lines() {
    let text = r"

//! head



network n{input  x:[3]// size



  y=tanh( x )  ;z=y

}
dim N=3
";
    assert_snapshot!(canonical(text), @r#"
    //! head

    network n {
      input x: [3]  // size

      y = tanh(x)
      z = y
    }
    dim N = 3
    "#);
}

#[test]
fn bodies_on_one_line() {
    let text = r"network n {
  on post[0..N/2]{a<-1;b<-2}
  when x {
    a <- 1 }
  when x { } when y {
}
  when external reward_of_the_task { a_long_name_of_a_trace <- another_long_name + a_third_long_name * 2 }
}
task t { a=1,b {c=2} }
task t { }
";
    assert_snapshot!(canonical(text), @r#"
    network n {
      on post[0 .. N / 2] { a <- 1; b <- 2 }
      when x {
        a <- 1
      }
      when x {}
      when y {}
      when external reward_of_the_task {
        a_long_name_of_a_trace <- another_long_name + a_third_long_name * 2
      }
    }
    task t { a = 1, b { c = 2 } }
    task t {}
    "#);
}

#[test]
fn settings_that_share_a_line() {
    let text = r"train t {
  a = 1, b = 2,
  c = 3 d = 4 // four
  // own
  e {
 f = 1 }, g = 2
  o adam { lr = 1e-4,eps=1e-6 }, p = 1
}
";
    assert_snapshot!(canonical(text), @r#"
    train t {
      a = 1, b = 2
      c = 3, d = 4  // four
      // own
      e {
        f = 1
      }
      g = 2
      o adam { lr = 1e-4, eps = 1e-6 }, p = 1
    }
    "#);
}

#[test]
fn declared_names_that_share_a_line() {
    let text = r"network n {
  trace hebb = 0, // fast
     e = 0, f // slow
     // third
     , g = 0
  weight w ~ uniform(0,1), coeff a = 1 // both
}
";
    assert_snapshot!(canonical(text), @r#"
    network n {
      trace hebb = 0,  // fast
        e = 0, f,  // slow
        // third
        g = 0
      weight w ~ uniform(0, 1)
      coeff a = 1  // both
    }
    "#);
}

#[test]
fn comments_inside() {
    let text = r"network n { // opens
  // first
  y = a + // why
    b // end
  plastic p: a // pre
    -> b { /// inside
  }
  plastic q: a -> b using r(1) {
    // nothing
  }
  // last
} // closes
// after
";
    assert_snapshot!(canonical(text), @r#"
    network n {  // opens
      // first
      // why
      y = a + b  // end
      // pre
      plastic p: a -> b {  /// inside
      }
      plastic q: a -> b using r(1) {
        // nothing
      }
      // last
    }  // closes
    // after
    "#);
}

#[test]
fn parentheses() {
    let text = r"network n {
  a = ((x) + (y * z)) - ((w - v))
  b = (-x) ^ 2 + -(x ^ 2) ^ (-y)
  c = (a < b) == (c) && !(d || e)
  d = (2 ^ 3) ^ 4 + 2 ^ (3 ^ 4)
  e = (a + b)[0 .. 1] + (y[0..1])[(0)..1]
  f = a / (b * c) - (-1)
}
";
    assert_snapshot!(canonical(text), @r#"
    network n {
      a = x + y * z - (w - v)
      b = (-x)^2 + -(x^2)^-y
      c = (a < b) == c && !(d || e)
      d = (2^3)^4 + 2^3^4
      e = (a + b)[0 .. 1] + y[0 .. 1][0 .. 1]
      f = a / (b * c) - -1
    }
    "#);
}

#[test]
fn long_expressions() {
    let text = r"network n {
  y = first_long_operand * second_long_operand + third_long_operand * fourth_long_operand - fifth_operand
  z = clip(a_function_name(first_argument, second_argument), lower = -first_bound_of_two, upper = second_bound)
  w = [1111111111, 2222222222, 3333333333, 4444444444, 5555555555, 6666666666, 7777777777, 8888888888, 9]
  trace a_long_trace_name ~ uniform(first_long_bound_of_two, second_long_bound_of_two) per connection reset trial
}
";
    assert_snapshot!(canonical(text), @r#"
    network n {
      y = first_long_operand * second_long_operand
        + third_long_operand * fourth_long_operand
        - fifth_operand
      z = clip(
        a_function_name(first_argument, second_argument),
        lower = -first_bound_of_two,
        upper = second_bound
      )
      w = [
        1111111111,
        2222222222,
        3333333333,
        4444444444,
        5555555555,
        6666666666,
        7777777777,
        8888888888,
        9
      ]
      trace a_long_trace_name ~ uniform(
        first_long_bound_of_two,
        second_long_bound_of_two
      ) per connection reset trial
    }
    "#);
}

#[test]
fn cells() {
    let text = r"cell layer( x,size=N ){cell inner:lstm(x,size)using plain}
cell bare{}
network n{
  // the first
  cell a : plastic_lstm(x,200,init=uniform(-0.1,0.1))using simple(m)reset carry{coeff alpha~uniform(0,1)}  // kept
  cell b:plastic_lstm(a.h, 200, init = uniform(-0.1, 0.1)) using retroactive_per_connection(m, gain0 = uniform(-0.1, 0.1)) reset carry {
    weight w ~ uniform(0, 1) }
  cell c: lstm(b.h, 200)
  plastic r:h->y reset trial{ transmit w }
  plastic q:h->y using plain reset trial
}
";
    assert_snapshot!(canonical(text), @r#"
    cell layer(x, size = N) { cell inner: lstm(x, size) using plain() }
    cell bare() {}
    network n {
      // the first
      cell a: plastic_lstm(x, 200, init = uniform(-0.1, 0.1)) using simple(m) reset carry {
        coeff alpha ~ uniform(0, 1)
      }  // kept
      cell b: plastic_lstm(a.h, 200, init = uniform(-0.1, 0.1)) using retroactive_per_connection(
        m,
        gain0 = uniform(-0.1, 0.1)
      ) reset carry {
        weight w ~ uniform(0, 1)
      }
      cell c: lstm(b.h, 200)
      plastic r: h -> y reset trial { transmit w }
      plastic q: h -> y using plain() reset trial
    }
    "#);
}
