import pytest


@pytest.fixture
def one_thread():
    """PyTorch in one thread: small networks lose time with several, and which of two writes stays is by chance."""
    torch = pytest.importorskip("torch")
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)
