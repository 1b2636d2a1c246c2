import json

import numpy as np
import pytest

from minires import nn, random
from minires.errors import CheckpointError


def test_draws_depend_on_seed_stream_and_index_alone():
    def bits(*name, seed=1):
        return random.draws(*name, seed=seed).bytes(16)

    first = bits("a", 0)
    others = [bits("a", 1), bits("b", 0), bits("a"), bits("a", 0, seed=2), bits("a", 0, 0)]
    assert bits("a", 0) == first
    assert len({first, *others}) == 6


def test_the_key_is_the_digest_that_the_module_documents():
    from hashlib import blake2b

    key = int.from_bytes(blake2b(b'[7, "data.shuffle", 3]', digest_size=16).digest(), "little")
    expected = np.random.Generator(np.random.Philox(key=key)).integers(0, 2**63, 5)
    assert np.array_equal(random.draws("data.shuffle", 3, seed=7).integers(0, 2**63, 5), expected)


def test_counted_draws_go_on_after_a_state_was_restored():
    generator = random.Generator(5)
    generator.next_draws("x")
    state = json.loads(json.dumps(generator.get_state()))
    generator.next_draws("another stream")
    expected = generator.next_draws("x").bytes(8)
    again = random.Generator()
    again.set_state(state)
    assert again.next_draws("x").bytes(8) == expected == random.draws("x", 1, seed=5).bytes(8)


def test_bad_seeds_and_states_are_named():
    with pytest.raises(ValueError, match="got -1"):
        random.Generator(-1)
    with pytest.raises(TypeError, match=r"got 1\.5"):
        random.draws("a", seed=1.5)
    with pytest.raises(CheckpointError, match="a random state must be"):
        random.Generator().set_state({"seed": 1})


def test_layers_made_one_after_the_other_start_with_different_weights():
    before = random.get_state()
    try:
        random.manual_seed(3)
        a, b = nn.Linear(2, 2), nn.Linear(2, 2)
        random.manual_seed(3)
        c = nn.Linear(2, 2)
    finally:
        random.set_state(before)
    assert np.array_equal(a.weight.numpy(), c.weight.numpy())
    assert not np.array_equal(a.weight.numpy(), b.weight.numpy())
