import numpy as np
import pytest

import minires as mr
from minires import nn

F = mr.functional


def test_the_same_seed_drops_the_same_elements():
    x = mr.ones(1000)
    mr.manual_seed(5)
    a, b = F.dropout(x), F.dropout(x)
    mr.manual_seed(5)
    assert np.array_equal(F.dropout(x).numpy(), a.numpy())
    assert not np.array_equal(a.numpy(), b.numpy())


def test_what_stays_is_enlarged_and_gets_the_same_share_of_the_gradient():
    x = mr.ones(10_000, requires_grad=True)
    y = F.dropout(x, 0.2, rng=np.random.default_rng(0))
    assert set(y.numpy().tolist()) == {0.0, 1.25}
    # 10,000 draws of probability 0.8: the standard deviation of the share is 0.004.
    assert abs((y.numpy() > 0).mean() - 0.8) <= 5 * 0.004
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.numpy())


def test_nothing_is_dropped_in_evaluation():
    layer, x = nn.Dropout(0.5).eval(), mr.ones(4)
    assert layer(x) is x
    assert F.dropout(x, 0.0) is x
    assert not F.dropout(x, 1.0).numpy().any()


def test_impossible_probabilities_are_named():
    for p in (-0.1, 1.5):
        with pytest.raises(ValueError, match="between 0 and 1"):
            nn.Dropout(p)
        with pytest.raises(ValueError, match="between 0 and 1"):
            F.dropout(mr.ones(1), p)
