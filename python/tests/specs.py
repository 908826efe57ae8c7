"""Specs for the tests: the paper's three rules, and two of a user's own."""


def plastic(using, rule="", more="", inputs=3, neurons=4):
    return f"""
{rule}
network net {{
  input x: [{inputs}]
  state h: [{neurons}] = 0
  plastic rec: h -> y using {using} {{
    weight w ~ uniform(-0.5, 0.5)
    coeff alpha ~ uniform(0, 0.4)
  }}
  y = tanh(linear(x) + rec)
  {more}
  h <- y
  output label = linear(y, 2)
}}
"""


MODULATED = "modulator m = tanh(linear(y, 1))"
DELTA = """rule delta(m) {
  trained eta = 0.2
  trace a = 0
  transmit w + alpha * a
  a <- a + eta * m * (post - a) * pre
}"""
TWO = """rule two() {
  trained fast = 0.3 per connection
  trace a = 0, b = 0.05
  transmit w + alpha * a + b
  a <- 0.8 * a + fast * pre * post
  b <- b + 0.1 * (a - b)
}"""

RULES = {
    "plain": plastic("plain()"),
    "simple": plastic("simple(m)", more=MODULATED),
    "retroactive": plastic("retroactive(m)", more=MODULATED),
    "delta": plastic("delta(m)", DELTA, MODULATED),
    "two": plastic("two()", TWO),
}

#: Two inputs, two outputs, a state that nothing reads.
SEVERAL = """
network several {
  input a: [2]
  input b: [1]
  state h: [3] = 0.5
  state seen: [3] = 0
  h <- tanh(linear(a) + linear(b) + linear(h))
  seen <- h * h
  output one = linear(h, 1)
  output all = h
}
"""

NOISY = """
network noisy {
  input x: [2]
  state h: [2] = 0
  noise n: [2] ~ normal(0, 0.3)
  h <- tanh(linear(x) + n)
  output y = h
}
"""
