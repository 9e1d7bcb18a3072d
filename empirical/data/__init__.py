"""Data that is kept: the cache, the archives of real data sets and how they come here.

What comes from outside is checked against its size and SHA-256 before it is read; another size of an image is exact: a
new pixel is the mean of the old ones it covers.

Reading order: cache (a folder, whole files only) → archives (originals, by checksum) → formats, tiny_imagenet (how
they are read) → catalogue (which data sets there are) → resize (images of another size) → library (import once, open
many times) → download (fetch the originals) → command (``python -m empirical data``).
"""

from typing import TYPE_CHECKING

from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.data.catalogue import DATA_SETS, DataSet, data_set
    from empirical.data.download import fetch
    from empirical.data.formats import Split
    from empirical.data.library import add, opened, present
    from empirical.data.resize import resized

__all__ = ["DATA_SETS", "DataSet", "Split", "add", "data_set", "fetch", "opened", "present", "resized"]

_HOMES = {
    **dict.fromkeys(("DATA_SETS", "DataSet", "data_set"), "catalogue"),
    "fetch": "download",
    "Split": "formats",
    **dict.fromkeys(("add", "opened", "present"), "library"),
    "resized": "resize",
}
__getattr__ = lazily(__name__, _HOMES)
