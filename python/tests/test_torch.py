"""The PyTorch layer; skipped where PyTorch is not installed."""
import copy
import gc
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import bpmc
import bpmc.torch
from specs import NOISY, RULES, SEVERAL


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, shape)).to(dtype)


@pytest.mark.parametrize("rule", RULES)
def test_gradcheck(rule):
    layer = bpmc.torch.Layer(RULES[rule], seed=1, dtype=torch.float64)
    x = numbers(4, 2, 3, dtype=torch.float64).requires_grad_()
    states = {name: (0.3 * numbers(2, *dims, seed=7, dtype=torch.float64)).requires_grad_() for name, dims in layer.states.items()}
    names = [name for name, _ in layer.named_parameters()]
    trained = [values.detach().clone().requires_grad_() for _, values in layer.named_parameters()]

    def f(x, *rest):
        first, weights = rest[:len(states)], rest[len(states):]
        y, after = torch.func.functional_call(layer, dict(zip(names, weights)), (x, dict(zip(states, first))))
        return y, *after.values()

    assert torch.autograd.gradcheck(f, (x, *states.values(), *trained))


class Written(torch.nn.Module):
    """The rule `retroactive` written in PyTorch, with the parameters of a layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        p = {slot.name: self.layer.parameter(slot.name) for slot in self.layer._program.parameters}
        h = torch.zeros(x.shape[1], 4)
        hebb, e = torch.zeros(x.shape[1], 4, 4), torch.zeros(x.shape[1], 4, 4)
        outputs = []
        for row in x:
            y = torch.tanh(row @ p["y.linear.weight"] + p["y.linear.bias"] + torch.einsum("bi,bij->bj", h, p["rec.w"] + p["rec.alpha"] * hebb))
            m = torch.tanh(y @ p["m.linear.weight"] + p["m.linear.bias"])
            hebb = torch.clip(hebb + m[:, :, None] * e, -1, 1)
            e = (1 - p["rec.eta"]) * e + p["rec.eta"] * h[:, :, None] * y[:, None, :]
            h = y
            outputs.append(y @ p["label.linear.weight"] + p["label.linear.bias"])
        return torch.stack(outputs)


def test_f32_is_that_of_pytorch():
    layer = bpmc.torch.Layer(RULES["retroactive"], seed=1)
    x, seed = numbers(20, 3, 3), numbers(20, 3, 2, seed=1)
    found = []
    for module in (lambda x: layer(x)[0], Written(layer)):
        layer.zero_grad()
        given = x.clone().requires_grad_()
        y = module(given)
        (y * seed).sum().backward()
        found.append([y, given.grad, *(values.grad.clone() for values in layer.parameters())])
    for one, other in zip(*found):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=2e-5)


def test_a_model_with_two_layers_trains():
    torch.manual_seed(0)
    model = torch.nn.ModuleDict({
        "first": bpmc.torch.Layer(RULES["plain"], seed=1),
        "between": torch.nn.Linear(2, 3),
        "second": bpmc.torch.Layer(RULES["delta"], seed=2),
    })
    x, wanted = numbers(8, 5, 3), numbers(8, 5, 2, seed=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        y, _ = model["first"](x)
        y, _ = model["second"](torch.relu(model["between"](y)))
        loss = (y - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_states_go_on_and_carry_gradients():
    layer = bpmc.torch.Layer(RULES["plain"])
    x = numbers(6, 2, 3).requires_grad_()
    whole, end = layer(x)
    first, state = layer(x[:2])
    second, last = layer(x[2:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(last["rec.hebb"], end["rec.hebb"], atol=1e-6, rtol=1e-6)
    (one,) = torch.autograd.grad(whole.sum(), x)
    (other,) = torch.autograd.grad(second.sum() + first.sum(), x)
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_state_dict_and_copies():
    layer = bpmc.torch.Layer(RULES["plain"], seed=1)
    assert "weights.rec.alpha" in layer.state_dict()
    other = bpmc.torch.Layer(RULES["plain"], seed=2)
    x = numbers(3, 2, 3)
    assert not torch.equal(layer(x)[0], other(x)[0])
    other.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x)[0], other(x)[0])
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(again(x)[0], layer(x)[0])
        again.parameter("rec.w").data.zero_()
        assert not torch.equal(again(x)[0], layer(x)[0])


def test_double():
    layer = bpmc.torch.Layer(RULES["plain"], seed=1)
    x = numbers(3, 2, 3)
    single = layer(x)[0]
    double = layer.double()(x.double())[0]
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, atol=1e-6, rtol=1e-6)


def test_batch_first_and_several():
    layer = bpmc.torch.Layer(RULES["plain"], seed=1)
    turned = bpmc.torch.Layer(RULES["plain"], seed=1, batch_first=True)
    x = numbers(5, 2, 3)
    torch.testing.assert_close(turned(x.transpose(0, 1))[0].transpose(0, 1), layer(x)[0])
    several = bpmc.torch.Layer(SEVERAL)
    outputs, state = several({"a": numbers(4, 2, 2), "b": numbers(4, 2)})
    assert set(outputs) == {"one", "all"} and set(state) == {"h", "seen"}
    state["seen"].sum().backward()
    assert sum(float(p.grad.abs().sum()) for p in several.parameters()) > 0


def test_noise_is_new_in_training_alone():
    layer = bpmc.torch.Layer(NOISY)
    x = torch.zeros(3, 2, 2)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_compiled_models():
    layer = bpmc.torch.Layer(RULES["simple"], seed=1)
    head = torch.nn.Linear(2, 1)

    def model(x):
        return head(layer(2 * x)[0]).square().mean()

    x = numbers(5, 2, 3)
    found = []
    for f in (model, torch.compile(model, backend="aot_eager", fullgraph=True)):
        layer.zero_grad()
        head.zero_grad()
        loss = f(x)
        loss.backward()
        found.append([loss, *(p.grad.clone() for p in [*layer.parameters(), *head.parameters()])])
    for one, other in zip(*found):
        torch.testing.assert_close(one, other)


def test_the_operator_is_sound():
    layer = bpmc.torch.Layer(RULES["plain"])
    program = layer._program
    parameters = [layer.parameter(slot.name) for slot in program.parameters]
    given = (program.number, parameters, [numbers(3, 2, 3).requires_grad_()], [], 3, 2, 0, 0, True, True)
    torch.library.opcheck(torch.ops.bpmc.forward.default, given, test_utils=("test_schema", "test_faketensor"))


def test_memory_of_tapes_is_given_back():
    layer = bpmc.torch.Layer(RULES["plain"])
    x = numbers(3, 2, 3)
    kept = [layer(x)[0] for _ in range(3)]
    assert len(bpmc.torch._TAPES) == 3
    del kept
    gc.collect()
    assert len(bpmc.torch._TAPES) == 0
    with torch.no_grad():
        layer(x)
    assert len(bpmc.torch._TAPES) == 0


@pytest.mark.parametrize("x,error,text", [
    (torch.zeros(5, 2, 4), ValueError, r"the input `x` has the shape \[5, 2, 4\], and \[5, 2, 3\]"),
    (torch.zeros(5, 2, 3, dtype=torch.float64), TypeError, "torch.float64 and the layer torch.float32"),
    (torch.zeros(3), ValueError, "the axes steps, lanes, size"),
    ({"y": torch.zeros(5, 2, 3)}, KeyError, "no input `y`"),
])
def test_wrong_use_is_an_exception_with_names(x, error, text):
    with pytest.raises(error, match=text):
        bpmc.torch.Layer(RULES["plain"])(x)


def test_contiguous_tensors_are_read_where_they_lie(monkeypatch):
    layer = bpmc.torch.Layer(RULES["plain"])
    x, seen = numbers(5, 2, 3), []
    run = bpmc._native.run
    monkeypatch.setattr(bpmc._native, "run", lambda *given: seen.append(given) or run(*given))
    layer(x)
    assert seen[0][4] == [x.data_ptr()]
