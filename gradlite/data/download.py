"""Downloads: from mirrors, checked, and into the cache folder or not at all."""

from __future__ import annotations

import os
import sys
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

ATTEMPTS = 3
BACKOFF = 1.0
"""Seconds of rest after all mirrors failed for the first time; doubled each time."""
TIMEOUT = 30.0
CHUNK = 1 << 16


def cache_folder() -> Path:
    """Return the folder for downloads: `GRADLITE_CACHE`, or the system's for caches."""
    chosen = os.environ.get("GRADLITE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gradlite"


def fetch_unpacked(urls: Sequence[str], target: Path, sha256: str) -> None:
    """Download a gzipped file and store it unpacked.

    It is written under another name and renamed when its checksum is right, so that
    `target` is whole or absent whenever the process is killed.

    Parameters
    ----------
    urls : sequence of str
        Where the gzipped file is; tried in this order, and again after a rest.
    target : Path
        The unpacked file to write; its folder is made if needed.
    sha256 : str
        Checksum of the unpacked content.

    Raises
    ------
    ConnectionError
        If no mirror gave the right content; says what each of them did.
    """
    from http.client import HTTPException  # with urllib, slow to import
    from urllib.error import HTTPError

    target.parent.mkdir(parents=True, exist_ok=True)
    mine = f"{os.getpid()}-{threading.get_ident()}"
    part = target.with_name(f".{target.name}.{mine}.part")
    failures: dict[str, str] = {}
    try:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(BACKOFF * 2 ** (attempt - 1))
            for url in urls:
                try:
                    found = _fetch(url, part)
                except (OSError, HTTPException, zlib.error) as error:
                    failures[url] = str(error) or type(error).__name__
                    if isinstance(error, HTTPError):
                        error.close()
                    continue
                if found == sha256:
                    part.replace(target)
                    return
                failures[url] = f"content with the wrong SHA-256 {found}"
    finally:
        part.unlink(missing_ok=True)
    tried = "; ".join(f"{url}: {reason}" for url, reason in failures.items())
    raise ConnectionError(
        f"{target.name} could not be downloaded in {ATTEMPTS} attempts ({tried}); "
        f"connect to the internet and run again, or put the file, gzipped or not, into "
        f"the folder {target.parent}"
    )


def _fetch(url: str, part: Path) -> str:
    """Unpack the file at `url` into `part` and return the SHA-256 of the content."""
    import hashlib  # slow to import
    from urllib.request import urlopen

    digest = hashlib.sha256()
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # gzip
    with urlopen(url, timeout=TIMEOUT) as response, part.open("wb") as file:
        size = int(response.headers.get("Content-Length") or 0)
        with _progress(url.rpartition("/")[2], size) as bar:
            while chunk := response.read(CHUNK):
                content = unpacker.decompress(chunk)
                digest.update(content)
                file.write(content)
                if bar is not None:
                    bar.update(len(chunk))
    return digest.hexdigest()


def _progress(name: str, size: int) -> Any:
    """Return a progress bar as a context, or one of None where tqdm is missing."""
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        return nullcontext()
    # disable=None shows nothing where the output is not a terminal.
    return tqdm(total=size or None, desc=name, unit="B", unit_scale=True, disable=None)
