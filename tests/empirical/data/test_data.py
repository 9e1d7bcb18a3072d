"""Real data sets: the loading code on tiny originals in the real formats, with checksums of their own."""

import gzip
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from empirical.__main__ import main
from empirical.data import library
from empirical.data.catalogue import DATA_SETS, DataSet
from empirical.data.download import fetch
from empirical.data.resize import resized
from empirical.streams.tasks import open_source, task
from empirical.training.options import DataOptions
from lop_theory.errors import InvalidInput
from tests.empirical.data import originals

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lop-theory"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


def nothing_kept(here: Path) -> bool:
    return not any(path.is_file() for path in here.rglob("*")) and not list(here.glob("data/*"))


# --- what is imported is what was packed ----------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_from_its_four_files_compressed_or_not(files: Path, packed: bool) -> None:
    contents = originals.mnist()
    if packed:
        originals.write_packed(files, contents)
    else:
        for name, content in contents.items():
            (files / name).write_bytes(content)
    library.add("mnist", files, originals.tiny_mnist(contents))
    for split, count in zip(library.opened("mnist", 28), (originals.TRAIN, originals.TEST), strict=True):
        assert np.array_equal(split.labels, originals.labels(count))
        assert np.array_equal(split.images[:, 0], originals.images(originals.labels(count), (28, 28)))
        assert split.labels.dtype == np.int64
        assert isinstance(split.images, np.memmap)


@pytest.mark.parametrize(("name", "label_bytes", "counts"), [("cifar10", 1, (50, 10)), ("cifar100", 2, (100, 100))])
@pytest.mark.parametrize("unpacked", [True, False])
def test_cifar_from_its_archive_or_unpacked(
    files: Path, name: str, label_bytes: int, counts: tuple[int, int], unpacked: bool
) -> None:
    contents = originals.cifar(label_bytes)
    data = originals.knowing(name, contents, counts=counts)
    archive = originals.write_tar(files / data.files[0], contents)
    if unpacked:
        archive.unlink()
        for file, content in contents.items():
            (files / file).write_bytes(content)
    library.add(name, files, data)
    found = library.opened(name, 32)
    rows = [np.frombuffer(c, np.uint8).reshape(-1, 3072 + label_bytes) for c in contents.values()]
    for split, part in zip(found, (np.concatenate(rows[:-1]), rows[-1]), strict=True):
        assert np.array_equal(split.images, part[:, label_bytes:].reshape(-1, 3, 32, 32))
        assert np.array_equal(split.labels, part[:, label_bytes - 1])


def test_tiny_imagenet_from_its_archive(files: Path) -> None:
    data = originals.write_zip(files / "tiny-imagenet-200.zip", originals.tiny_imagenet_files())
    library.add("tiny-imagenet", files / "tiny-imagenet-200.zip", data)
    train, test = library.opened("tiny-imagenet", 64)
    assert train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert test.labels.tolist() == [1, 0]
    for split in (train, test):
        assert np.abs(split.images[:, 0].mean((1, 2)) - 40 * (split.labels + 1)).max() < 3
    blue = train.images[:, 2].mean((1, 2))
    assert blue[1] == pytest.approx(40, abs=3)  # the grey one
    assert blue[0] == pytest.approx(215, abs=3)


