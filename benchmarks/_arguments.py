"""Reading what the command line gives."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def listed(text: str, choices: Sequence[str]) -> list[str]:
    """Return the parts of a list with commas; `none` is the empty one."""
    parts = [] if text == "none" else text.split(",")
    for part in parts:
        if part not in choices:
            raise argparse.ArgumentTypeError(
                f"{part!r} is none of {', '.join(choices)}; give them with commas"
            )
    return parts


def count(text: str) -> int:
    """Return a number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number; give 1 or more")
    return int(text)
