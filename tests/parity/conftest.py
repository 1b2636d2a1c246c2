import pytest


@pytest.fixture
def one_thread():
    """Run PyTorch on one thread: it is faster for small networks, and with several, the order of writes may vary."""
    torch = pytest.importorskip("torch")
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)
