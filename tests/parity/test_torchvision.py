"""Whole networks agree with torchvision's from the same state: logits and all gradients in float64."""

import numpy as np
import pytest

import minires as mr

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402  (needs torch)


@pytest.fixture(scope="module")
def torchvision():
    # torchvision's compiled operators do not come with every build; importing it needs only their names.
    library = torch.library.Library("torchvision", "DEF")
    for signature in ("nms(Tensor dets, Tensor scores, float threshold) -> Tensor",
                      "qnms(Tensor dets, Tensor scores, float threshold) -> Tensor"):  # fmt: skip
        if not hasattr(torch.ops.torchvision, signature.partition("(")[0]):
            library.define(signature)
    return pytest.importorskip("torchvision")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_logits_and_gradients_equal_torchvisions(torchvision, tmp_path, name, training):
    torch.manual_seed(0)
    theirs = getattr(torchvision.models, name)(num_classes=10).double().train(training)
    ours = getattr(mr.models, name)(num_classes=10).to(dtype=np.float64).train(training)
    save_file(theirs.state_dict(), tmp_path / "state.safetensors")  # one file for both
    theirs.load_state_dict(load_file(tmp_path / "state.safetensors"))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(mr.load(tmp_path / "state.safetensors"))
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((4, 3, 64, 64)), rng.integers(0, 10, 4)
    a = ours(mr.tensor(x))
    mr.functional.cross_entropy(a, mr.tensor(labels)).backward()
    b = theirs(torch.tensor(x))
    torch.nn.functional.cross_entropy(b, torch.tensor(labels)).backward()
    pairs = [(a.numpy(), b.detach().numpy())]
    pairs += [(p.grad.numpy(), q.grad.numpy()) for p, q in zip(ours.parameters(), theirs.parameters(), strict=True)]
    pairs += [(t.numpy(), u.numpy()) for t, u in zip(ours.buffers(), theirs.buffers(), strict=True)]
    for mine, reference in pairs:
        assert np.abs(mine - reference).max() <= 1e-9 * max(1e-12, np.abs(reference).max())
