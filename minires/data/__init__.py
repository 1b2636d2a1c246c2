"""Data sets, transforms of their images, and a loader that makes batches."""

from minires.data.cifar import CIFAR10, CIFAR100
from minires.data.collate import default_collate
from minires.data.dataset import Dataset
from minires.data.fashion_mnist import FashionMNIST
from minires.data.folder import ImageFolder
from minires.data.idx import read_idx
from minires.data.image import read_image
from minires.data.loader import DataLoader
from minires.data.transforms import Augmentation, HorizontalFlip, Normalize, PixelMean, RandomCrop

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "Augmentation",
    "DataLoader",
    "Dataset",
    "FashionMNIST",
    "HorizontalFlip",
    "ImageFolder",
    "Normalize",
    "PixelMean",
    "RandomCrop",
    "default_collate",
    "read_idx",
    "read_image",
]
