import numpy as np
import pytest

from minires import nn, optim
from minires.errors import CheckpointError


def sgd(lr=1.0):
    return optim.SGD([nn.Parameter(np.ones(1))], lr=lr)


def rates(schedule, steps):
    found = schedule.get_last_lr()
    for _ in range(steps):
        schedule.step()
        found += schedule.get_last_lr()
    return found


MAKERS = {
    "StepLR": lambda o: optim.StepLR(o, 2, 0.5),
    "MultiStepLR": lambda o: optim.MultiStepLR(o, [1, 3], 0.5),
    "CosineAnnealingLR": lambda o: optim.CosineAnnealingLR(o, 8, 0.125),
    "OneCycleLR": lambda o: optim.OneCycleLR(o, 2.0, 10),
}
makers = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def test_schedules_follow_their_formulas():
    assert rates(optim.StepLR(sgd(), 2, 0.5), 4) == [1.0, 1.0, 0.5, 0.5, 0.25]
    assert rates(optim.MultiStepLR(sgd(), [1, 3], 0.5), 3) == [1.0, 0.5, 0.5, 0.25]
    # A sine, a square and an argument, each rounded once.
    assert rates(optim.CosineAnnealingLR(sgd(), 2), 2) == pytest.approx([1.0, 0.5, 0.0], rel=2**-51, abs=0)
    cycle = rates(optim.OneCycleLR(sgd(), 2.0, 10), 9)
    assert cycle[0] == pytest.approx(2.0 / 25, rel=1e-14)
    assert max(cycle) == cycle[2] == pytest.approx(2.0, rel=1e-14)
    assert cycle[-1] == pytest.approx(2.0 / 25 / 1e4, rel=1e-9)


def test_a_cycle_may_be_given_in_epochs():
    found = rates(optim.OneCycleLR(sgd(), 2.0, epochs=5, steps_per_epoch=2), 9)
    assert found == rates(optim.OneCycleLR(sgd(), 2.0, 10), 9)


def test_a_cycle_whose_rise_is_over_at_once_begins_at_its_peak():
    assert rates(optim.OneCycleLR(sgd(), 2.0, 10, pct_start=0.1), 9)[0] == 2.0
    assert rates(optim.OneCycleLR(sgd(), 2.0, 1, pct_start=1), 1) == [2.0, 2.0]


def test_a_cycle_that_only_rises_ends_at_its_peak():
    found = rates(optim.OneCycleLR(sgd(), 2.0, 10, pct_start=1), 10)
    assert found == sorted(found)
    assert found[-2:] == [2.0, 2.0]


