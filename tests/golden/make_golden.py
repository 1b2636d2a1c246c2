"""Make the golden files beside this script from PyTorch: ``python tests/golden/make_golden.py``.

Each file holds cases in float64. A case is one call of an operation that has the same name in PyTorch and minires. The
names of its arrays are ``<case>/<role>/<name>``. The role is ``in`` for inputs; ``out`` for outputs and for arrays that
the call updates, such as running statistics; and ``grad`` for the gradients of Σ gy · y. The metadata of a file hold,
as JSON, the version of PyTorch, and the operation and options of each case.

The script needs torch and torchvision. On one machine, it always writes the same bytes. Another machine may sum in
another order, and differ in the last digits.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

F = torch.nn.functional


class Golden:
    """The cases of one file."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.arrays, self.cases = {}, {}

    def normal(self, *shape):
        return self.rng.standard_normal(shape)

    def put(self, case, role, **arrays):
        for name, value in arrays.items():
            value = value.detach().numpy() if isinstance(value, torch.Tensor) else value
            self.arrays[f"{case}/{role}/{name}"] = np.array(value, order="C")

    def call(self, case, op, inputs, changed=(), **options):
        """Add one call of ``torch.nn.functional``, with gradients of floats that it does not change in place."""
        self.cases[case] = {"op": op, "inputs": list(inputs), "changed": list(changed), "options": options}
        self.put(case, "in", **inputs)
        tensors = {name: torch.tensor(value) for name, value in inputs.items()}
        learnt = {k: t.requires_grad_() for k, t in tensors.items() if t.is_floating_point() and k not in changed}
        y = getattr(F, op)(*tensors.values(), **options)
        gy = self.normal(*y.shape)
        y.backward(torch.tensor(gy))
        self.put(case, "in", gy=gy)
        self.put(case, "out", y=y, **{name: tensors[name] for name in changed})
        self.put(case, "grad", **{name: t.grad for name, t in learnt.items()})

    def write(self, path):
        about = {"torch": torch.__version__.partition("+")[0], "cases": self.cases}
        save_file(self.arrays, path, {"golden": json.dumps(about)})  # one key, since the order of several is not fixed


def conv2d():
    """Return cases of convolutions with all kinds of geometry."""
    cases = {
        "plain": ((2, 3, 6, 6), (4, 3, 3, 3), {}),
        "same": ((2, 3, 7, 5), (4, 3, 3, 3), {"padding": 1}),
        "winograd_size": ((1, 4, 12, 9), (5, 4, 3, 3), {"padding": 1}),
        "pointwise": ((2, 5, 4, 4), (3, 5, 1, 1), {}),
        "pointwise_stride": ((2, 4, 5, 6), (6, 4, 1, 1), {"stride": 2}),
        "stride": ((2, 3, 8, 8), (4, 3, 3, 3), {"stride": 2, "padding": 1}),
        "stem": ((1, 3, 15, 14), (4, 3, 7, 7), {"stride": 2, "padding": 3}),
        "rectangle": ((2, 2, 7, 8), (3, 2, 2, 5), {}),
        "rectangular_all": ((2, 2, 9, 8), (3, 2, 3, 2), {"stride": [2, 3], "padding": [0, 2], "dilation": [3, 1]}),
        "dilation": ((1, 3, 9, 9), (2, 3, 3, 3), {"padding": 2, "dilation": 2}),
        "groups": ((2, 6, 5, 5), (9, 2, 3, 3), {"padding": 1, "groups": 3}),
        "depthwise": ((2, 4, 6, 6), (4, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 4}),
        "wide_padding": ((1, 2, 3, 2), (2, 2, 3, 3), {"padding": 3}),
        "one_output": ((2, 3, 4, 3), (2, 3, 4, 3), {}),
        "unused_pixels": ((1, 2, 8, 6), (2, 2, 2, 2), {"stride": 3}),
    }
    golden = Golden(1)
    for case, (x, w, options) in cases.items():
        inputs = {"x": golden.normal(*x), "weight": golden.normal(*w), "bias": golden.normal(w[0])}
        golden.call(case, "conv2d", inputs, **options)
    return golden


