"""Tiny originals in the formats of the real data sets, and data sets that know their checksums."""

import gzip
import hashlib
import io
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from empirical.data.archives import Payload
from empirical.data.catalogue import DATA_SETS, IDX_FILES, DataSet

CLASSES, TRAIN, TEST = 10, 40, 20


def payload(content: bytes) -> Payload:
    return Payload(len(content), hashlib.sha256(content).hexdigest())


def knowing(name: str, contents: Mapping[str, bytes], **changes: object) -> DataSet:
    """The real data set's description, but of these files."""
    return DATA_SETS[name]._replace(payloads={file: payload(c) for file, c in contents.items()}, **changes)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def labels(count: int, classes: int = CLASSES) -> np.ndarray:
    return (np.arange(count) * 7 % classes).astype(np.uint8)


def images(numbers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Random pictures whose first byte is their label."""
    out = np.random.default_rng(len(numbers)).integers(0, 256, (len(numbers), *shape), dtype=np.uint8)
    out.reshape(len(numbers), -1)[:, 0] = numbers
    return out


def mnist() -> dict[str, bytes]:
    arrays = []
    for count in (TRAIN, TEST):
        arrays += [images(labels(count), (28, 28)), labels(count)]
    return dict(zip(IDX_FILES, map(idx, arrays), strict=True))


def tiny_mnist(contents: Mapping[str, bytes]) -> DataSet:
    return knowing("mnist", contents, counts=(TRAIN, TEST))


def write_packed(folder: Path, contents: Mapping[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1))
    return folder


def cifar(label_bytes: int) -> dict[str, bytes]:
    """Files of 10 records (CIFAR-100's: 100 and 100) whose last label byte is the class."""
    names = (
        [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
        if label_bytes == 1
        else ["train.bin", "test.bin"]
    )
    contents = {}
    for k, name in enumerate(names):
        numbers = labels(10 if label_bytes == 1 else 100, 10 if label_bytes == 1 else 100)
        coarse = np.full((len(numbers), label_bytes - 1), 99, np.uint8)
        pixels = np.roll(images(numbers, (3072,)), k, axis=1)
        contents[name] = np.concatenate([coarse, numbers[:, None], pixels], 1).tobytes()
    return contents


def write_tar(path: Path, contents: Mapping[str, bytes], extra: tarfile.TarInfo | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(f"cifar-folder/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if extra is not None:
            archive.addfile(extra, io.BytesIO(b"x" * extra.size))
    return path


def jpeg(shade: int, mode: str = "RGB", side: int = 64) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new(mode, (side, side), shade if mode == "L" else (shade, 0, 255 - shade)).save(out, "JPEG", quality=95)
    return out.getvalue()


def tiny_imagenet_files() -> dict[str, bytes]:
    """Two classes; the shade of a picture is 40·(its class + 1), one is grey."""
    files = {"wnids.txt": b"n02\nn01\n"}
    for number, wordnet in enumerate(("n01", "n02")):
        for k in range(3):
            mode = "L" if (number, k) == (0, 1) else "RGB"
            files[f"train/{wordnet}/images/{wordnet}_{k}.JPEG"] = jpeg(40 * (number + 1), mode)
    files["val/images/val_0.JPEG"], files["val/images/val_1.JPEG"] = jpeg(80), jpeg(40)
    files["val/val_annotations.txt"] = b"val_0.JPEG\tn02\t0\t0\t62\t62\nval_1.JPEG\tn01\t0\t0\t62\t62\n"
    files["test/images/test_0.JPEG"] = b"not read"
    return files


def write_zip(path: Path, files: Mapping[str, bytes], extra: zipfile.ZipInfo | None = None) -> DataSet:
    """Writes the archive; returns the data set that expects it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"tiny-imagenet-200/{name}", content)
        if extra is not None:
            archive.writestr(extra, "x")
    return knowing("tiny-imagenet", {"tiny-imagenet-200.zip": path.read_bytes()}, classes=2, counts=(6, 2))
