"""What travels between processes and is opened only by whoever needs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from untwin.processes import opened, sealed


class Parcel:
    """What travels: bytes until somebody asks for its content, so that a scheduler never opens it."""

    def __init__(self, content: Any) -> None:
        self._content, self._bytes = content, memoryview(b"")

    def __reduce__(self) -> tuple[Any, ...]:
        # as an array, which Dask hands on without a copy
        return _parcel, (np.frombuffer(self._bytes or sealed(self._content), np.uint8),)

    @property
    def content(self) -> Any:
        if self._bytes:
            self._content, self._bytes = opened(self._bytes), memoryview(b"")
        return self._content


def _parcel(content: np.ndarray) -> Parcel:
    parcel = Parcel(None)
    parcel._bytes = memoryview(content)  # type: ignore[arg-type]
    return parcel
