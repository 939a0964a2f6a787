"""The UCI digits: 1797 small images that come with the package.

`digits.npz` holds `images` (uint8, 1797 x 8 x 8, values from 0 to 16) and `labels`
(uint8) in the order of the file `optdigits.tes` of the source, and `order` (int16), the
permutation behind the stratified split. It was drawn once, class by class, with NumPy's
`default_rng(0)`, and is stored because NumPy does not promise these numbers for ever.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from gradlite._arguments import integer
from gradlite._from_data import asarray
from gradlite.data.dataset import TensorDataset

TRAIN = 1437
"""Digits in the training part of the stratified split; the other 360 test."""

WRITERS = (slice(0, 1415), slice(1437, 1797))
"""Training and test part by writer, in the order of the file.

The labels show a sequence of 14 forms of up to 130 digits, the same on each form, of
which the twelfth starts at 1415. The 22 digits from there to 1437 thus have the writer
of 104 digits in the test part, and are in neither part.
"""


def digits(
    split: Literal["train", "test"] = "train",
    *,
    by_writer: bool = False,
    enlarge: int = 1,
) -> TensorDataset:
    """Return handwritten digits, real ones, that are part of the package.

    Parameters
    ----------
    split : {"train", "test"}
        Which part: 1437 digits to train on or 360 others to test with.
    by_writer : bool, default False
        By default both parts hold each class in the same proportion, and digits of
        every writer. If true, the test part is the last 360 digits of the source and
        the training part the 1415 digits of people who wrote none of these, which is
        the harder test.
    enlarge : int, default 1
        Each pixel becomes a square of this many pixels a side: 4 gives the 32 x 32
        images that LeNet takes.

    Returns
    -------
    TensorDataset
        Images, float32 of shape (N, 1, 8 * enlarge, 8 * enlarge) from 0 to 1, and
        labels, int64 of shape (N,), on the CPU.

    Raises
    ------
    TypeError
        If `enlarge` is not an integer.
    ValueError
        If `split` is unknown or `enlarge` below 1.

    Notes
    -----
    The data is the test set of E. Alpaydin and C. Kaynak, "Optical Recognition of
    Handwritten Digits", UCI Machine Learning Repository, 1998,
    https://doi.org/10.24432/C50P49, under the licence CC BY 4.0
    (https://creativecommons.org/licenses/by/4.0/). Changed here: packed as `.npz`, with
    a split added.

    Examples
    --------
    >>> from gradlite.data import digits
    >>> train, test = digits("train", enlarge=4), digits("test", enlarge=4)
    >>> len(train), len(test), train.tensors[0].shape
    (1437, 360, (1437, 1, 32, 32))
    """
    if split not in ("train", "test"):
        raise ValueError(f"split is {split!r}; use 'train' or 'test'")
    enlarge = integer("enlarge", enlarge)
    with np.load(Path(__file__).with_name("digits.npz")) as stored:
        images, labels, order = stored["images"], stored["labels"], stored["order"]
    test = split == "test"
    if by_writer:
        chosen = np.arange(len(images))[WRITERS[test]]
    else:
        chosen = order[TRAIN:] if test else order[:TRAIN]
    scaled = images[chosen, np.newaxis].astype(np.float32) / np.float32(16)
    large = scaled.repeat(enlarge, axis=-2).repeat(enlarge, axis=-1)
    return TensorDataset(
        asarray(large, device="cpu"),
        asarray(labels[chosen].astype(np.int64), device="cpu"),
    )
