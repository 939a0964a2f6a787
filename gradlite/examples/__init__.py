"""Programs to run and to read: `python -m gradlite.examples.lenet`."""

from __future__ import annotations
