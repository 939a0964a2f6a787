"""The digits in the package, and MNIST from a folder or a download."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import os
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import gradlite as gl
from gradlite.data import digits, mnist

# Both names are also functions of `gradlite.data`.
digits_module = importlib.import_module("gradlite.data.digits")
mnist_module = importlib.import_module("gradlite.data.mnist")
download_module = importlib.import_module("gradlite.data.download")

STORED = Path(digits_module.__file__).with_name("digits.npz")


def rows(dataset: gl.data.TensorDataset) -> list[bytes]:
    """Return each image as bytes."""
    return [image.tobytes() for image in dataset.tensors[0].numpy()]


# --- digits ---------------------------------------------------------------------------


def test_digits_file_is_small() -> None:
    assert STORED.stat().st_size < 200_000


@pytest.mark.parametrize(
    ("name", "dtype", "sha256"),
    [  # images and labels are those of scikit-learn's load_digits
        (
            "images",
            "u1",
            "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3",
        ),
        (
            "labels",
            "u1",
            "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0",
        ),
        (
            "order",
            "<i2",
            "69cac1dfd7aa8847d68502fce0f7a17f905dc87ca56f4da1052682241c82aa34",
        ),
    ],
)
def test_digits_file_is_fixed(name: str, dtype: str, sha256: str) -> None:
    with np.load(STORED) as stored:
        array = stored[name].astype(dtype, casting="equiv")
    assert hashlib.sha256(array.tobytes()).hexdigest() == sha256


@pytest.mark.parametrize("by_writer", [False, True])
@pytest.mark.parametrize("split", ["train", "test"])
def test_digits_shapes(split: Any, by_writer: bool) -> None:
    images, labels = digits(split, by_writer=by_writer).tensors
    size = 360 if split == "test" else 1415 if by_writer else 1437
    assert images.shape == (size, 1, 8, 8)
    assert images.dtype == gl.float32
    assert labels.shape == (size,)
    assert labels.dtype == gl.int64
    assert images.device == labels.device == "cpu"
    assert images.numpy().min() == 0
    assert images.numpy().max() == 1
    assert set(labels.tolist()) == set(range(10))


def test_digits_split_is_complete_and_disjoint() -> None:
    with np.load(STORED) as stored:
        order, images = stored["order"], stored["images"]
    assert sorted(order) == list(range(1797))
    scaled = (images[order] / np.float32(16)).astype(np.float32)
    assert rows(digits("train")) + rows(digits("test")) == [x.tobytes() for x in scaled]


def test_digits_split_is_stratified() -> None:
    train, test = (digits(split).tensors[1].numpy() for split in ("train", "test"))
    in_test = np.bincount(test)
    share = (in_test + np.bincount(train)) * 360 / 1797
    assert np.all(abs(in_test - share) < 1)


def test_digits_by_writer_keeps_the_order_and_shares_no_form() -> None:
    with np.load(STORED) as stored:
        labels = stored["labels"]
    train = digits("train", by_writer=True).tensors[1].numpy()
    test = digits("test", by_writer=True).tensors[1].numpy()
    np.testing.assert_array_equal(train, labels[:1415])
    np.testing.assert_array_equal(test, labels[-360:])
    # Each form starts with 0 to 9 three times, and one starts where training ends.
    assert labels[1415:1445].tolist() == list(range(10)) * 3
    assert not set(rows(digits("train", by_writer=True))) & set(
        rows(digits("test", by_writer=True))
    )


def test_digits_enlarge_repeats_pixels() -> None:
    small = digits("test").tensors[0].numpy()
    large = digits("test", enlarge=4).tensors[0].numpy()
    assert large.shape == (360, 1, 32, 32)
    np.testing.assert_array_equal(large, np.kron(small, np.ones((4, 4), np.float32)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "valid"}, ValueError, "split is 'valid'"),
        ({"enlarge": 0}, ValueError, "enlarge must be .*got 0"),
        ({"enlarge": 2.5}, TypeError, "enlarge must be .*got 2.5"),
        ({"enlarge": True}, TypeError, "enlarge must be .*got True"),
    ],
)
def test_digits_refuses(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        digits(**arguments)


# --- MNIST from a folder --------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    """Return `array` of bytes as an IDX file."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + (
        array.astype(np.uint8).tobytes()
    )


