"""The state that an optimizer keeps between steps is saved, and loaded where it fits."""

import copy
import json
import pickle

import numpy as np
import pytest

import minires as mr
from minires import nn, optim
from minires.errors import CheckpointError

MAKERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.1, weight_decay=0.1),
    "AdamW": lambda p: optim.AdamW(p, lr=0.1),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def parameter(*values, dtype=np.float64):
    return nn.Parameter(np.array(values, dtype))


def with_gradient(*values, dtype=np.float64):
    p = parameter(*values, dtype=dtype)
    p.grad = mr.ones(p.shape, dtype=dtype)
    return p


@makers
def test_a_saved_state_continues_bit_for_bit(make):
    gradients = np.random.default_rng(0).standard_normal((6, 3))
    p, q = parameter(0.0, 0.0, 0.0), parameter(0.0, 0.0, 0.0)

    def descend(optimizer, p, gradients):
        for g in gradients:
            p.grad = mr.tensor(g)
            optimizer.step()

    descend(make([p]), p, gradients)
    first, second = make([q]), make([q])
    descend(first, q, gradients[:3])
    second.load_state_dict(first.state_dict())
    descend(second, q, gradients[3:])
    assert np.array_equal(q.numpy(), p.numpy())


@makers
def test_a_state_that_went_through_a_file_continues(make, tmp_path):
    p, q = with_gradient(1.0, 2.0), with_gradient(1.0, 2.0)
    first, second = make([p]), make([q])
    for optimizer in (first, first, second):
        optimizer.step()
    mr.save({k: np.asarray(v) for k, v in second.state_dict()["state"][0].items()}, tmp_path / "a.safetensors")
    q.assign_(q.numpy().copy())
    third = make([q])
    third.load_state_dict({**third.state_dict(), "state": {0: mr.load(tmp_path / "a.safetensors")}})
    third.step()
    assert np.array_equal(q.numpy(), p.numpy())


def test_a_saved_state_is_a_copy_and_is_copied_when_loaded():
    p = with_gradient(1.0)
    optimizer = optim.SGD([p], 0.5, momentum=0.5)
    optimizer.step()
    saved = optimizer.state_dict()
    before = copy.deepcopy(saved)
    optimizer.load_state_dict(saved)
    optimizer.step()
    np.testing.assert_equal(saved, before)


def test_places_that_json_made_strings_of_are_understood():
    optimizer = optim.SGD([parameter(1.0)], 0.1)
    saved = json.loads(json.dumps({**optimizer.state_dict(), "state": {0: {}}}))
    optimizer.load_state_dict(saved)
    assert optimizer.state == {0: {}}


def sgd_state(velocity, place=0, name="velocity"):
    return lambda saved: {**saved, "state": {place: {name: velocity}}}


def sgd_group(**options):
    return lambda saved: {**saved, "param_groups": [{**saved["param_groups"][0], **options}]}


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda saved: {}, r"an optimizer's state has 'state' and 'param_groups', got \[\]"),
        (lambda saved: None, "got a NoneType; use state_dict"),
        (lambda saved: {**saved, "param_groups": 3}, "'param_groups' must be a list of dictionaries, got 3"),
        (lambda saved: {**saved, "param_groups": []}, "saved are 0 parameter groups, but here are 1"),
        (lambda saved: {**saved, "param_groups": [{"lr": 1}]}, r"saved group 0 has the options \['lr'\], but here are"),
        (sgd_group(lr=-5), "saved group 0 does not fit: lr must be a finite number that is not negative, got -5"),
        (sgd_group(lr=np.inf), "saved group 0 does not fit: lr must be a finite number that is not negative, got inf"),
        (sgd_group(lr="big"), "lr must be a finite number that is not negative, got 'big'"),
        (sgd_group(momentum=0.0, nesterov=True), "Nesterov momentum needs a momentum above 0.* got momentum 0.0"),
        (lambda saved: {**saved, "state": []}, "saved 'state' must be a dictionary, got a list"),
        (sgd_state(np.zeros(2, np.float32), place=1), "a state of parameter 1, but here are 0 to 0"),
        (sgd_state(np.zeros(2, np.float32), place=-1), "a state of parameter -1, but here are 0 to 0"),
        (sgd_state(np.zeros(2, np.float32), place="x"), "a state of parameter 'x', but here are 0 to 0"),
        (sgd_state(np.zeros(2, np.float32), name="m"), r"parameter 0 is \['m'\], but SGD keeps \['velocity'\]"),
        (sgd_state(np.zeros(2)), "velocity of parameter 0 is float64 .* but the parameter is float32"),
        (sgd_state(np.zeros(3, np.float32)), r"of shape \(3,\) on cpu, but the parameter is float32 of shape \(2,\)"),
        (sgd_state([0.0, 0.0]), "velocity of parameter 0 is a list, but the parameter is float32"),
        (lambda saved: {**saved, "state": {0: {}, "0": {}}}, "two states of parameter 0, the second under '0'"),
        (lambda saved: {**saved, "state": {0: 7}}, "the saved state of parameter 0 is 7, but SGD keeps"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(damage, text):
    p = with_gradient(1.0, 2.0, dtype=np.float32)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.9)
    optimizer.step()
    before = optimizer.state_dict()
    with pytest.raises(CheckpointError, match=text):
        optimizer.load_state_dict(damage({**optimizer.state_dict()}))
    np.testing.assert_equal(optimizer.state_dict(), before)


