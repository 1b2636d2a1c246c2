import numpy as np
import pytest

import minires as mr
from minires import nn

F = mr.functional


class Add(nn.Module):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, x):
        return x * 2.0 + self.number


def run(row, x=1.0):
    return row(mr.tensor(x)).item()


def test_a_row_passes_on_what_each_module_returns_and_repeats_a_module_that_is_in_it_twice():
    a, b = Add(1.0), Add(5.0)
    assert run(nn.Sequential(a, b)) == 11.0
    twice = nn.Sequential(a, b, a)
    assert (run(twice), len(twice), list(twice)) == (23.0, 3, [a, b, a])
    assert run(nn.Sequential()) == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Sequential(nn.ReLU(), F.relu, 3), "Sequential holds modules, but a function .* at position 1"),
        (lambda: nn.Sequential(nn.ReLU(), nn.ReLU), "a type was given at position 1"),
        (lambda: nn.Sequential([nn.ReLU(), nn.ReLU()]), r"a list was given at position 0: .* unpack a list with \*"),
        (lambda: nn.Sequential({"a": nn.ReLU(), "b": 3}), "a int was given at position 1"),
        (lambda: nn.ModuleList([nn.ReLU(), None]), "ModuleList holds modules, but a NoneType .* at position 1"),
        (lambda: nn.ModuleList([nn.ReLU()]).append(F.relu), "a function was given at position 1"),
    ],
)
def test_what_is_no_module_is_named_with_its_position(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_nothing_is_added_or_replaced_when_something_does_not_fit():
    row = nn.ModuleList([nn.ReLU()])
    before = list(row)
    with pytest.raises(TypeError, match="a int was given at position 2"):
        row.extend([nn.ReLU(), 3])
    with pytest.raises(TypeError, match="a NoneType was given at position 0"):
        row[0] = None
    with pytest.raises(TypeError, match="integer"):
        row[0:1] = nn.ReLU()
    assert list(row) == before


def test_slices_are_rows_that_share_the_modules():
    row = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    head, tail = row[:2], row[1:]
    assert type(head) is type(tail) is nn.Sequential
    assert head[1] is tail[0] is row[-2]
    assert next(iter(tail.state_dict())) == "1.weight"  # the names are those of the whole row, as in PyTorch
    assert [len(row[i:]) for i in range(4)] == [3, 2, 1, 0]
    tail.append(Add(1.0)).append(Add(2.0))
    assert [name for name, _ in tail.named_children()] == ["1", "2", "3", "4"]  # "2" was taken
    assert [type(m) for m in tail] == [nn.BatchNorm2d, nn.ReLU, Add, Add]
    with pytest.raises(IndexError):
        row[3]


def test_names_can_be_given_in_a_dictionary():
    row = nn.Sequential({"double": Add(0.0), "more": Add(3.0)})
    assert run(row) == 7.0
    assert row.double.number == 0.0
    with pytest.raises(KeyError, match="has an attribute 'forward' already"):
        nn.Sequential({"forward": Add(0.0)})


def test_a_module_can_be_replaced_by_its_place():
    row = nn.Sequential(Add(0.0), Add(1.0))
    row[-1] = Add(5.0)
    assert run(row) == 9.0


def test_a_list_of_modules_grows_and_its_owner_calls_them():
    row = nn.ModuleList([nn.Linear(2, 2)])
    assert row.append(nn.Linear(2, 3)) is row
    row.extend(nn.Linear(3, 3) for _ in range(2))
    assert len(row) == 4
    assert [linear.out_features for linear in row] == [2, 3, 3, 3]
    assert list(row.state_dict())[2] == "1.weight"
    assert type(row[1:]) is nn.ModuleList
    assert list(row[2:].state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert not isinstance(row, nn.Sequential)
    with pytest.raises(TypeError, match="iterate over it"):
        row(mr.tensor(np.ones((1, 2), np.float32)))


def test_the_identity_gives_back_what_it_gets():
    x = object()
    assert nn.Identity()(x) is x
