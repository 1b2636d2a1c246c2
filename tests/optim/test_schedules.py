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
    assert rates(optim.CosineAnnealingLR(sgd(), 2), 2) == pytest.approx([1.0, 0.5, 0.0], abs=1e-16)
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
