"""Networks on NumPy arrays."""
import gc
import os
import pickle
import resource
import signal
import threading

import numpy as np
import pytest

import bpmc
from specs import NOISY, RULES, SEVERAL


def numbers(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def by_hand(net, x, h, hebb):
    """The plain rule, step by step."""
    p = net.parameters
    read, read_bias = p["y.linear.weight"], p["y.linear.bias"]
    out, out_bias = p["label.linear.weight"], p["label.linear.bias"]
    outputs = []
    for row in x:
        y = np.tanh(row @ read + read_bias + np.einsum("bi,bij->bj", h, p["rec.w"] + p["rec.alpha"] * hebb))
        hebb = np.clip(hebb + p["rec.eta"] * h[:, :, None] * y[:, None, :], -1, 1)
        h = y
        outputs.append(y @ out + out_bias)
    return np.stack(outputs), h, hebb


@pytest.mark.parametrize("dtype,near", [(np.float32, 2e-6), (np.float64, 1e-12)])
def test_a_run_is_that_of_the_equations(dtype, near):
    net = bpmc.Network(RULES["plain"], seed=3, dtype=dtype)
    x = numbers(9, 5, 3, dtype=dtype)
    out, state = net.run(x)
    wanted, h, hebb = by_hand(net, x, np.zeros((5, 4), dtype), np.zeros((5, 4, 4), dtype))
    assert out.dtype == dtype and state.steps == 9
    np.testing.assert_allclose(out, wanted, atol=near)
    np.testing.assert_allclose(state["h"], h, atol=near)
    np.testing.assert_allclose(state["rec.hebb"], hebb, atol=near)


def test_steps_are_a_run():
    for spec in [*RULES.values(), NOISY]:
        net = bpmc.Network(spec, seed=1)
        x = numbers(6, 2, net.inputs["x"][0])
        out, state = net.run(x)
        rows, now = [], None
        for row in x:
            y, now = net.step(row, now)
            rows.append(y)
        np.testing.assert_array_equal(np.stack(rows), out)
        assert now.steps == 6
        for name in state:
            np.testing.assert_array_equal(now[name], state[name])


def test_gradients_are_those_of_finite_differences():
    net = bpmc.Network(RULES["retroactive"], seed=2, dtype=np.float64)
    x, seed = numbers(7, 3, 3, dtype=np.float64), numbers(7, 3, 2, seed=1, dtype=np.float64)
    start = {"h": numbers(3, 4, seed=2, dtype=np.float64), "rec.hebb": 0.1 * numbers(3, 4, 4, seed=3, dtype=np.float64)}
    end = numbers(3, 4, 4, seed=4, dtype=np.float64)

    def loss():
        out, state = net.run(x, start)
        return (out * seed).sum() + (state["rec.hebb"] * end).sum()

    with net.record(x, start) as tape:
        grads = tape.backward({"label": seed}, {"rec.hebb": end})
    assert set(grads.parameters) == set(net.parameters.trained)
    arrays = [(grads.parameters[path], net.parameters[path]) for path in grads.parameters]
    arrays += [(grads.inputs["x"], x), (grads.state["h"], start["h"]), (grads.state["rec.hebb"], start["rec.hebb"])]
    for found, array in arrays:
        assert found.shape == array.shape
        direction, before = numbers(*array.shape, seed=9, dtype=np.float64), array.copy()
        changes = []
        for by in (1e-6, -1e-6):
            array[...] = before + by * direction
            changes.append(loss())
        array[...] = before
        np.testing.assert_allclose((found * direction).sum(), (changes[0] - changes[1]) / 2e-6, rtol=1e-6, atol=1e-8)


def test_a_tape_can_be_used_again_until_it_is_freed():
    net = bpmc.Network(RULES["plain"])
    tape = net.record(numbers(5, 2, 3))
    seed = numbers(5, 2, 2)
    first, second = tape.backward(seed), tape.backward({"label": seed})
    np.testing.assert_array_equal(first.inputs["x"], second.inputs["x"])
    tape.free()
    with pytest.raises(bpmc.FreedError, match="freed"):
        tape.backward(seed)


def test_several_inputs_and_outputs():
    net = bpmc.Network(SEVERAL)
    a, b = numbers(4, 2, 2), numbers(4, 2)
    out, state = net.run({"a": a, "b": b})
    assert out["one"].shape == (4, 2, 1) and out["all"].shape == (4, 2, 3)
    np.testing.assert_allclose(state["seen"], out["all"][-1] ** 2, atol=1e-6)
    grads = net.record({"a": a, "b": b}).backward({"all": np.ones((4, 2, 3), np.float32)})
    assert grads.inputs["b"].shape == (4, 2, 1)
    with pytest.raises(TypeError, match="`a`, `b`: give a dictionary"):
        net.run(a)
    with pytest.raises(KeyError, match="the input `b` of the network `several` is missing"):
        net.run({"a": a})


def test_contiguous_arrays_are_read_where_they_lie(monkeypatch):
    net = bpmc.Network(RULES["plain"])
    x = numbers(5, 2, 3)
    state = {"rec.hebb": np.zeros((2, 4, 4), np.float32)}
    seen = []
    run = bpmc._native.run
    monkeypatch.setattr(bpmc._native, "run", lambda *given: seen.append(given) or run(*given))
    net.run(x, state)
    _, _, _, parameters, inputs, states, *_ = seen[0]
    assert inputs == [x.ctypes.data]
    assert state["rec.hebb"].ctypes.data in states
    assert parameters == [values.ctypes.data for values in net.parameters.values()]
    net.run(np.asfortranarray(x))
    assert seen[1][4] != [x.ctypes.data]


def test_parameters_by_path():
    net = bpmc.Network(RULES["plain"], seed=5)
    again = bpmc.Network(RULES["plain"], seed=5)
    for path, values in net.parameters.items():
        np.testing.assert_array_equal(values, again.parameters[path])
    x = numbers(5, 2, 3)
    before, _ = net.run(x)
    net.parameters["rec.w"] = np.zeros((4, 4))
    assert not np.array_equal(net.run(x)[0], before)
    net.parameters["rec.w"][...] = again.parameters["rec.w"]
    np.testing.assert_array_equal(net.run(x)[0], before)
    with pytest.raises(KeyError, match=r"no parameter `rec.W` \(did you mean `rec.w`\?\)"):
        net.parameters["rec.W"]
    with pytest.raises(ValueError, match=r"the parameter `rec.w` has the shape \[3\], and \[4, 4\] is needed"):
        net.parameters["rec.w"] = np.zeros(3)


def test_overrides():
    spec = "dim N = 4 network net { input x: [N] output y = linear(x, N) }"
    assert bpmc.Network(spec, set={"N": 6}).inputs == {"x": (6,)}


@pytest.mark.parametrize("call,error,text", [
    (lambda net: net.run(np.zeros((5, 2, 4), np.float32)), ValueError, r"the input `x` has the shape \[5, 2, 4\], and \[5, 2, 3\]"),
    (lambda net: net.run(np.zeros(3)), ValueError, "the axes steps, lanes, size are needed"),
    (lambda net: net.run(np.zeros((0, 2, 3))), ValueError, "at least one of each"),
    (lambda net: net.run(np.array([["a"]])), (TypeError, ValueError), "the input `x`"),
    (lambda net: net.run({"y": 1}), KeyError, "no input `y`; it has: `x`"),
    (lambda net: net.run(np.zeros((5, 2, 3)), {"g": 0}), KeyError, "no state `g`"),
    (lambda net: net.run(np.zeros((5, 2, 3)), {"h": np.zeros((3, 4))}), ValueError, r"the state `h` has the shape \[3, 4\]"),
    (lambda net: net.run(np.zeros((5, 2, 3)), [1]), TypeError, "a dictionary of arrays by name, and not list"),
    (lambda net: net.record(np.zeros((5, 2, 3))).backward({"label": np.zeros((5, 2, 3))}), ValueError, "derivative by the output"),
    (lambda net: bpmc.Network(RULES["plain"], dtype=np.int32), TypeError, "float32 or float64"),
    (lambda net: bpmc.Network("nowhere.bpm"), FileNotFoundError, "there is no spec nowhere.bpm"),
])
def test_wrong_use_is_an_exception_with_names(call, error, text):
    with pytest.raises(error, match=text):
        call(bpmc.Network(RULES["plain"]))


def test_errors_of_a_spec_show_the_excerpt():
    with pytest.raises(bpmc.CompileError) as caught:
        bpmc.Network("network net { input x: [3] output y = tnah(x) }")
    text = str(caught.value)
    assert "tnah" in text and "did you mean `tanh`?" in text and "^" in text
    (found,) = caught.value.diagnostics
    assert found["severity"] == "error" and found["start"]["line"] == 1
    assert isinstance(caught.value, ValueError)
    assert "tnah" in str(bpmc.check("network net { input x: [3] output y = tnah(x) }"))
    assert not bpmc.check(RULES["plain"])


def test_a_warning_is_a_python_warning():
    spec = "network net { input x: [3] input other: [2] output y = linear(x, 1) }"
    found = bpmc.check(spec)
    assert found and found[0]["severity"] == "warning"
    with pytest.warns(bpmc.CompileWarning, match="other"):
        bpmc.Network(spec)


def test_explain():
    assert "did you mean" in bpmc.explain("E0205") or "E0205" in bpmc.explain("E0205")
    assert bpmc.explain("task sequences") == bpmc.explain("task", "sequences")
    with pytest.raises(bpmc.Error, match="did you mean `maze`"):
        bpmc.explain("task", "mazee")


def test_a_panic_is_an_exception():
    with pytest.raises(bpmc.InternalError, match="a bug in bpmc"):
        bpmc._native.panic()
    assert bpmc.Network(RULES["plain"]).run(numbers(2, 1, 3))[0].shape == (2, 1, 2)


def test_noise_depends_on_seed_and_step():
    x = np.zeros((3, 2, 2), np.float32)
    net = bpmc.Network(NOISY, seed=1)
    np.testing.assert_array_equal(net.run(x)[0], net.run(x)[0])
    assert not np.array_equal(net.run(x)[0], bpmc.Network(NOISY, seed=2).run(x)[0])
    assert not np.array_equal(net.record(x, iteration=1).outputs, net.record(x, iteration=2).outputs)


def test_memory_stays_where_it_was():
    net = bpmc.Network(RULES["simple"])
    x, seed = numbers(20, 4, 3), numbers(20, 4, 2)

    def some(calls):
        for _ in range(calls):
            net.record(x).backward(seed)
            net.run(x)
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    before = some(500)
    # 10 000 calls in all; a leak of 100 bytes in each would show.
    assert some(4500) - before < 1024


def test_two_threads_run_two_networks():
    x = numbers(50, 4, 3)
    nets = [bpmc.Network(RULES[rule]) for rule in ("plain", "retroactive")]
    wanted = [net.run(x)[0] for net in nets]
    wrong = []

    def work(net, outputs):
        for _ in range(30):
            tape = net.record(x)
            tape.backward(np.ones_like(outputs))
            if not np.array_equal(tape.outputs, outputs):
                wrong.append(net.name)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(nets, wanted)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.filterwarnings("ignore:.*fork:")
def test_a_fork_has_threads_of_its_own():
    net, x = bpmc.Network(RULES["plain"]), numbers(5, 4, 3)
    wanted, _ = net.run(x)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if np.array_equal(net.run(x)[0], wanted) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_threads_change_no_number():
    x, seed = numbers(30, 7, 3), numbers(30, 7, 2)
    net = bpmc.Network(RULES["delta"])
    found = []
    try:
        for threads in (1, 3):
            bpmc.set_threads(threads)
            grads = net.record(x).backward(seed)
            found.append([*grads.parameters.values(), *grads.inputs.values()])
    finally:
        bpmc.set_threads(2)
    for one, other in zip(*found):
        np.testing.assert_array_equal(one, other)


def test_programs_are_pickled_by_their_text():
    net = bpmc.Network(RULES["plain"], seed=4)
    again = pickle.loads(pickle.dumps(net))
    x = numbers(3, 2, 3)
    np.testing.assert_array_equal(again.run(x)[0], net.run(x)[0])


def test_equations_in_a_notebook():
    html = bpmc.Network(RULES["retroactive"])._repr_html_()
    assert "equations" in html and "hebb" in html and html.startswith("<div")
