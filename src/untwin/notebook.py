"""What a notebook shows of an object in place of its text."""

from __future__ import annotations


class InNotebooks:
    """Shown as a card: the verdict, a small picture, the numbers that matter (show.notebook)."""

    def _repr_html_(self) -> str | None:
        from untwin.show.notebook import html  # an upward import: where notebooks look for it

        return html(self)
