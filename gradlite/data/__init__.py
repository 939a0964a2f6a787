"""Datasets, samplers, the loader, and two sets of real digits.

`DataLoader` turns a dataset into shuffled batches on the device of your choice;
`digits` and `mnist` are ready-made datasets to train on.
"""

from __future__ import annotations

from gradlite.data.collate import default_collate
from gradlite.data.dataloader import DataLoader, sample_generator
from gradlite.data.dataset import (
    ConcatDataset,
    Dataset,
    Subset,
    TensorDataset,
    random_split,
)
from gradlite.data.digits import digits
from gradlite.data.mnist import mnist
from gradlite.data.sampler import RandomSampler, SequentialSampler

__all__ = [
    "Dataset",
    "TensorDataset",
    "Subset",
    "ConcatDataset",
    "random_split",
    "SequentialSampler",
    "RandomSampler",
    "DataLoader",
    "default_collate",
    "sample_generator",
    "digits",
    "mnist",
]
