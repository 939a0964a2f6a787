"""Automatic differentiation: the graph, the rules, and the walk back through them."""

from __future__ import annotations

from gradlite.autograd._api import backward
from gradlite.autograd._dispatch import install
from gradlite.autograd._graph import RemovableHandle
from gradlite.autograd._mode import (
    detect_anomaly,
    enable_grad,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from gradlite.autograd._op import REGISTRY, differentiable
from gradlite.autograd.checkpoint import checkpoint, is_recomputing
from gradlite.autograd.function import Function, once_differentiable
from gradlite.autograd.gradcheck import check_vjp, gradcheck, gradgradcheck
from gradlite.autograd.transforms import (
    elementwise_grad,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
)

__all__ = [
    "REGISTRY",
    "Function",
    "RemovableHandle",
    "backward",
    "check_vjp",
    "checkpoint",
    "detect_anomaly",
    "differentiable",
    "elementwise_grad",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "hessian",
    "hvp",
    "install",
    "is_grad_enabled",
    "is_recomputing",
    "jacobian",
    "jvp",
    "no_grad",
    "once_differentiable",
    "set_grad_enabled",
    "value_and_grad",
    "vjp",
]