def test_the_usual_loop_reaches_the_end_of_a_cycle_and_one_step_more_is_an_error():
    schedule = optim.OneCycleLR(sgd(), 2.0, 3)
    rates(schedule, 3)
    before = schedule.state_dict(), schedule.get_last_lr()
    with pytest.raises(ValueError, match="step 4 is beyond the 3 steps of the cycle"):
        schedule.step()
    assert (schedule.state_dict(), schedule.get_last_lr()) == before


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda o: optim.StepLR(o, 0), "step_size must be an integer of at least 1, got 0"),
        (lambda o: optim.StepLR(o, True), "step_size must be an integer of at least 1, got True"),
        (lambda o: optim.StepLR(o, 2.5), "step_size must be an integer of at least 1, got 2.5"),
        (lambda o: optim.StepLR(o, 2, -0.1), "gamma must be a finite number that is not negative, got -0.1"),
        (lambda o: optim.MultiStepLR(o, [1, -3]), "each milestone must be an integer of at least 0, got -3"),
        (lambda o: optim.MultiStepLR(o, [1], None), "gamma must be a finite number that is not negative, got None"),
        (lambda o: optim.CosineAnnealingLR(o, 0), "T_max must be a finite number above 0, got 0"),
        (lambda o: optim.CosineAnnealingLR(o, 9, -1), "eta_min must be a finite number that is not negative, got -1"),
        (lambda o: optim.OneCycleLR(o, 0.1), "needs total_steps, or epochs and steps_per_epoch; got epochs=None"),
        (lambda o: optim.OneCycleLR(o, 0.1, epochs=3), "got epochs=3 and steps_per_epoch=None"),
        (lambda o: optim.OneCycleLR(o, 0.1, epochs=0, steps_per_epoch=3), "epochs must be an integer of at least 1"),
        (lambda o: optim.OneCycleLR(o, 0.1, epochs=2, steps_per_epoch=0.5), "steps_per_epoch must be .* got 0.5"),
        (lambda o: optim.OneCycleLR(o, 0.1, 0), "total_steps must be an integer of at least 1, got 0"),
        (lambda o: optim.OneCycleLR(o, 0.1, 10, pct_start=2), r"pct_start must be a number in \[0, 1\], got 2"),
        (lambda o: optim.OneCycleLR(o, -0.1, 10), "max_lr must be a finite number that is not negative, got -0.1"),
        (lambda o: optim.OneCycleLR(o, 0.1, 10, div_factor=0), "div_factor must be a finite number above 0, got 0"),
        (lambda o: optim.OneCycleLR(o, 0.1, 10, final_div_factor=0), "final_div_factor must be a finite number above"),
        (lambda o: optim.StepLR(o, 2, np.inf), "gamma must be a finite number that is not negative, got inf"),
        (lambda o: optim.OneCycleLR(o, np.inf, 10), "max_lr must be a finite number that is not negative, got inf"),
        (lambda o: optim.OneCycleLR(o, 0.1, 10, cycle_momentum=True), "cycle_momentum must be False, got True"),
    ],
)
def test_impossible_options_are_named_and_leave_the_rate_alone(make, text):
    optimizer = sgd()
    with pytest.raises(ValueError, match=text):
        make(optimizer)
    assert optimizer.param_groups[0]["lr"] == 1.0


@makers
def test_a_saved_schedule_goes_on_where_it_was(make):
    first, second = make(sgd()), make(sgd())
    rates(first, 4)
    second.load_state_dict(first.state_dict())
    assert rates(second, 3) == rates(first, 3)


@makers
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda saved: {}, r"a schedule's state has 'last_epoch' and 'base_lrs', got \[\]; use state_dict"),
        (lambda saved: 3, "got a int; use state_dict"),
        (lambda saved: {**saved, "last_epoch": -1}, "last_epoch must be an integer of at least 0, got -1"),
        (lambda saved: {**saved, "last_epoch": 1.5}, "last_epoch must be an integer of at least 0, got 1.5"),
        (lambda saved: {**saved, "base_lrs": []}, r"one rate for each of 1 groups, got \[\]"),
        (lambda saved: {**saved, "base_lrs": [-1.0]}, "each of base_lrs must be a finite number .* got -1"),
        (lambda saved: {**saved, "base_lrs": [np.inf]}, "each of base_lrs must be a finite number .* got inf"),
        (lambda saved: {**saved, "_last_lr": []}, r"saved _last_lr must be one rate for each of 1 groups, got \[\]"),
        (lambda saved: {**saved, "_last_lr": [None]}, "each of _last_lr must be a finite number .* got None"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(make, change, text):
    schedule = make(sgd())
    schedule.step()
    before = schedule.state_dict(), schedule.get_last_lr()
    with pytest.raises(CheckpointError, match=text):
        schedule.load_state_dict(change(schedule.state_dict()))
    assert (schedule.state_dict(), schedule.get_last_lr()) == before


def test_a_state_beyond_the_end_of_a_cycle_is_refused():
    with pytest.raises(CheckpointError, match=r"does not fit OneCycleLR\(.*: step 11 is beyond the 10 steps"):
        MAKERS["OneCycleLR"](sgd()).load_state_dict({"last_epoch": 11, "base_lrs": [1.0]})


@makers
def test_a_group_added_later_keeps_its_rate_when_it_is_saved_and_loaded(make):
    def grown():
        optimizer = sgd()
        schedule = make(optimizer)
        rates(schedule, 3)
        optimizer.add_param_group({"params": nn.Parameter(np.ones(1)), "lr": 0.5})
        return schedule

    first, second = grown(), grown()
    second.load_state_dict(first.state_dict())
    assert rates(second, 4)[2:] == rates(first, 4)[2:]


def test_a_representation_tells_the_options_and_the_position():
    schedule = optim.StepLR(sgd(), 2, 0.5)
    rates(schedule, 3)
    assert repr(schedule) == "StepLR(step_size=2, gamma=0.5, last_epoch=3, lr=[0.5])"
    assert repr(optim.OneCycleLR(sgd(), 0.0, 10)) == (
        "OneCycleLR(max_lr=0.0, total_steps=10, pct_start=0.3, div_factor=25.0, final_div_factor=10000.0, "
        "last_epoch=0, lr=[0.0])"
    )


# Rates that something else moved


def test_two_schedules_multiply():
    optimizer = sgd()
    first, second = optim.StepLR(optimizer, 2, 0.5), optim.MultiStepLR(optimizer, [3], 0.1)
    for _ in range(6):
        first.step()
        second.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0125, rel=1e-15)


