"""Fixtures for all tests: the devices, and the process-wide settings put back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import gradlite as gl

DEVICES = (
    "cpu",
    "array_api_strict",
    "array_api_strict:device1",  # a second device: what crosses over raises
    "torch:cpu",
    pytest.param("cuda", marks=pytest.mark.cuda),
)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> gl.Device:
    """Each device in turn; the reason is printed where there is none."""
    try:
        return gl.Device(request.param)
    except gl.DeviceUnavailableError as error:
        pytest.skip(str(error))


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
