import copy
import json
import pickle
from hashlib import blake2b
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minires import nn, random
from minires.errors import CheckpointError

WORD = 2**64
seeds = st.integers(0, WORD - 1)
indices = st.lists(st.integers(-(2**70), 2**70), max_size=3)


@pytest.fixture(autouse=True)
def _keep_the_default_generator():
    state = random.get_state()
    yield
    random.set_state(state)


def philox_block(counter, key):
    """Return Philox4x64-10 of one counter (Salmon et al. 2011, section 3.3), in plain Python."""
    c, k = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [second // WORD ^ c[1] ^ k[0], second % WORD, first // WORD ^ c[3] ^ k[1], first % WORD]
        k = [(k[0] + 0x9E3779B97F4A7C15) % WORD, (k[1] + 0xBB67AE8584CAA73B) % WORD]
    return c


@given(seed=seeds, stream=st.text(), index=indices)
def test_raw_bits_are_philox_keyed_by_the_digest(seed, stream, index):
    digest = blake2b(json.dumps([seed, stream, *index]).encode(), digest_size=16).digest()
    key = [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")]
    # NumPy counts up before it makes a block, so the first one belongs to counter 1.
    expected = philox_block((1, 0, 0, 0), key) + philox_block((2, 0, 0, 0), key)
    assert random.draws(stream, *index, seed=seed).bit_generator.random_raw(8).tolist() == expected


def test_raw_bits_never_change():
    # A checkpoint must continue the same way under every later version: these figures are for ever.
    raw = random.draws("data.shuffle", 3, 1, seed=7).bit_generator.random_raw(2).tolist()
    assert raw == [12564156409156413387, 3883545355621536759]


@given(seed=seeds, index=indices)
def test_draws_are_a_pure_function(seed, index):
    first = random.draws("a", *index, seed=seed).random(5)
    random.draws("a", *index, seed=seed).random(1000)
    random.next_draws("a").random(3)
    assert np.array_equal(random.draws("a", *index, seed=seed).random(5), first)


def test_different_names_give_different_numbers():
    names = [("a",), ("b",), ("a", 0), ("a", 1), ("a", 0, 0), ("a", 10), ("a", 1, 0), ("a, 1",), ('a", 1',)]
    drawn = {random.draws(*name, seed=seed).bit_generator.random_raw() for name in names for seed in (0, 1)}
    assert len(drawn) == 2 * len(names)


def test_draws_are_uniform():
    # The mean of 10,000 first draws of neighbouring keys: 0.5 within five standard errors, 5 / sqrt(12 · 10⁴).
    drawn = [random.draws("uniform", i, seed=0).random() for i in range(10_000)]
    assert abs(np.mean(drawn) - 0.5) < 5 / np.sqrt(12 * len(drawn))


def test_without_a_seed_the_default_generators_is_taken():
    random.manual_seed(5)
    assert random.draws("a", 1).random() == random.draws("a", 1, seed=5).random()


def test_next_draws_counts_each_stream_by_itself():
    random.manual_seed(3)
    drawn = [random.next_draws(stream).random() for stream in "aabab"]
    names = [("a", 0), ("a", 1), ("b", 0), ("a", 2), ("b", 1)]
    assert drawn == [random.draws(stream, n, seed=3).random() for stream, n in names]


def test_manual_seed_starts_afresh():
    random.manual_seed(1)
    first = random.next_draws("a").random()
    random.manual_seed(1)
    assert random.next_draws("a").random() == first


def test_a_state_survives_json_and_continues():
    random.manual_seed(WORD - 1)
    random.next_draws("a")
    state = json.loads(json.dumps(random.get_state()))
    expected = [random.next_draws("a").random(), random.next_draws("b").random()]
    random.manual_seed(0)
    random.set_state(state)
    assert [random.next_draws("a").random(), random.next_draws("b").random()] == expected


def test_a_state_is_a_copy():
    random.manual_seed(0)
    state = random.get_state()
    random.next_draws("a")
    assert state == {"seed": 0, "counters": {}}


def test_threads_never_share_a_draw():
    generator, drawn = random.Generator(0), []
    threads = [
        Thread(target=lambda: drawn.extend(generator.next_draws("a").random() for _ in range(50))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drawn) == sorted(random.draws("a", n, seed=0).random() for n in range(200))


@pytest.mark.parametrize("seed", [1.5, "1", None, True, [1]])
def test_a_seed_that_is_no_integer_is_a_type_error(seed):
    with pytest.raises(TypeError, match="integer from 0"):
        random.manual_seed(seed)


@pytest.mark.parametrize("seed", [-1, WORD])
def test_a_seed_out_of_range_is_a_value_error_and_changes_nothing(seed):
    random.manual_seed(4)
    for call in (random.manual_seed, random.Generator, lambda s: random.draws("a", seed=s)):
        with pytest.raises(ValueError, match=str(seed)):
            call(seed)
    assert random.get_state() == {"seed": 4, "counters": {}}


def test_numpy_integers_are_seeds_and_indices():
    assert random.draws("a", np.int32(2), seed=np.uint8(9)).random() == random.draws("a", 2, seed=9).random()


@pytest.mark.parametrize("name", [(1,), ("a", 1.0), ("a", "b"), ("a", True)])
def test_a_name_of_another_kind_is_a_type_error(name):
    with pytest.raises(TypeError, match="named by a string and integers"):
        random.draws(*name, seed=0)


@pytest.mark.parametrize(
    "state",
    [
        {},
        None,
        {"seed": 0},
        {"seed": -1, "counters": {}},
        {"seed": 0, "counters": {"a": -1}},
        {"seed": 0, "counters": {"a": 0.5}},
        {"seed": 0, "counters": {1: 1}},
        {"seed": 0, "counters": 3},
        {"seed": 0, "counters": {}, "more": 1},
    ],
)
def test_a_foreign_state_is_an_error_and_changes_nothing(state):
    random.manual_seed(6)
    random.next_draws("a")
    with pytest.raises(CheckpointError, match="random state"):
        random.set_state(state)
    assert random.get_state() == {"seed": 6, "counters": {"a": 1}}


def test_layers_made_one_after_the_other_start_with_different_weights():
    random.manual_seed(3)
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    random.manual_seed(3)
    c = nn.Linear(2, 2)
    assert np.array_equal(a.weight.numpy(), c.weight.numpy())
    assert not np.array_equal(a.weight.numpy(), b.weight.numpy())


@pytest.mark.parametrize("copied", [lambda value: pickle.loads(pickle.dumps(value)), copy.deepcopy])
def test_a_copy_of_a_generator_goes_on_where_it_was_and_alone(copied):
    generator = random.Generator(5)
    generator.next_draws("dropout")
    twin = copied(generator)
    assert twin.get_state() == generator.get_state()
    assert twin.next_draws("dropout").random() == generator.next_draws("dropout").random()
    twin.next_draws("dropout")
    assert twin.get_state() != generator.get_state()
