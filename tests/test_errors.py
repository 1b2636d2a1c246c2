import inspect

import pytest

from minires import errors

BUILT_IN = {
    "ShapeError": ValueError,
    "DtypeError": TypeError,
    "DeviceError": RuntimeError,
    "GraphError": RuntimeError,
    "IndexingError": IndexError,
    "CheckpointError": ValueError,
    "DataError": ValueError,
    "SettingsError": ValueError,
    "TrainingError": ArithmeticError,
}


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_each_error_is_also_the_built_in_one_that_a_numpy_user_expects(name):
    error = getattr(errors, name)
    for expected in (BUILT_IN[name], errors.MiniresError):
        with pytest.raises(expected, match="the text"):
            raise error("the text")


def test_no_error_is_left_out_and_each_says_when_it_is_raised():
    classes = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    assert set(classes) == {*BUILT_IN, "MiniresError"}
    for error in classes.values():
        assert error.__doc__.endswith(".")
