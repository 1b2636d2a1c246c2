import numpy as np
import pytest

import minires as mr
from minires import models, nn
from minires.errors import ShapeError
from minires.models.summary import summarize

IMAGE, SMALL = (3, 224, 224), (3, 32, 32)

# Parameters, and G multiply-adds to the digits published: He et al. 2015 (v1, and v1.5 as torchvision has it).
PUBLISHED = [
    ("resnet18", {}, IMAGE, 11_689_512, "1.814"), ("resnet34", {}, IMAGE, 21_797_672, "3.664"),
    ("resnet50", {}, IMAGE, 25_557_032, "4.089"), ("resnet50", {"stride_first": True}, IMAGE, 25_557_032, "3.858"),
    ("resnet20", {}, SMALL, 269_722, "0.0406"), ("resnet32", {}, SMALL, 464_154, "0.0689"),
    ("resnet56", {}, SMALL, 853_018, "0.1255"), ("resnet110", {}, SMALL, 1_727_962, "0.2529"),
    ("plain20", {}, SMALL, 269_722, "0.0406"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "shape", "parameters", "published"), PUBLISHED)
def test_totals_are_the_published_ones(name, options, shape, parameters, published):
    summary = summarize(getattr(models, name)(**options), shape)
    digits = len(published.partition(".")[2])
    assert f"{summary.multiply_adds / 1e9:.{digits}f}" == published
    assert summary.parameters == sum(row.parameters for row in summary.rows) == parameters


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), dilation=(1, 2), groups=2, bias=False), (3, 4, 9, 8)),
        (nn.Conv2d(5, 5, 1, groups=5, bias=False), (2, 5, 3, 4)),
    ],
)
def test_multiply_adds_are_the_products_that_a_convolution_of_ones_sums(layer, x):
    layer.weight.assign_(1.0)
    products = layer(mr.tensor(np.ones(x, np.float32))).numpy().sum()  # without padding, each product is 1
    assert summarize(layer, x).multiply_adds == products


def test_multiply_adds_of_a_linear_layer_count_every_row():
    summary = summarize(nn.Linear(5, 7), (2, 3, 4, 5))
    assert summary.rows[0].output_shape == (2, 3, 4, 7)
    assert summary.multiply_adds == 2 * 3 * 4 * 7 * 5


def test_all_but_parameters_is_proportional_to_the_batch():
    model = models.resnet20()
    one, seven = summarize(model, SMALL), summarize(model, (7, *SMALL))
    assert (one.input_shape, seven.input_shape) == ((1, *SMALL), (7, *SMALL))
    assert seven.multiply_adds == 7 * one.multiply_adds
    assert seven.activation_bytes == 7 * one.activation_bytes
    assert seven.parameters == one.parameters
    assert [row.output_shape for row in seven.rows] == [(7, *row.output_shape[1:]) for row in one.rows]


def test_the_model_stays_as_it_is_even_when_the_input_does_not_fit():
    model = models.resnet20()
    model.layer2[0].eval()  # another mode than the rest
    seen = []
    model.fc.register_forward_hook(lambda module, inputs, y: seen.append(y.shape))
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    summarize(model, SMALL)
    with pytest.raises(ShapeError, match="4 channels"):
        summarize(model, (4, 32, 32))
    assert [module.training for module in model.modules()] == modes
    assert all(np.array_equal(before[name], value.numpy()) for name, value in model.state_dict().items())
    assert [len(module._hooks) for module in model.modules() if module._hooks] == [1]
    assert seen == [(1, 10)]


def test_rows_are_the_layers_in_the_order_of_their_calls():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 3)
            self.relu, self.unused = nn.ReLU(), nn.Linear(9, 9)
            self.conv = nn.Conv2d(1, 2, 3, padding=1)
            self.same = nn.Identity()

        def forward(self, x):
            x = self.relu(self.same(self.relu(self.conv(x))))
            return self.fc(x.mean((2, 3)))

    summary = summarize(Net(), (1, 4, 4))
    assert [(row.path, row.output_shape, row.parameters, row.multiply_adds, row.activation_bytes)
            for row in summary.rows] == [
        ("conv", (1, 2, 4, 4), 20, 288, 128),
        ("relu", (1, 2, 4, 4), 0, 0, 128),
        ("same", (1, 2, 4, 4), 0, 0, 0),  # the input itself
        ("relu", (1, 2, 4, 4), 0, 0, 128),
        ("fc", (1, 3), 9, 6, 12),
    ]  # fmt: skip
    assert summary.parameters == 20 + 9 + 90
    assert "(not in a layer that ran)" in str(summary)


def test_a_view_of_the_input_is_no_new_activation():
    summary = summarize(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (3, 2, 2))
    assert [row.activation_bytes for row in summary.rows] == [0, 8]


def test_a_parameter_that_two_layers_share_is_counted_once():
    model = nn.Sequential(nn.Conv2d(2, 2, 3, bias=False), nn.Conv2d(2, 2, 3, bias=False))
    shared = model[0].weight
    model[1].weight = shared
    summary = summarize(model, (2, 8, 8))
    assert [row.parameters for row in summary.rows] == [36, 0]
    assert summary.parameters == 36
    assert summarize(nn.Sequential(model[0], model[0]), (2, 8, 8)).parameters == 36


def test_activations_are_in_bytes_of_the_models_dtype():
    model = models.resnet20()
    single = summarize(model, SMALL).activation_bytes
    assert summarize(model.to(dtype=np.float64), SMALL).activation_bytes == 2 * single


def test_the_table_is_aligned_and_has_units():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    rule = "─" * 75
    assert str(summarize(model, (2, 3, 32, 32))).splitlines() == [
        "Sequential on 2 × 3 × 32 × 32: 232 parameters, 442.4 k multiply-adds, 192.00 KiB of activations",
        rule,
        "layer  type         output           parameters  multiply-adds  activations",
        rule,
        "0      Conv2d       2 × 8 × 32 × 32         216        442,368    64.00 KiB",
        "1      BatchNorm2d  2 × 8 × 32 × 32          16                   64.00 KiB",
        "2      ReLU         2 × 8 × 32 × 32                               64.00 KiB",
        rule,
        "total                                       232        442,368   192.00 KiB",
    ]


@pytest.mark.parametrize("size", [2**20, 2**40, 2**80])
def test_an_input_that_no_memory_holds_is_an_error(size):
    with pytest.raises(ShapeError, match=f"{size}.* is too large for this machine"):
        summarize(models.resnet20(), (2**20, size, size))


@pytest.mark.parametrize("shape", [(32, 32), (1, 2, 3, 4, 5), (3, 0, 32), (3, -1, 32), (3, 32.0, 32), (True, 8, 8), 32])
def test_an_impossible_input_shape_is_named(shape):
    with pytest.raises(ShapeError, match=r"positive integers \(C, H, W\) or \(N, C, H, W\), got"):
        summarize(models.resnet20(), shape)