@pytest.mark.parametrize("lr", [0.3, np.float32(0.25), 2])
@pytest.mark.parametrize("make", [lambda o: optim.StepLR(o, 2, 0.5), lambda o: optim.MultiStepLR(o, [2], 0.5)])
def test_a_rate_set_by_hand_stays_to_the_last_bit_until_the_next_drop(make, lr):
    optimizer = sgd()
    schedule = make(optimizer)
    optimizer.param_groups[0]["lr"] = lr
    assert rates(schedule, 3)[1:] == [lr, lr / 2, lr / 2]


def test_a_rate_that_is_halved_by_hand_stays_halved_on_a_cosine():
    plain, halved = (optim.CosineAnnealingLR(sgd(), 50, 0.0) for _ in range(2))
    halved.optimizer.param_groups[0]["lr"] *= 0.5
    assert rates(halved, 50) == pytest.approx([rate / 2 for rate in rates(plain, 50)], rel=1e-12)


def test_a_factor_of_zero_leaves_a_rate_set_by_hand_until_the_next_drop():
    schedule = optim.StepLR(sgd(), 2, 0.0)
    rates(schedule, 2)
    schedule.optimizer.param_groups[0]["lr"] = 0.5
    assert rates(schedule, 2) == [0.5, 0.5, 0.0]


def test_a_rate_below_the_end_of_a_rising_cosine_becomes_no_less_than_zero():
    schedule = optim.CosineAnnealingLR(sgd(), 4, 0.5)
    rates(schedule, 5)
    schedule.optimizer.param_groups[0]["lr"] = 0.1
    assert rates(schedule, 3)[-1] == 0.0


def test_a_cycle_sets_the_rate_whatever_it_was():
    schedule, alone = (optim.OneCycleLR(sgd(), 2.0, 10) for _ in range(2))
    schedule.optimizer.param_groups[0]["lr"] = 77.0
    assert rates(schedule, 9)[1:] == rates(alone, 9)[1:]


