"""Fixtures for all tests: devices, settings put back, no garbage collector."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator

import pytest

import gradlite as gl

OTHER_DEVICES = (
    "array_api_strict",
    "array_api_strict:device1",  # a second device: what mixes the two raises
    "torch:cpu",
    pytest.param("cuda", marks=pytest.mark.cuda),
)


@functools.cache
def _find(name: str) -> gl.Device | str:
    """Return the device, or the reason why there is none."""
    try:
        return gl.Device(name)
    except gl.DeviceUnavailableError as error:
        return str(error)


@pytest.fixture(params=("cpu", *OTHER_DEVICES))
def device(request: pytest.FixtureRequest) -> gl.Device:
    """Each device in turn; the reason is shown where there is none."""
    found = _find(request.param)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(params=OTHER_DEVICES)
def other_device(request: pytest.FixtureRequest) -> gl.Device:
    """Each device but the CPU."""
    found = _find(request.param)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    """Put the default dtype, device and random state back after the test."""
    dtype, device = gl.get_default_dtype(), gl.get_default_device()
    generator = gl.random.default_generator()
    state = generator.get_state()
    yield
    generator.set_state(state)
    gl.set_default_device(device)
    gl.set_default_dtype(dtype)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Turn the collector off: what is gone was freed by its last reference."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