def batch_norm():
    """Return cases of batch norm, training and inference: large offsets, tiny variances, negative gammas."""
    golden = Golden(2)
    scale, offset = np.array([1e-3, 1.0, 40.0]), np.array([2.0, 0.0, -100.0])
    for case, shape, options in (
        ("training", (4, 3, 3, 5), {"training": True}),
        ("training_options", (2, 3, 4, 4), {"training": True, "momentum": 0.3, "eps": 1e-2}),
        ("training_pixels_of_one_image", (1, 3, 2, 2), {"training": True}),
        ("inference", (2, 3, 3, 4), {"training": False}),
        ("inference_options", (3, 3, 1, 2), {"training": False, "eps": 1e-3}),
    ):
        inputs = {
            "x": golden.normal(*shape) * scale[:, None, None] + offset[:, None, None],
            "running_mean": golden.normal(3),
            "running_var": golden.rng.uniform(1e-6, 2.0, 3),
            "weight": golden.normal(3) * np.array([-1.0, 1.0, 2.0]),
            "bias": golden.normal(3),
        }
        golden.call(case, "batch_norm", inputs, changed=("running_mean", "running_var"), **options)
    return golden


def pooling():
    """Return cases of max, average and adaptive average pooling."""
    golden = Golden(3)
    windows = {
        "2": ((2, 3, 6, 7), {"kernel_size": 2}),
        "stem": ((2, 3, 9, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
        "rectangle": ((2, 2, 7, 9), {"kernel_size": [2, 4], "stride": [1, 3], "padding": [1, 2]}),
        "overlap": ((1, 2, 6, 5), {"kernel_size": 3, "stride": 1}),
        "all": ((2, 4, 5, 3), {"kernel_size": [5, 3]}),
    }
    for op in ("max_pool2d", "avg_pool2d"):
        for case, (shape, options) in windows.items():
            golden.call(f"{op}_{case}", op, {"x": golden.normal(*shape)}, **options)
    grids = {"mean": ((2, 5, 4, 3), 1), "grid": ((2, 3, 6, 8), [3, 2]), "uneven": ((2, 2, 7, 5), [3, 4])}
    for case, (shape, size) in grids.items():
        golden.call(f"adaptive_{case}", "adaptive_avg_pool2d", {"x": golden.normal(*shape)}, output_size=size)
    return golden


def elementary():
    """Return cases of ReLU, linear, log-softmax and cross-entropy."""
    golden = Golden(4)
    x = golden.normal(3, 4, 5)
    x[0, 0] = 0.0  # the gradient is 0 here by convention
    golden.call("relu", "relu", {"x": x})
    inputs = {"x": golden.normal(5, 7), "weight": golden.normal(4, 7), "bias": golden.normal(4)}
    golden.call("linear", "linear", inputs)
    del inputs["bias"]
    golden.call("linear_no_bias", "linear", inputs)
    golden.call("log_softmax", "log_softmax", {"x": 5 * golden.normal(4, 6)}, dim=-1)
    golden.call("log_softmax_large", "log_softmax", {"x": 1e3 * golden.normal(3, 5)}, dim=1)
    golden.call("log_softmax_images", "log_softmax", {"x": golden.normal(2, 4, 3)}, dim=1)
    for reduction in ("mean", "sum", "none"):
        for smoothing in (0.0, 0.1):
            for ignored in (-100, 2):
                inputs = {"logits": 3 * golden.normal(6, 5), "labels": np.array([0, 4, 2, 1, 2, 3])}
                case = f"cross_entropy_{reduction}_{smoothing}_{ignored}"
                options = {"reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignored}
                golden.call(case, "cross_entropy", inputs, **options)
    return golden


def blocks():
    """Return cases of torchvision's residual blocks: output, all gradients, and updated running statistics."""
    resnet = torchvision().models.resnet
    golden = Golden(5)
    for case, kind, channels, width, stride in (
        ("basic", "BasicBlock", 4, 4, 1), ("basic_projection", "BasicBlock", 4, 6, 2),
        ("bottleneck", "Bottleneck", 8, 2, 1), ("bottleneck_projection", "Bottleneck", 6, 3, 2),
    ):  # fmt: skip
        block = getattr(resnet, kind)
        out = width * block.expansion
        shortcut = None
        if stride != 1 or channels != out:
            conv = torch.nn.Conv2d(channels, out, 1, stride, bias=False)
            shortcut = torch.nn.Sequential(conv, torch.nn.BatchNorm2d(out))
        model = block(channels, width, stride, shortcut).double()
        state = {}
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                drawn = golden.normal(*value.shape)
                state[name] = np.abs(drawn) + 0.1 if name.endswith("running_var") else drawn
            else:
                state[name] = value.numpy().copy()  # training increases the count
        for mode in ("training", "inference"):
            place = f"{case}_{mode}"
            build = {"block": kind, "channels": channels, "width": width, "stride": stride, "out": out}
            golden.cases[place] = {**build, "training": mode == "training"}
            model.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
            model.train(mode == "training").zero_grad()
            x = torch.tensor(golden.normal(2, channels, 5, 6), requires_grad=True)
            y = model(x)
            gy = golden.normal(*y.shape)
            y.backward(torch.tensor(gy))
            golden.put(place, "in", x=x, gy=gy, **state)
            golden.put(place, "out", y=y, **dict(model.named_buffers()))
            golden.put(place, "grad", x=x.grad, **{name: p.grad for name, p in model.named_parameters()})
    return golden


def sgd():
    """Return cases of ``torch.optim.SGD``: the parameter after each of three steps."""
    golden = Golden(6)
    for case, options in {
        "plain": {"lr": 0.1},
        "momentum": {"lr": 0.1, "momentum": 0.9},
        "momentum_decay": {"lr": 0.2, "momentum": 0.9, "weight_decay": 5e-4},
        "dampening": {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01},
        "nesterov": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "nesterov": True},
    }.items():
        golden.cases[case] = {"options": options}
        p = torch.nn.Parameter(torch.tensor(golden.normal(4, 3)))
        golden.put(case, "in", start=p)
        optimizer = torch.optim.SGD([p], **options)
        for step in range(3):
            g = golden.normal(4, 3)
            p.grad = torch.tensor(g)
            optimizer.step()
            golden.put(case, "in", **{f"gradient_{step}": g})
            golden.put(case, "out", **{f"parameter_{step}": p})
    return golden


def second_order():
    """Return cases of second derivatives: the gradients of Σ v · (first gradients) for gy and the inputs."""
    golden = Golden(7)
    for case, op, shapes, options in (
        ("conv2d", "conv2d", {"x": (2, 3, 6, 5), "weight": (4, 3, 3, 3)}, {"padding": 1}),
        ("conv2d_stride", "conv2d", {"x": (2, 3, 7, 7), "weight": (4, 3, 3, 2)}, {"stride": 2, "padding": [1, 0]}),
        ("conv2d_groups", "conv2d", {"x": (2, 4, 6, 6), "weight": (6, 2, 3, 3)}, {"dilation": [2, 1], "groups": 2}),
        ("batch_norm", "batch_norm", {"x": (3, 2, 4, 3), "weight": (2,), "bias": (2,)}, {"training": True}),
        ("batch_norm_eps", "batch_norm", {"x": (2, 3, 2, 2), "weight": (3,), "bias": (3,)},
         {"training": True, "eps": 0.1}),
    ):  # fmt: skip
        golden.cases[case] = {"op": op, "inputs": list(shapes), "options": options}
        inputs = {name: torch.tensor(golden.normal(*shape), requires_grad=True) for name, shape in shapes.items()}
        if op == "batch_norm":
            x, *rest = inputs.values()
            y = F.batch_norm(x, None, None, *rest, **options)
        else:
            y = F.conv2d(*inputs.values(), **options)
        gy = torch.tensor(golden.normal(*y.shape), requires_grad=True)
        first = torch.autograd.grad(y, list(inputs.values()), gy, create_graph=True)
        vs = {f"v_{name}": torch.tensor(golden.normal(*value.shape)) for name, value in inputs.items()}
        sources = {"gy": gy, **{name: t for name, t in inputs.items() if name != "bias"}}  # linear in the bias
        total = sum((v * g).sum() for v, g in zip(vs.values(), first, strict=True))
        second = torch.autograd.grad(total, list(sources.values()))
        golden.put(case, "in", **inputs, gy=gy, **vs)
        golden.put(case, "out", **dict(zip(inputs, first, strict=True)))
        golden.put(case, "grad", **dict(zip(sources, second, strict=True)))
    return golden


def torchvision():
    """Return torchvision; if its compiled operators are missing, define their names, which the import needs."""
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float threshold) -> Tensor")
        import torchvision
    return torchvision


FILES = {
    "conv2d": conv2d, "batch_norm": batch_norm, "pooling": pooling, "elementary": elementary, "blocks": blocks,
    "sgd": sgd, "second_order": second_order,
}  # fmt: skip

if __name__ == "__main__":
    folder = Path(__file__).parent
    for name, make in FILES.items():
        make().write(folder / f"{name}.safetensors")
        print(f"{name}.safetensors: {(folder / f'{name}.safetensors').stat().st_size:,} bytes")
