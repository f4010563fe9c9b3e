"""Sphinx extension: on the pages of measurements a long table is folded behind a line that says what it holds.

folded_tables (in conf.py): page -> rows from which its tables are folded. The Markdown itself stays as it is.
"""

from __future__ import annotations

from html import escape
from typing import Any

from docutils import nodes


def fold_long_tables(app: Any, doctree: nodes.document, page: str) -> None:
    """Put <details> around each long table of a page."""
    fewest = app.config.folded_tables.get(page)
    if fewest is None or app.builder.format != "html":
        return
    for table in list(doctree.findall(nodes.table)):
        rows = sum(len(body.children) for body in table.findall(nodes.tbody))
        if rows < fewest:
            continue
        titles = [entry.astext() for head in table.findall(nodes.thead) for entry in head.findall(nodes.entry)]
        summary = f"Table of {rows} rows: " + ", ".join(title for title in titles if title)
        opening = nodes.raw("", f'<details class="folded"><summary>{escape(summary)}</summary>', format="html")
        closing = nodes.raw("", "</details>", format="html")
        parent, place = table.parent, table.parent.index(table)
        parent[place : place + 1] = [opening, table, closing]


def setup(app: Any) -> dict[str, bool]:
    app.add_config_value("folded_tables", {}, "env", dict)
    app.connect("doctree-resolved", fold_long_tables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