@pytest.mark.parametrize(
    ("kept", "text"),
    [
        ({"step": 1}, r"parameter 0 is \['step'\], but Adam keeps \['m', 'step', 'v'\]"),
        ({"step": -1, "m": np.zeros(1), "v": np.zeros(1)}, "saved step of parameter 0 must be an integer .* got -1"),
        ({"step": 1.5, "m": np.zeros(1), "v": np.zeros(1)}, "saved step of parameter 0 must be an integer .* got 1.5"),
    ],
)
def test_a_state_of_adam_that_adam_could_not_have_kept_is_refused(kept, text):
    optimizer = optim.Adam([parameter(1.0)])
    with pytest.raises(CheckpointError, match=text):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": {0: kept}})
    assert optimizer.state == {}


def test_a_state_of_another_optimizer_is_refused():
    p = with_gradient(1.0)
    with pytest.raises(
        CheckpointError,
        match=r"saved group 0 has the options \['betas', .* here are \['dampening', .*\]: it was not saved by SGD",
    ):
        optim.SGD([p]).load_state_dict(optim.Adam([p]).state_dict())


def test_counts_that_are_loaded_are_pythons_integers():
    p = nn.Parameter(np.ones(2, np.float32))
    p.grad = mr.ones(2)
    optimizer = optim.Adam([p])
    optimizer.step()
    saved = optimizer.state_dict()
    saved["state"][0]["step"] = np.uint8(255)
    optimizer.load_state_dict(saved)
    optimizer.step()
    assert optimizer.state[0]["step"] == 256


KINDS = [
    lambda params: optim.SGD(params, 0.1, momentum=0.9),
    lambda params: optim.Adam([{"params": params[:1], "lr": 0.2}, {"params": params[1:]}]),
]


@pytest.mark.parametrize("copied", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])
@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_copy_of_an_optimizer_goes_on_with_the_parameters_that_were_copied_with_it(copied, make, dtype):
    def step(params, optimizer, schedule):
        for p in params:
            p.grad = mr.tensor(np.full(p.shape, 0.5, dtype))
        optimizer.step()
        schedule.step()

    params = [
        mr.tensor(np.ones((2, 3), dtype, order="F"), requires_grad=True),
        mr.tensor(np.ones(2, dtype), requires_grad=True),
    ]
    optimizer = make(params)
    mine = params, optimizer, optim.StepLR(optimizer, 2)
    step(*mine)
    twins = copied(mine)
    before = [p.numpy().copy() for p in params]
    for _ in range(3):
        step(*twins)
    assert all(np.array_equal(p.numpy(), q) for p, q in zip(params, before, strict=True))
    for _ in range(3):
        step(*mine)
    assert all(np.array_equal(p.numpy(), q.numpy()) for p, q in zip(params, twins[0], strict=True))
    assert twins[1].param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
    for place, kept in optimizer.state.items():
        twin = twins[1].state[place]
        assert [getattr(v, "strides", v) for v in kept.values()] == [getattr(v, "strides", v) for v in twin.values()]


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW"])
def test_the_state_of_an_optimizer_of_pytorch_is_told_as_such(kind):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.optim, kind)([torch.ones(2, requires_grad=True)], lr=0.1)
    ours = getattr(optim, kind)([mr.tensor(np.ones(2), requires_grad=True)], lr=0.1)
    with pytest.raises(
        CheckpointError, match=rf"of PyTorch, and these do not load: go on with a new optim\.{kind}, giv"
    ):
        ours.load_state_dict(theirs.state_dict())
