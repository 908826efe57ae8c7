"""The JAX function; skipped where JAX is not installed."""
import numpy as np
import pytest

jax = pytest.importorskip("jax")
jnp = jax.numpy

import bpmc
import bpmc.jax
from specs import RULES, SEVERAL


@pytest.fixture(autouse=True)
def double():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def numbers(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, shape))


@pytest.mark.parametrize("rule", RULES)
def test_gradients_are_those_of_finite_differences(rule):
    from jax.test_util import check_grads

    f = bpmc.jax.function(RULES[rule], seed=1)
    slots = f._program.states
    state = {slot.name: 0.2 * numbers(2, *slot.dims, seed=5) for slot in slots}
    check_grads(lambda p, x, s: f(p, x, s), (f.parameters, numbers(4, 2, 3), state), order=1, modes=["rev"], eps=1e-5)


def test_compiled_functions():
    f = bpmc.jax.function(RULES["plain"], seed=1)
    x = numbers(6, 2, 3)

    def loss(parameters, x):
        y, state = f(parameters, x)
        return (y ** 2).sum() + state["rec.hebb"].sum()

    plain, compiled = jax.grad(loss)(f.parameters, x), jax.jit(jax.grad(loss))(f.parameters, x)
    for path in f.parameters:
        np.testing.assert_allclose(plain[path], compiled[path], rtol=1e-10)
    net = bpmc.Network(RULES["plain"], seed=1, dtype=np.float64)
    np.testing.assert_allclose(f(f.parameters, x)[0], net.run(np.asarray(x))[0], atol=1e-12)


def test_names():
    f = bpmc.jax.function(SEVERAL)
    outputs, state = f(f.parameters, {"a": numbers(4, 2, 2), "b": numbers(4, 2)})
    assert set(outputs) == {"one", "all"} and set(state) == {"h", "seen"}
    with pytest.raises(ValueError, match="the input `b`"):
        f(f.parameters, {"a": numbers(4, 2, 2)})
    with pytest.raises(ValueError, match="the shape"):
        f(f.parameters, {"a": numbers(4, 2, 3), "b": numbers(4, 2)})