def test_ten_thousand_steps_round_as_often_as_one():
    cosine, drops = optim.CosineAnnealingLR(sgd(0.3), 10_000, 1e-3), optim.StepLR(sgd(0.3), 10, 0.99)
    for step in range(1, 10_001):
        cosine.step()
        drops.step()
        assert cosine.get_last_lr() == [cosine.rate(0.3, step)]
        assert drops.get_last_lr() == [0.3 * 0.99 ** (step // 10)]


def test_the_end_of_a_long_cosine_keeps_its_precision():
    cosine = optim.CosineAnnealingLR(sgd(), 10**8)
    expected = (np.pi / 2 / 10**8) ** 2  # of sin(x)² next to 0, where 1 + cos is 1e-16 or 0
    assert cosine.rate(1.0, 10**8 - 1) == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("lr", [None, -1.0, np.nan, "0.1"])
def test_a_rate_set_out_of_range_stops_the_step_and_changes_nothing(lr):
    schedule = optim.StepLR(sgd(), 1)
    schedule.optimizer.param_groups[0]["lr"] = lr
    with pytest.raises(ValueError, match="lr of group 0 must be a finite number that is not negative, got"):
        schedule.step()
    assert schedule.last_epoch == 0


def chained(split=None):
    """Return rates of three schedules and manual changes; after ``split`` steps, save them and load new ones."""

    def made():
        optimizer = optim.SGD([{"params": nn.Parameter(np.ones(1)), "lr": lr} for lr in (0.3, 0.7)])
        return optimizer, [
            optim.CosineAnnealingLR(optimizer, 7, 1e-3),
            optim.StepLR(optimizer, 4, 0.9),
            optim.CosineAnnealingLR(optimizer, 31),
        ]

    (optimizer, schedules), found = made(), []
    for step in range(40):
        if step == split:
            states = [schedule.state_dict() for schedule in schedules]
            optimizer, schedules = made()
            for schedule, state in zip(reversed(schedules), reversed(states), strict=True):
                schedule.load_state_dict(state)
        if step % 9 == 5:
            optimizer.param_groups[1]["lr"] *= 0.7
        for schedule in schedules:
            schedule.step()
        found.append([group["lr"] for group in optimizer.param_groups])
    return found


@pytest.mark.parametrize("split", [1, 6, 7, 8, 23, 31])
def test_several_schedules_and_a_hand_go_on_bit_for_bit_from_their_states(split):
    assert chained(split) == chained()


def test_a_state_without_the_last_rates_has_those_of_the_schedule_alone():
    first, second = optim.StepLR(sgd(), 2, 0.5), optim.StepLR(sgd(), 2, 0.5)
    rates(first, 5)
    state = first.state_dict()
    del state["_last_lr"]
    second.load_state_dict(state)
    assert rates(second, 5) == rates(first, 5)


# NumPy's numbers, and what is neither a number nor an optimizer


def test_numpy_numbers_are_options():
    steps = np.array([1, 3])
    assert rates(optim.MultiStepLR(sgd(), steps, np.float64(0.5)), 3) == [1.0, 0.5, 0.5, 0.25]
    assert rates(optim.StepLR(sgd(np.float32(1)), np.int64(2), np.float32(0.5)), 2) == [1.0, 1.0, 0.5]
    assert type(rates(optim.CosineAnnealingLR(sgd(), np.int32(3), np.float32(0.5)), 3)[1]) is float
    assert rates(optim.OneCycleLR(sgd(), np.float32(2), np.int64(10)), 9) == rates(optim.OneCycleLR(sgd(), 2, 10), 9)
    assert repr(optim.StepLR(sgd(), np.int64(2), np.float32(0.5))).startswith("StepLR(step_size=2, gamma=0.5,")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: optim.MultiStepLR(sgd(), 30), r"milestones must be a list of steps, such as \[30, 60\], got 30"),
        (lambda: optim.MultiStepLR(sgd(), "30"), "milestones must be a list of steps, .* got '30'"),
        (lambda: optim.StepLR(nn.Linear(1, 1), 3), r"StepLR needs an optimizer first, such as .*, not a Linear"),
        (lambda: optim.OneCycleLR(0.1, 3, 9), "OneCycleLR needs an optimizer first, .*, not a float"),
    ],
)
def test_what_is_neither_a_list_nor_an_optimizer_is_named(make, text):
    with pytest.raises(TypeError, match=text):
        make()
