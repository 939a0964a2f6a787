"""Losses."""

from __future__ import annotations

from gradlite._arguments import integer
from gradlite.nn import functional as F
from gradlite.nn._arguments import choice, number, optional
from gradlite.nn._losses import REDUCTIONS
from gradlite.nn.module import Module
from gradlite.tensor import Tensor


class CrossEntropyLoss(Module):
    """The cross-entropy of ``softmax(input)`` against target classes.

    Parameters
    ----------
    weight : Tensor, optional
        Factor for each class, shape (C,).
    ignore_index : int, default -100
        Targets that do not count; class numbers only.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides the sum by the sum of the weights of the targets that count, or
        by the number of samples if the targets are probabilities.
    label_smoothing : float, default 0
        How much of each target is spread evenly over all classes, between 0 and 1.

    Examples
    --------
    >>> import gradlite as gl
    >>> criterion = gl.nn.CrossEntropyLoss()
    >>> round(criterion(gl.zeros((3, 10)), gl.tensor([0, 5, 9])).item(), 4)
    2.3026
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", optional("weight", weight))
        self.ignore_index = integer("ignore_index", ignore_index, None)
        self.reduction = choice("reduction", reduction, REDUCTIONS)
        self.label_smoothing = number("label_smoothing", label_smoothing, 0.0, 1.0)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input : Tensor
            Logits of shape (N, C), (N, C, d1, ...) or (C,).
        target : Tensor
            Class numbers, or class probabilities of the shape of `input`.

        Returns
        -------
        Tensor
            0-D, or one loss per target for "none".
        """
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(Module):
    """The negative log-likelihood of the target classes.

    Parameters
    ----------
    weight : Tensor, optional
        Factor for each class, shape (C,).
    ignore_index : int, default -100
        Targets that do not count.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides the sum by the sum of the weights of the targets that count.
    """

    weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.register_buffer("weight", optional("weight", weight))
        self.ignore_index = integer("ignore_index", ignore_index, None)
        self.reduction = choice("reduction", reduction, REDUCTIONS)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        input : Tensor
            Log-probabilities of shape (N, C), (N, C, d1, ...) or (C,).
        target : Tensor
            Class numbers.

        Returns
        -------
        Tensor
            0-D, or one loss per target for "none".
        """
        return F.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class MSELoss(Module):
    """The squared difference of two tensors.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, default "mean"
        What to do with the losses of the elements.
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = choice("reduction", reduction, REDUCTIONS)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of two tensors of one shape."""
        return F.mse_loss(input, target, reduction=self.reduction)


class BCELoss(Module):
    """The cross-entropy of probabilities against targets between 0 and 1.

    Parameters
    ----------
    weight : Tensor, optional
        Factor for each element; broadcasts to the shape of the input.
    reduction : {"mean", "sum", "none"}, default "mean"
        What to do with the losses of the elements.
    """

    weight: Tensor | None

    def __init__(
        self, weight: Tensor | None = None, *, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.register_buffer("weight", optional("weight", weight))
        self.reduction = choice("reduction", reduction, REDUCTIONS)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of probabilities against targets of the same shape."""
        return F.binary_cross_entropy(
            input, target, self.weight, reduction=self.reduction
        )


class BCEWithLogitsLoss(Module):
    """The cross-entropy of ``sigmoid(input)`` against targets between 0 and 1.

    Parameters
    ----------
    weight : Tensor, optional
        Factor for each element; broadcasts to the shape of the input.
    reduction : {"mean", "sum", "none"}, default "mean"
        What to do with the losses of the elements.
    pos_weight : Tensor, optional
        Factor for the positive part of each element; broadcasts likewise.
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("weight", optional("weight", weight))
        self.register_buffer("pos_weight", optional("pos_weight", pos_weight))
        self.reduction = choice("reduction", reduction, REDUCTIONS)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits against targets of the same shape."""
        return F.binary_cross_entropy_with_logits(
            input,
            target,
            self.weight,
            pos_weight=self.pos_weight,
            reduction=self.reduction,
        )