# --- what is refused, by name, with nothing kept --------------------------------------------------------------------


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_in_half, r"t10k-labels-idx1-ubyte\.gz.*truncated or damaged"),
        (lambda path: path.write_bytes(b"plain"), r"t10k-labels-idx1-ubyte\.gz.*truncated or damaged"),
        (lambda path: path.write_bytes(b""), r"t10k-labels-idx1-ubyte.*must have 28 bytes"),
        (Path.unlink, r"has no t10k-labels-idx1-ubyte"),
        (spoil, r"t10k-labels-idx1-ubyte.*must have SHA-256"),
        (lambda path: path.write_bytes(gzip.compress(bytes(10**7))), r"t10k-labels-idx1-ubyte.*has 29 or more"),
    ],
)
def test_damaged_files_are_refused(files: Path, here: Path, damage: Callable[[Path], object], message: str) -> None:
    contents = originals.mnist()
    originals.write_packed(files, contents)
    damage(files / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(InvalidInput, match=message):
        library.add("mnist", files, originals.tiny_mnist(contents))
    assert nothing_kept(here)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (0, b"\x00\x00\x0d\x03" + bytes(12), "wrong magic number"),
        (0, b"\x00\x00\x08", "wrong magic number"),
        (0, b"\x00\x00\x08\x03\x00\x00", "wrong magic number"),
        (0, originals.idx(np.zeros((40, 28, 28), np.uint8))[:-1], "bytes after its header"),
        (0, b"\x00\x00\x08\x03" + b"\xff" * 12, "bytes after its header"),
        (0, originals.idx(np.zeros((40, 28), np.uint8)), "must hold images"),
        (0, originals.idx(np.zeros((40, 28, 27), np.uint8)), r"must be \(40, 1, 28, 28\)"),
        (1, originals.idx(np.zeros(39, np.uint8)), "must have 40 labels"),
        (1, originals.idx(np.full(40, 10, np.uint8)), "must have labels under 10, has 10"),
        (1, originals.idx(np.zeros(40, np.uint8)), "must show every class"),
    ],
)
def test_files_that_are_not_the_format_are_refused(
    files: Path, here: Path, file: int, content: bytes, message: str
) -> None:
    contents = originals.mnist()
    contents[list(contents)[file]] = content
    originals.write_packed(files, contents)
    with pytest.raises(InvalidInput, match=message):
        library.add("mnist", files, originals.tiny_mnist(contents))
    assert nothing_kept(here)


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, target, 1 if kind == tarfile.REGTYPE else 0
    return made


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (entry("../evil"), r"leaves its folder, '\.\./evil'"),
        (entry("folder/../../evil"), r"leaves its folder, 'folder/\.\./\.\./evil'"),
        (entry("/etc/evil"), "leaves its folder, '/etc/evil'"),
        (entry("C:\\evil"), "leaves its folder"),
        (entry("..\\evil"), "leaves its folder"),
        (entry("link", tarfile.SYMTYPE, "/etc/passwd"), "link or device, 'link'"),
        (entry("hard", tarfile.LNKTYPE, "cifar-folder/test.bin"), "link or device, 'hard'"),
        (entry("pipe", tarfile.FIFOTYPE), "link or device, 'pipe'"),
        (entry("test.bin"), "has test.bin twice"),
    ],
)
def test_entries_that_escape_are_refused_by_name(files: Path, here: Path, extra: tarfile.TarInfo, message: str) -> None:
    contents = originals.cifar(2)
    data = originals.knowing("cifar100", contents, counts=(100, 100))
    archive = originals.write_tar(files / "mine.tar.gz", contents, extra)
    with pytest.raises(InvalidInput, match=message):
        library.add("cifar100", archive, data)
    assert nothing_kept(here)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut_in_half, "truncated or damaged"),
        (lambda path: path.write_bytes(b"no archive"), "truncated or damaged"),
        (lambda path: originals.write_tar(path, {"train.bin": originals.cifar(2)["train.bin"]}), "has no test.bin"),
        (lambda path: originals.write_tar(path, {"train.bin": b"short"}), "train.bin.*must have 307400 bytes"),
    ],
)
def test_damaged_tar_archives_are_refused(
    files: Path, here: Path, change: Callable[[Path], object], message: str
) -> None:
    contents = originals.cifar(2)
    archive = originals.write_tar(files / "mine.tar.gz", contents)
    change(archive)
    with pytest.raises(InvalidInput, match=message):
        library.add("cifar100", archive, originals.knowing("cifar100", contents, counts=(100, 100)))
    assert nothing_kept(here)


def test_records_of_a_wrong_length_are_refused(files: Path, here: Path) -> None:
    contents = {**originals.cifar(2), "train.bin": bytes(3075)}
    archive = originals.write_tar(files / "mine.tar.gz", contents)
    with pytest.raises(InvalidInput, match=r"train\.bin.*multiple of 3074 bytes"):
        library.add("cifar100", archive, originals.knowing("cifar100", contents))
    assert nothing_kept(here)


def linked(name: str) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = 0o120777 << 16
    return made


