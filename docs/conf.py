"""Sphinx: how the pages of this folder become the site. `make docs` builds it, with every warning as an error; nothing is fetched."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "extensions"))

import untwin  # noqa: E402

project = "untwin"
author = "The untwin developers"
copyright = "The untwin developers, BSD 3-Clause"
version = release = untwin.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_design", "sphinx_copybutton", "docstrings", "pages", "tables"]
if os.environ.get("UNTWIN_INTERSPHINX"):  # types of other packages as links, for a build that may ask their sites
    extensions.insert(0, "sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "torch": ("https://docs.pytorch.org/docs/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
    }
exclude_patterns = ["_build", "extensions", "**.ipynb_checkpoints"]
root_doc = "index"
highlight_language = "none"  # of blocks that name no language: commands and formulas
nitpicky = True  # a name that leads nowhere is an error

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4  # with the anchors of a code host, so that links work on both
smartquotes = False  # a quotation mark in a sentence may be copied into a shell

# The notebooks of the tutorials are run once; the second build takes what they gave.
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / "notebooks")
nb_execution_timeout = 120
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_inherit_docstrings = False  # what a class adds stands on its page, and the rest on that of its base
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = "untwin"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "untwin"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc"],
    "show_nav_level": 1,
    "navigation_depth": 3,
    "footer_start": ["copyright"],
    "footer_end": [],
    "use_edit_page_button": False,
}
html_sidebars = {"index": [], "install": [], "benchmarks": [], "comparison": [], "changes": [], "contributing": []}

folded_tables = {  # pages of measurements: a table of so many rows or more is opened by a click
    "benchmarks": 12,
    "deep-priors": 8,
    "denoisers": 8,
    "deblurring": 8,
    "exposures": 9,
    "learn": 10,
    "sparse-deconvolution": 9,
    "sparse-objects": 9,
    "bragg": 14,
    "guarantees": 20,
}
