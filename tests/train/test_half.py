import numpy as np
from half_training import half_is_close, training


def test_three_steps_of_resnet20_in_float16_have_float32s_losses():
    losses, model, optimizer, _ = training(np.float16)
    half_is_close(losses)
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float16)}
    assert all(state["master"].dtype == np.float32 for state in optimizer.state.values())