@pytest.mark.parametrize(
    ("changes", "extra", "message"),
    [
        ({}, zipfile.ZipInfo("../evil"), r"leaves its folder, '\.\./evil'"),
        ({}, zipfile.ZipInfo("/evil"), "leaves its folder, '/evil'"),
        ({}, linked("link"), "link or device, 'link'"),
        ({"train/n01/images/n01_0.JPEG": originals.jpeg(40)[:200]}, None, "n01_0.JPEG.*not a whole JPEG"),
        ({"train/n01/images/n01_0.JPEG": b"GIF89a"}, None, "n01_0.JPEG.*not a whole JPEG"),
        ({"train/n01/images/n01_0.JPEG": originals.jpeg(40, side=32)}, None, "must be an image of 64×64"),
        ({"train/n03/images/n03_0.JPEG": originals.jpeg(40)}, None, "class n03, which wnids.txt does not list"),
        ({"wnids.txt": b"n01\n"}, None, "must list 2 classes, has 1"),
        ({"val/val_annotations.txt": b"val_9.JPEG\tn02\t0\n"}, None, "has no tiny-imagenet-200/val/images/val_9"),
        ({"val/val_annotations.txt": b""}, None, "must be .2, 3, 64, 64."),
    ],
)
def test_wrong_zip_archives_are_refused(
    files: Path, here: Path, changes: dict[str, bytes], extra: zipfile.ZipInfo | None, message: str
) -> None:
    path = files / "tiny-imagenet-200.zip"
    data = originals.write_zip(path, {**originals.tiny_imagenet_files(), **changes}, extra)
    with pytest.raises(InvalidInput, match=message):
        library.add("tiny-imagenet", path, data)
    assert nothing_kept(here)


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_zip_archive_must_be_the_original(files: Path, here: Path, damage: str) -> None:
    path = files / "tiny-imagenet-200.zip"
    data = originals.write_zip(path, originals.tiny_imagenet_files())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content if damage == "flip" else content[:-1])
    with pytest.raises(InvalidInput, match=r"tiny-imagenet-200\.zip.*must have (SHA-256|[0-9]+ bytes)"):
        library.add("tiny-imagenet", path, data)
    assert nothing_kept(here)


def test_a_failed_import_leaves_the_earlier_one(files: Path, here: Path) -> None:
    contents = originals.mnist()
    data = originals.tiny_mnist(contents)
    library.add("mnist", originals.write_packed(files, contents), data)
    before = {p: p.read_bytes() for p in here.rglob("*.*") if p.is_file()}
    spoil(files / "train-labels-idx1-ubyte.gz")
    with pytest.raises(InvalidInput, match="SHA-256"):
        library.add("mnist", files, data)
    assert {p: p.read_bytes() for p in here.rglob("*.*") if p.is_file()} == before
    library.add("mnist", originals.write_packed(files, contents), data)
    assert {p for p in here.rglob("*.*") if p.is_file()} == set(before)


def test_what_is_damaged_in_the_cache_is_not_used(files: Path) -> None:
    contents = originals.mnist()
    folder = library.add("mnist", originals.write_packed(files, contents), originals.tiny_mnist(contents))
    path = folder / "train_images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"is damaged in the cache \(train_images\.npy\).*data import mnist PATH"):
        library.opened("mnist", 28)


# --- fetching -------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(files: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(files))) as serving:
        threading.Thread(target=serving.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_originals_come_from_the_first_place_that_has_them(files: Path, here: Path, server: str) -> None:
    contents = originals.mnist()
    originals.write_packed(files, contents)
    data = originals.tiny_mnist(contents)._replace(places=(f"{server}/nowhere/", f"{server}/"))
    said: list[str] = []
    fetch("mnist", None, said.append, data)
    assert len(library.opened("mnist", 28).train.labels) == originals.TRAIN
    assert [line.split("/")[3] for line in said[:2]] == ["nowhere", "train-images-idx3-ubyte.gz …"]
    assert not list(here.glob(".fetch-*"))


def test_a_place_can_be_named(files: Path) -> None:
    contents = originals.cifar(2)
    originals.write_tar(files / "cifar-100-binary.tar.gz", contents)
    data = originals.knowing("cifar100", contents, counts=(100, 100))
    fetch("cifar100", files.as_uri(), lambda _: None, data)
    assert len(library.opened("cifar100", 32).test.labels) == 100


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut_in_half, "truncated or damaged"),
        (spoil, "must have SHA-256"),
        (Path.unlink, r"place=.*does not give t10k-labels-idx1-ubyte\.gz.*data import mnist PATH"),
    ],
)
def test_wrong_downloads_are_refused_and_not_kept(
    files: Path, here: Path, server: str, damage: Callable[[Path], object], message: str
) -> None:
    contents = originals.mnist()
    originals.write_packed(files, contents)
    damage(files / "t10k-labels-idx1-ubyte.gz")
    with pytest.raises(InvalidInput, match=message):
        fetch("mnist", server, lambda _: None, originals.tiny_mnist(contents))
    assert nothing_kept(here)


