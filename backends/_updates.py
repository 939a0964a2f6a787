"""The in-place updates of all optimizers: the formulas, each written once.

An `Update` says what one step does to each element: a family, its variant, and its
coefficients. The formulas below follow it on NumPy and on any other namespace;
`_jit.py` and `updates.cu` follow the same sequence of IEEE operations, each rounded on
its own, so that every backend gives the same bits. Coefficients, and the products of
hyperparameters that the formulas need, are formed as Python floats and rounded once to
the precision in which the arrays are updated: float64 for float64 parameters, float32
for all others.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from gradlite._typing import Array


class Flag:
    """Variants of an update, bits of an int; a family ignores those it does not know.

    They are plain numbers, since an `enum.IntFlag` takes a microsecond for each ``&``.
    """

    MAXIMIZE = 1
    L1 = 2
    WEIGHT_DECAY = 4
    DECOUPLED = 8
    MOMENTUM = 16
    NESTEROV = 32
    TORCH = 64
    PROXIMAL = 128
    AMSGRAD = 256
    CENTERED = 512


class Coefficients(NamedTuple):
    """What the formulas multiply with, in the order in which the kernels get it.

    Attributes
    ----------
    lr : float
        Learning rate.
    weight_decay, alpha : float
        Coefficients of the L2 and the L1 regularisation.
    decay : float
        Factor of the parameters in decoupled weight decay, ``1 - lr * weight_decay``.
    threshold : float
        Of the proximal step, ``lr * alpha``.
    momentum : float
        Factor of the momentum buffer.
    gain : float
        Factor of the gradient in the buffer: ``lr * (1 - dampening)`` in the classic
        form, ``1 - dampening`` in PyTorch's.
    beta1, rest1, beta2, rest2 : float
        Factors of the running means, and of what they take in: ``1 - beta``.
    eps : float
        Added to the denominator.
    lr_decay : float
        Adagrad's decay of the learning rate.
    """

    lr: float
    weight_decay: float = 0.0
    alpha: float = 0.0
    decay: float = 1.0
    threshold: float = 0.0
    momentum: float = 0.0
    gain: float = 0.0
    beta1: float = 0.0
    rest1: float = 1.0
    beta2: float = 0.0
    rest2: float = 1.0
    eps: float = 0.0
    lr_decay: float = 0.0


class Update(NamedTuple):
    """What one step does to each element of a parameter and of its state.

    Attributes
    ----------
    family : {"sgd", "adam", "rmsprop", "adagrad"}
        The formula.
    flags : int
        Its variant, made of `Flag`.
    coefficients : Coefficients
        Its numbers.
    """

    family: str
    flags: int
    coefficients: Coefficients

    @property
    def states(self) -> tuple[str, ...]:
        """The names of the arrays that accompany a parameter, as PyTorch has them."""
        return tuple(
            name
            for name, flag in STATES[self.family].items()
            if flag is None or self.flags & flag
        )

    @property
    def counts(self) -> bool:
        """Whether the formula needs `rates`, which depend on the number of the step."""
        if self.family == "sgd":
            return bool(self.flags & Flag.TORCH)
        return self.family in ("adam", "adagrad")

    def rates(self, step: int) -> tuple[float, float]:
        """Return the two numbers in which one step of a parameter differs from others.

        Parameters
        ----------
        step : int
            The number of this update of the parameter, 1 for its first.

        Returns
        -------
        tuple of float
            SGD: whether PyTorch's sum starts (1 or 0), and 0. Adam: ``lr`` over the
            bias correction of the first mean, and the root of the second one's.
            Adagrad: the decayed learning rate, and 0. RMSprop: zeros.
        """
        c = self.coefficients
        match self.family:
            case "sgd":
                return float(step == 1), 0.0
            case "adam":
                size = c.lr / (1.0 - power(c.beta1, step))
                return size, math.sqrt(1.0 - power(c.beta2, step))
            case "adagrad":
                return c.lr / (1.0 + (step - 1) * c.lr_decay), 0.0
        return 0.0, 0.0


STATES: dict[str, dict[str, int | None]] = {
    "sgd": {"momentum_buffer": Flag.MOMENTUM},
    "adam": {"exp_avg": None, "exp_avg_sq": None, "max_exp_avg_sq": Flag.AMSGRAD},
    "rmsprop": {
        "square_avg": None,
        "momentum_buffer": Flag.MOMENTUM,
        "grad_avg": Flag.CENTERED,
    },
    "adagrad": {"sum": None},
}
"""The states of each family in order, and the flag without which one is not kept."""


def power(base: float, exponent: int) -> float:
    """Return `base` to a natural power by repeated squaring.

    Unlike ``base**exponent`` this is a fixed sequence of multiplications, which a GPU
    rounds in the same way.
    """
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def _flags(**present: object) -> int:
    """Return the flags whose keyword is true."""
    return sum(getattr(Flag, name) for name, value in present.items() if value)


# The families, from their hyperparameters


def sgd(
    *,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    alpha: float = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    momentum_form: str = "classic",
    proximal: bool = False,
) -> Update:
    """Return the update of `gradlite.optim.SGD`, which describes the options.

    Notes
    -----
    For each element, in this order::

        g = grad / grad_scale * clip;  g = -g if maximize
        g += alpha * sign(p)                    (not if proximal)
        g += weight_decay * p                   (decoupled: p *= 1 - lr * weight_decay)
        classic:    v = momentum * v - lr * (1 - dampening) * g
                    p += momentum * v - lr * g if nesterov else v
        torch:      v = g if first else momentum * v + (1 - dampening) * g
                    p -= lr * (g + momentum * v if nesterov else v)
        proximal:   q = soft(p + momentum * v - lr * g, lr * alpha);  v = q - p;  p = q

    Without momentum the last part is ``p -= lr * g`` in either form.
    """
    torch_form = momentum_form == "torch"
    flags = _flags(
        MAXIMIZE=maximize,
        L1=alpha and not proximal,
        WEIGHT_DECAY=weight_decay,
        DECOUPLED=weight_decay and decoupled_weight_decay,
        MOMENTUM=momentum,
        NESTEROV=momentum and nesterov,
        TORCH=momentum and torch_form,
        PROXIMAL=proximal,
    )
    coefficients = Coefficients(
        lr=lr,
        weight_decay=weight_decay,
        alpha=alpha,
        decay=1.0 - lr * weight_decay,
        threshold=lr * alpha,
        momentum=momentum,
        gain=(1.0 if torch_form else lr) * (1.0 - dampening),
    )
    return Update("sgd", flags, coefficients)


def adam(
    *,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled_weight_decay: bool = False,
    amsgrad: bool = False,
    maximize: bool = False,
) -> Update:
    """Return the update of `gradlite.optim.Adam` and `AdamW`.

    Notes
    -----
    For each element, after the lines on the gradient that `sgd` has::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * (g * g)
        s = max(s, v)                           (amsgrad, which then uses s for v)
        p -= lr / (1 - beta1**t) * (m / (sqrt(v) / sqrt(1 - beta2**t) + eps))
    """
    flags = _flags(
        MAXIMIZE=maximize,
        WEIGHT_DECAY=weight_decay,
        DECOUPLED=weight_decay and decoupled_weight_decay,
        AMSGRAD=amsgrad,
    )
    coefficients = Coefficients(
        lr=lr,
        weight_decay=weight_decay,
        decay=1.0 - lr * weight_decay,
        beta1=betas[0],
        rest1=1.0 - betas[0],
        beta2=betas[1],
        rest2=1.0 - betas[1],
        eps=eps,
    )
    return Update("adam", flags, coefficients)


def rmsprop(
    *,
    lr: float,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
    maximize: bool = False,
) -> Update:
    """Return the update of `gradlite.optim.RMSprop`; its `alpha` is here `beta2`.

    Notes
    -----
    For each element, after the lines on the gradient that `sgd` has::

        v = alpha * v + (1 - alpha) * (g * g)
        a = alpha * a + (1 - alpha) * g         (centered, and v - a * a for v below)
        d = g / (sqrt(v) + eps)
        b = momentum * b + d                    (momentum, and b for d below)
        p -= lr * d
    """
    flags = _flags(
        MAXIMIZE=maximize,
        WEIGHT_DECAY=weight_decay,
        MOMENTUM=momentum,
        CENTERED=centered,
    )
    coefficients = Coefficients(
        lr=lr,
        weight_decay=weight_decay,
        momentum=momentum,
        beta2=alpha,
        rest2=1.0 - alpha,
        eps=eps,
    )
    return Update("rmsprop", flags, coefficients)


def adagrad(
    *,
    lr: float,
    lr_decay: float = 0.0,
    weight_decay: float = 0.0,
    eps: float = 1e-10,
    maximize: bool = False,
) -> Update:
    """Return the update of `gradlite.optim.Adagrad`.

    Notes
    -----
    For each element, after the lines on the gradient that `sgd` has::

        s = s + g * g
        p -= lr / (1 + (t - 1) * lr_decay) * (g / (sqrt(s) + eps))
    """
    flags = _flags(MAXIMIZE=maximize, WEIGHT_DECAY=weight_decay)
    coefficients = Coefficients(
        lr=lr, weight_decay=weight_decay, eps=eps, lr_decay=lr_decay
    )
    return Update("adagrad", flags, coefficients)


# The formulas


class Scales(NamedTuple):
    """What a gradient is divided by, and then multiplied with; None for nothing."""

    grad_scale: Any = None
    clip: Any = None


class Step(NamedTuple):
    """One update at work: the arithmetic, the numbers, and room for what is temporary.

    Attributes
    ----------
    xp : namespace
        With NumPy's `add`, `multiply` and so on, whose last argument is where the
        result is to go, if it can go there: `numpy`, or what
        `_generic_updates.arithmetic` made.
    flags, c
        Of the update.
    rates : tuple of float
        See `Update.rates`.
    scales : Scales
        Of the gradient.
    t, s : Array or None
        Scratch arrays like a parameter, for where results are to go.
    """

    xp: Any
    flags: int
    c: Coefficients
    rates: tuple[float, float]
    scales: Scales
    t: Array = None
    s: Array = None


def follow_(update: Update, step: Step, p: Array, g: Array, states: Any) -> None:
    """Update `p` and its `states` in place from the gradient `g`, which is only read.

    Parameters
    ----------
    update : Update
        What to do.
    step : Step
        With which arithmetic and numbers.
    p, g : Array
        Parameter and gradient of one shape and dtype.
    states : sequence of Array
        What `update.states` names, like `p`.
    """
    _FORMULAS[update.family](step, p, _direction_(step, p, g), *states)


def _store(target: Array, value: Array) -> None:
    if value is not target:
        target[...] = value


def _direction_(step: Step, p: Array, g: Array) -> Array:
    """Return the regularised gradient; decoupled weight decay shrinks `p` here."""
    xp, flags, c, _, scales, t, s = step
    if scales.grad_scale is not None:
        g = xp.divide(g, scales.grad_scale, t)
    if scales.clip is not None:
        g = xp.multiply(g, scales.clip, t)
    if flags & Flag.MAXIMIZE:
        g = xp.negative(g, t)
    if flags & Flag.L1:
        g = xp.add(g, xp.multiply(xp.sign(p, s), c.alpha, s), t)
    if flags & Flag.DECOUPLED:
        _store(p, xp.multiply(p, c.decay, p))
    elif flags & Flag.WEIGHT_DECAY:
        g = xp.add(g, xp.multiply(p, c.weight_decay, s), t)
    return g


def _sgd_(step: Step, p: Array, g: Array, v: Array = None) -> None:
    xp, flags, c, (first, _), _, t, s = step
    if flags & Flag.PROXIMAL:
        _proximal_(step, p, g, v)
    elif v is None:
        _store(p, xp.subtract(p, xp.multiply(g, c.lr, t), p))
    elif not flags & Flag.TORCH:
        _store(v, xp.multiply(v, c.momentum, v))
        _store(v, xp.subtract(v, xp.multiply(g, c.gain, s), v))
        if flags & Flag.NESTEROV:
            ahead = xp.multiply(v, c.momentum, s)
            d = xp.subtract(ahead, xp.multiply(g, c.lr, t), t)
        else:
            d = v
        _store(p, xp.add(p, d, p))
    else:
        if first:
            v[...] = g
        else:
            _store(v, xp.multiply(v, c.momentum, v))
            _store(v, xp.add(v, xp.multiply(g, c.gain, s), v))
        d = v
        if flags & Flag.NESTEROV:
            d = xp.add(g, xp.multiply(v, c.momentum, s), s)
        _store(p, xp.subtract(p, xp.multiply(d, c.lr, s), p))


def _proximal_(step: Step, p: Array, g: Array, v: Array) -> None:
    """Take the heavy-ball step to `p` + `v`, then soften it by ``lr * alpha``."""
    xp, _, c, _, _, t, s = step
    if v is None:
        q = xp.subtract(p, xp.multiply(g, c.lr, t), t)
    else:
        _store(v, xp.multiply(v, c.momentum, v))
        _store(v, xp.subtract(v, xp.multiply(g, c.lr, t), v))
        q = xp.add(p, v, t)
    # sign(q) * max(|q| - t, 0), with the same rounding and without negative zeros.
    inside = xp.clip(q, -c.threshold, c.threshold, s)
    q = xp.subtract(q, inside, t)
    if v is not None:
        _store(v, xp.subtract(q, p, v))
    p[...] = q


def _mean_(step: Step, mean: Array, value: Array, beta: float, rest: float) -> None:
    """Let a running mean take in a value, which may be lost in the scratch array s."""
    xp, s = step.xp, step.s
    _store(mean, xp.multiply(mean, beta, mean))
    _store(mean, xp.add(mean, xp.multiply(value, rest, s), mean))


def _adam_(
    step: Step, p: Array, g: Array, m: Array, v: Array, largest: Array = None
) -> None:
    xp, flags, c, (size, root), _, t, s = step
    _mean_(step, m, g, c.beta1, c.rest1)
    _mean_(step, v, xp.multiply(g, g, s), c.beta2, c.rest2)
    if flags & Flag.AMSGRAD:
        _store(largest, xp.maximum(largest, v, out=largest))
        v = largest
    denominator = xp.add(xp.divide(xp.sqrt(v, s), root, s), c.eps, s)
    d = xp.multiply(xp.divide(m, denominator, t), size, t)
    _store(p, xp.subtract(p, d, p))


def _rmsprop_(step: Step, p: Array, g: Array, v: Array, *others: Array) -> None:
    xp, flags, c, _, _, t, s = step
    _mean_(step, v, xp.multiply(g, g, s), c.beta2, c.rest2)
    if flags & Flag.CENTERED:
        mean = others[-1]
        _mean_(step, mean, g, c.beta2, c.rest2)
        v = xp.subtract(v, xp.multiply(mean, mean, s), s)
    d = xp.divide(g, xp.add(xp.sqrt(v, s), c.eps, s), t)
    if flags & Flag.MOMENTUM:
        buffer = others[0]
        _store(buffer, xp.multiply(buffer, c.momentum, buffer))
        _store(buffer, xp.add(buffer, d, buffer))
        d = buffer
    _store(p, xp.subtract(p, xp.multiply(d, c.lr, t), p))


def _adagrad_(step: Step, p: Array, g: Array, total: Array) -> None:
    xp, _, c, (size, _), _, t, s = step
    _store(total, xp.add(total, xp.multiply(g, g, s), total))
    denominator = xp.add(xp.sqrt(total, s), c.eps, s)
    d = xp.multiply(xp.divide(g, denominator, t), size, t)
    _store(p, xp.subtract(p, d, p))


_FORMULAS: dict[str, Any] = {
    "sgd": _sgd_,
    "adam": _adam_,
    "rmsprop": _rmsprop_,
    "adagrad": _adagrad_,
}
