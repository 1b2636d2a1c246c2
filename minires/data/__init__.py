"""Data sets in memory."""

from minires.data.dataset import Dataset
from minires.data.fashion_mnist import FashionMNIST

__all__ = ["Dataset", "FashionMNIST"]