@pytest.mark.parametrize("place", ["http://127.0.0.1:1", "nonsense", "ftp:/x", "file:///nowhere"])
def test_offline_the_error_names_address_and_remedy(here: Path, place: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(InvalidInput, match=r"does not give train-images.*python -m empirical data import mnist PATH"):
        main(["data", "fetch", "mnist", "--from", place])
    assert f"{place}/train-images-idx3-ubyte.gz" in capsys.readouterr().out
    assert nothing_kept(here)


# --- the command and the catalogue ----------------------------------------------------------------------------------


def test_list_says_what_is_here(files: Path, capsys: pytest.CaptureFixture) -> None:
    contents = originals.mnist()
    library.add("mnist", originals.write_packed(files, contents), originals.tiny_mnist(contents))
    assert main(["data", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {name for name, row in rows.items() if row["here"]} == {"mnist"}
    assert rows["tiny-imagenet"]["classes"] == 200
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(DATA_SETS)
    assert [line.endswith("not here") for line in lines] == [False, True, True, True, True]
    assert main(["data"]) == 0
    assert capsys.readouterr().out.splitlines() == lines


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "imagenet", "."], "name='imagenet': is unknown; one of: mnist"),
        (["fetch", "imagenet"], "name='imagenet': is unknown"),
        (["import", "mnist", "/nowhere"], "path='/nowhere': does not exist"),
        (["import", "mnist", __file__], "must be a folder"),
        (["import", "cifar10", __file__], "truncated or damaged"),
        (["import", "tiny-imagenet", __file__], r"test_data\.py.*must have 248100043 bytes"),
        (["import", "tiny-imagenet", "/"], "cannot be read"),
    ],
)
def test_wrong_commands_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        main(["data", *arguments])


def test_the_catalogue_is_consistent() -> None:
    for name, data in DATA_SETS.items():
        assert all(len(p.sha256) == 64 and int(p.sha256, 16) for p in data.payloads.values())
        assert len({p.sha256 for p in data.payloads.values()}) == len(data.payloads)
        if name != "tiny-imagenet":  # uncompressed formats: the sizes follow from the counts
            head, label = (48, 1) if data.image[0] == 1 else (0, 2 if name == "cifar100" else 1)
            pixels = sum(data.counts) * (np.prod(data.image) + label)
            assert sum(p.size for p in data.payloads.values()) == pixels + head


# --- tasks of real images -------------------------------------------------------------------------------------------

OPTIONS = DataOptions(source="mnist", side=28, permuted=False, per_class=3, probe_per_class=50)


@pytest.fixture
def mnist(files: Path) -> DataSet:
    contents = originals.mnist()
    data = originals.tiny_mnist(contents)
    library.add("mnist", originals.write_packed(files, contents), data)
    return data


@pytest.mark.usefixtures("mnist")
def test_tasks_of_real_images() -> None:
    source = open_source(OPTIONS)
    assert (source.name, source.image, source.classes) == ("MNIST", (1, 28, 28), 10)
    train, test = library.opened("mnist", 28)
    seen = set()
    for index in range(4):
        found = task(source, OPTIONS, 5, index, 5)
        assert found.labels.tolist() == [c for c in found.classes for _ in range(3)]
        assert found.probe_labels.tolist() == [c for c in found.classes for _ in range(2)]  # all there are
        for pictures, labels, split in (
            (found.images, found.labels, train),
            (found.probe_images, found.probe_labels, test),
        ):
            assert np.array_equal(pictures[:, 0, 0, 0], labels)
            theirs = {p.tobytes() for p in split.images}
            assert all(p.tobytes() in theirs for p in pictures)
            assert len({p.tobytes() for p in pictures}) == len(pictures)
        seen.add(found.images.tobytes())
    assert len(seen) == 4
    assert np.array_equal(task(open_source(OPTIONS), OPTIONS, 5, 3, 5).images, found.images)


@pytest.mark.usefixtures("mnist")
def test_real_images_at_another_side_are_area_means_kept_for_the_next_time() -> None:
    train, test = library.opened("mnist", 28)
    for _ in range(2):
        small = library.opened("mnist", 16)
        assert np.array_equal(small.train.images, resized(np.asarray(train.images), 16))
        assert np.array_equal(small.test.images, resized(np.asarray(test.images), 16))
    assert isinstance(small.train.images, np.memmap)
    assert open_source(DataOptions(source="mnist", side=16)).image == (1, 16, 16)


@pytest.mark.parametrize("name", list(DATA_SETS))
def test_missing_data_name_both_commands(name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"source='{name}'.*data fetch {name}, or: .*data import {name} PATH"):
        open_source(DataOptions(source=name))


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_debians_fashion_mnist_recompressed_as_it_is(capsys: pytest.CaptureFixture) -> None:
    assert main(["data", "import", "fashion-mnist", str(DEBIAN)]) == 0
    assert "60,000 training and 10,000 held-out images" in capsys.readouterr().out
    train, test = library.opened("fashion-mnist", 28)
    assert np.bincount(train.labels).tolist() == [6000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert train.images.mean() / 255 == pytest.approx(0.2860, abs=1e-4)  # the published mean and deviation
    assert train.images.std() / 255 == pytest.approx(0.3530, abs=1e-4)