def make_files(count: int = 5) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {
        name: idx(
            rng.integers(0, 256, (count, 28, 28))
            if "images" in name
            else rng.integers(0, 10, count)
        )
        for names in mnist_module.FILES.values()
        for name in names
    }


def write_files(folder: Path, files: dict[str, bytes], gzipped: bool = False) -> Path:
    for name, content in files.items():
        if gzipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("padding", [0, 2])
def test_mnist_reads_a_folder(
    tmp_path: Path, gzipped: bool, split: Any, padding: int
) -> None:
    files = make_files()
    write_files(tmp_path, files, gzipped)
    images, labels = mnist(split, root=tmp_path, padding=padding).tensors
    raw = np.frombuffer(files[mnist_module.FILES[split][0]], np.uint8, offset=16)
    want = (raw.reshape(5, 1, 28, 28) / 255).astype(np.float32)
    want = np.pad(want, [(0, 0), (0, 0), (padding, padding), (padding, padding)])
    np.testing.assert_allclose(images.numpy(), want, rtol=1e-7)
    assert images.dtype == gl.float32
    assert labels.dtype == gl.int64
    assert bytes(labels.tolist()) == files[mnist_module.FILES[split][1]][8:]


IMAGES, LABELS = mnist_module.FILES["train"]
DAMAGE = [
    ("cut_off", IMAGES, lambda content: content[:-1], "announces 3936; it is cut off"),
    ("too_long", IMAGES, lambda content: content + b"x", "has 3937 bytes"),
    ("empty", IMAGES, lambda content: b"", "the bytes of nothing"),
    ("only_magic", IMAGES, lambda content: content[:4], "starts with the bytes"),
    ("swapped", LABELS, lambda content: make_files()[IMAGES], "not with 00 00 08 01"),
    ("web_page", IMAGES, lambda content: b"<html>404</html>", "3c 68 74 6d"),
    ("cut_gzip", IMAGES, lambda content: gzip.compress(content)[:-20], "is damaged"),
    ("bad_gzip", IMAGES, lambda content: b"\x1f\x8bnothing", "is damaged"),
    ("bad_crc", IMAGES, lambda c: gzip.compress(c)[:-8] + b"12345678", "is damaged"),
    ("other_count", LABELS, lambda content: make_files(6)[LABELS], "6 labels"),
]


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [pytest.param(*case[1:], id=case[0]) for case in DAMAGE],
)
def test_mnist_refuses_damaged_files(
    tmp_path: Path, name: str, damage: Any, message: str
) -> None:
    files = make_files()
    files[name] = damage(files[name])
    write_files(tmp_path, files)
    with pytest.raises(ValueError, match=message) as caught:
        mnist(root=tmp_path)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"split": "dev"}, ValueError, "split is 'dev'"),
        ({"padding": -1}, ValueError, "padding must be .*got -1"),
        ({"padding": 1.0}, TypeError, "padding must be .*got 1.0"),
        ({"root": "no/such/folder"}, FileNotFoundError, "root is 'no.such.folder'"),
        ({"download": False}, FileNotFoundError, "download is False and the cache"),
    ],
)
def test_mnist_refuses(
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRADLITE_CACHE", str(tmp_path))
    with pytest.raises(error, match=message):
        mnist(**arguments)
    assert not any(tmp_path.iterdir())


def real_folder() -> Path:
    """Return the folder of the real files, or skip."""
    folder = os.environ.get("GRADLITE_MNIST")
    root = Path(__file__).resolve().parents[1]
    path = Path(folder) if folder else root.parent / "shared" / "data" / "mnist"
    if not path.is_dir():
        pytest.skip("the real MNIST files are needed: set GRADLITE_MNIST to the folder")
    return path


@pytest.mark.parametrize(
    ("split", "count", "first", "mean"),
    [
        ("test", 10_000, [7, 2, 1, 0, 4], 0.1325),
        pytest.param("train", 60_000, [5, 0, 4, 1, 9], 0.1307, marks=pytest.mark.slow),
    ],
)
def test_real_mnist(split: Any, count: int, first: list[int], mean: float) -> None:
    folder = real_folder()
    for name in mnist_module.FILES[split]:
        path = folder / name
        content = (
            path.read_bytes()
            if path.exists()
            else gzip.decompress((folder / f"{name}.gz").read_bytes())
        )
        assert hashlib.sha256(content).hexdigest() == mnist_module.SHA256[name]
    images, labels = mnist(split, root=folder, padding=2).tensors
    assert images.shape == (count, 1, 32, 32)
    assert labels.tolist()[:5] == first
    # The known mean of the 28 x 28 images, black pixels around them or not.
    assert abs(float(images.numpy().mean()) * (32 / 28) ** 2 - mean) < 1e-4


# --- downloads ------------------------------------------------------------------------


class Mirror(BaseHTTPRequestHandler):
    """Serves `files`; a function there may answer otherwise each time."""

    files: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        content = self.files.get(self.path)
        if callable(content):
            content = content()
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Serve a mirror on this machine and yield its address."""
    Mirror.files, Mirror.asked = {}, []
    monkeypatch.setenv("GRADLITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download_module, "BACKOFF", 0.001)
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{served.server_port}"
        finally:
            served.shutdown()
            thread.join()


def use_mirrors(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> dict[str, bytes]:
    """Let `mnist` download from `mirrors`, and return the right files."""
    files = make_files()
    sums = {name: hashlib.sha256(files[name]).hexdigest() for name in files}
    monkeypatch.setattr(mnist_module, "MIRRORS", mirrors)
    monkeypatch.setattr(mnist_module, "SHA256", sums)
    return files


def test_download_tries_the_next_mirror_and_keeps_the_files(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = use_mirrors(monkeypatch, f"{server}/gone/", f"{server}/here/")
    for name, content in files.items():
        Mirror.files[f"/here/{name}.gz"] = gzip.compress(content)
    first = mnist("test")
    names = mnist_module.FILES["test"]
    assert Mirror.asked == [f"/{m}/{n}.gz" for n in names for m in ("gone", "here")]
    folder = tmp_path / "cache" / "mnist"
    stored = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert stored == {name: files[name] for name in names}
    Mirror.asked.clear()
    again = mnist("test", download=False)
    assert Mirror.asked == []
    assert rows(again) == rows(first)


def answers(*contents: bytes | None) -> Any:
    remaining = list(contents)
    return lambda: remaining.pop(0)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(lambda packed: None, id="404"),
        pytest.param(lambda packed: b"<html>", id="no_gzip"),
        pytest.param(lambda packed: packed[:-30], id="cut_off"),
        pytest.param(lambda packed: gzip.compress(b"other"), id="other_content"),
        pytest.param(lambda packed: b"", id="empty"),
    ],
)
def test_download_retries_what_is_damaged(
    server: str, monkeypatch: pytest.MonkeyPatch, bad: Any
) -> None:
    files = use_mirrors(monkeypatch, f"{server}/")
    for name, content in files.items():
        packed = gzip.compress(content)
        Mirror.files[f"/{name}.gz"] = answers(bad(packed), packed)
    assert len(mnist("test")) == 5
    assert len(Mirror.asked) == 4


def test_download_of_wrong_content_leaves_nothing(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_mirrors(monkeypatch, f"{server}/")
    Mirror.files[f"/{IMAGES}.gz"] = gzip.compress(b"something else")
    with pytest.raises(ConnectionError, match="wrong SHA-256"):
        mnist()
    assert len(Mirror.asked) == download_module.ATTEMPTS
    assert list((tmp_path / "cache/mnist").iterdir()) == []


def test_download_offline_names_mirrors_folder_and_fix(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Port 9 of this machine answers nobody.
    mirrors = "http://127.0.0.1:9/one/", "http://127.0.0.1:9/two/"
    use_mirrors(monkeypatch, *mirrors)
    with pytest.raises(ConnectionError) as caught:
        mnist()
    message = str(caught.value)
    folder = str(tmp_path / "cache" / "mnist")
    for part in (*mirrors, folder, "connect to the internet"):
        assert part in message


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_cache_folder(
    platform: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GRADLITE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download_module.sys, "platform", platform)
    folder = download_module.cache_folder()
    assert folder.is_absolute()
    assert folder.name == "gradlite"
    monkeypatch.setenv("GRADLITE_CACHE", str(tmp_path))
    assert download_module.cache_folder() == tmp_path
