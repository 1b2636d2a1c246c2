from minires.hooks import Hook


def test_a_handle_takes_its_own_function_away_and_no_other():
    hooks = {}
    first, second = Hook(hooks, print), Hook(hooks, print)
    first.remove()
    first.remove()
    assert list(hooks) == [second]
    second()
    assert hooks == {}
