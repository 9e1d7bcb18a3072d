"""The real data sets: where their originals are, how these are recognised and read.

Checksums are SHA-256 of decompressed payloads, so that archives compressed again are accepted; Tiny ImageNet's is of
the archive. What they rest on:

- Fashion-MNIST: computed from Debian's package ``dataset-fashion-mnist``, and published alike by other projects.
- MNIST: published alike by several projects, among them the checksums of decompressed files with those of archives.
- CIFAR: of the archives Krizhevsky publishes MD5 only; the payloads' SHA-256 are those the torchvision gem (Ruby)
  checks at each load, for archives whose SHA-256 other projects publish alike. Not computed here.
- Tiny ImageNet: Stanford publishes none; eight projects publish this one alike. Not computed here.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from empirical.data.archives import Payload, check_archive, from_folder, from_tar
from empirical.data.formats import Split, cifar_split, idx_split
from empirical.data.tiny_imagenet import tiny_imagenet_splits
from lop_theory.errors import InvalidInput


class DataSet(NamedTuple):
    """A real data set."""

    title: str
    image: tuple[int, int, int]
    classes: int
    counts: tuple[int, int]
    """Images for training and held out."""
    files: tuple[str, ...]
    places: tuple[str, ...]
    """Files to download, and addresses of folders that have them."""
    payloads: Mapping[str, Payload]
    """By file name; images before labels, training before held out."""
    read: Callable[["DataSet", Path], tuple[Split, Split]]
    """Training and held-out split from a file or folder, checked. Raises ``InvalidInput``."""


def read_idx(data: DataSet, path: Path) -> tuple[Split, Split]:
    """From a folder with four IDX files, compressed or not."""
    if not path.is_dir():
        raise InvalidInput("path", str(path), "must be a folder", f"give the one with {data.files[0]}")
    found = list(from_folder(path, data.payloads).items())
    return idx_split(found[0], found[1], data.classes), idx_split(found[2], found[3], data.classes)


def read_cifar(data: DataSet, path: Path, label_bytes: int) -> tuple[Split, Split]:
    """From the archive, or from a folder with the archive or with its ``.bin`` files."""
    archive = path / data.files[0] if path.is_dir() else path
    found = from_tar(archive, data.payloads) if archive.is_file() else from_folder(path, data.payloads)
    *training, held_out = ((name, found[name]) for name in data.payloads)
    return cifar_split(training, label_bytes, data.classes), cifar_split([held_out], label_bytes, data.classes)


def read_tiny(data: DataSet, path: Path) -> tuple[Split, Split]:
    """From the archive, or from a folder with it."""
    archive = path / data.files[0] if path.is_dir() else path
    check_archive(archive, data.payloads[data.files[0]])
    return tiny_imagenet_splits(archive, data.classes)


IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
IDX_SIZES = (47_040_016, 60_008, 7_840_016, 10_008)
CIFAR10_FILES = (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin")
CIFAR = "https://www.cs.toronto.edu/~kriz/"


def _idx(title: str, places: tuple[str, ...], checksums: tuple[str, ...]) -> DataSet:
    payloads = {f: Payload(size, sha) for f, size, sha in zip(IDX_FILES, IDX_SIZES, checksums, strict=True)}
    files = tuple(f"{name}.gz" for name in IDX_FILES)
    return DataSet(title, (1, 28, 28), 10, (60_000, 10_000), files, places, payloads, read_idx)


DATA_SETS: Mapping[str, DataSet] = MappingProxyType(
    {
        "mnist": _idx(
            "MNIST",
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        "fashion-mnist": _idx(
            "Fashion-MNIST",
            ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
            (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
        "cifar10": DataSet(
            "CIFAR-10",
            (3, 32, 32),
            10,
            (50_000, 10_000),
            ("cifar-10-binary.tar.gz",),
            (CIFAR,),
            {
                name: Payload(10_000 * 3073, sha)
                for name, sha in zip(
                    CIFAR10_FILES,
                    (
                        "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
                        "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
                        "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
                        "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
                        "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
                        "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
                    ),
                    strict=True,
                )
            },
            partial(read_cifar, label_bytes=1),
        ),
        "cifar100": DataSet(
            "CIFAR-100",
            (3, 32, 32),
            100,
            (50_000, 10_000),
            ("cifar-100-binary.tar.gz",),
            (CIFAR,),
            {
                "train.bin": Payload(50_000 * 3074, "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29"),
                "test.bin": Payload(10_000 * 3074, "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a"),
            },
            partial(read_cifar, label_bytes=2),
        ),
        "tiny-imagenet": DataSet(
            "Tiny ImageNet",
            (3, 64, 64),
            200,
            (100_000, 10_000),
            ("tiny-imagenet-200.zip",),
            ("http://cs231n.stanford.edu/",),
            {
                "tiny-imagenet-200.zip": Payload(
                    248_100_043, "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"
                )
            },
            read_tiny,
        ),
    }
)


def data_set(name: str) -> DataSet:
    """Raises ``InvalidInput`` if the name is unknown."""
    if name not in DATA_SETS:
        raise InvalidInput("name", name, "is unknown", f"one of: {', '.join(DATA_SETS)}")
    return DATA_SETS[name]
