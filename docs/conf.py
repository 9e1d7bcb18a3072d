"""Sphinx's configuration. ``make docs`` builds the pages with every warning an error."""

import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]
os.environ["PYTHONPATH"] = str(HERE.parent)  # of the commands whose help is shown

from lop_theory import __version__  # noqa: E402

project = "lop_theory"
author = copyright = "The lop_theory developers"
release = version = __version__
html_title = f"lop_theory {__version__}"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "api_pages",
    "command_pages",
]
intersphinx_mapping: dict[str, Any] = {}  # nothing is asked of the network
exclude_patterns = ["_build", "extensions", "tutorials", "generated/tutorials/**/*.ipynb"]
myst_enable_extensions = ["dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
add_module_names = False
maximum_signature_line_length = 140

sphinx_gallery_conf = {
    "examples_dirs": ["tutorials"],
    "gallery_dirs": ["generated/tutorials"],
    "filename_pattern": r"\.py$",
    "ignore_pattern": r"__init__\.py",
    "within_subsection_order": "api_pages.tutorial_order",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "plot_gallery": True,
    "image_scrapers": ("matplotlib",),
    "write_computation_times": False,
}

html_theme = "furo"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["static"]
html_css_files = ["pages.css"]
html_theme_options = {"footer_icons": [], "navigation_with_keys": True}
