"""A GPU to test with where there is none: tensors that say they are on "cuda" and compute on the CPU.

Inside `cuda()` the device "cuda" exists. As on a GPU, operands on two devices are an error, and so is a CPU generator for numbers on the
GPU; what makes the CPU wait for the GPU (a number fetched, a copy that is not pinned, an index whose length nobody knows) is written down
with the place in the package that asked for it. torch's own fake tensors would do without values; on a build without CUDA they have no
gradients, and a step that is allowed to fetch a number could not go on.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

import untwin

SRC = Path(untwin.__file__).parent
CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
aten: Any = torch.ops.aten
WAITS = {
    aten.nonzero.default, aten.masked_select.default, aten.equal.default, aten._unique2.default, aten._linalg_eigh.default,
    aten.bincount.default, aten.repeat_interleave.Tensor, aten._local_scalar_dense.default,
}  # fmt: skip
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
JOINED = {aten.cat.default, aten.stack.default}  # take no number from the CPU, as the other operations do
WITHOUT_BITS = {aten._conj.default: aten.conj_physical.default, aten._neg_view.default: aten.neg.default}  # bits would be lost on the way

waits: Counter[str] = Counter()  # by place
_towards: list[torch.device] = []  # the device that a copy under way goes to


class OnCuda(torch.Tensor):
    """`held` is where its values are."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> OnCuda:
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype
        )

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def __repr__(self) -> str:
        return f"OnCuda({tuple(self.shape)}, {self.dtype})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(function, args, kwargs or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(function, args, kwargs or {})


def _compute(function: Any, args: Any, kwargs: Any) -> Any:
    tensors = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, torch.Tensor)]
    there = any(isinstance(t, OnCuda) for t in tensors)
    here = [t for t in tensors if not isinstance(t, OnCuda) and (t.ndim > 0 or function in JOINED)]
    wanted = _towards[-1] if _towards else kwargs.get("device") if function is not aten._to_copy.default else None  # `moved` has seen it
    if wanted is not None:
        result = torch.device(wanted).type == "cuda"
    elif function is aten.copy_.default:
        result = isinstance(args[0], OnCuda)
        if result != isinstance(args[1], OnCuda) and args[1].ndim:
            _wait()
    else:
        result = there
        if there and here and not (function in INDEXED and isinstance(args[0], OnCuda)):
            raise RuntimeError(f"{function}: expected all tensors to be on the same device, found cuda:0 and cpu")
    if result and kwargs.get("generator") is not None:
        raise RuntimeError(f"{function}: expected a 'cuda' device type for generator but found 'cpu'")
    if there and (function in WAITS or (function in INDEXED and (here or any(t.dtype == torch.bool for t in _indices(args))))):
        _wait()

    def held(a: Any) -> Any:
        if isinstance(a, OnCuda):
            return a.held
        return CPU if isinstance(a, torch.device) else a

    out = WITHOUT_BITS.get(function, function)(*tree_map(held, args), **tree_map(held, kwargs))
    own = {id(t.held): t for t in tensors if isinstance(t, OnCuda)}  # in place: the same tensor comes back

    def returned(t: Any) -> Any:
        return t if not (result and isinstance(t, torch.Tensor)) else own[id(t)] if id(t) in own else OnCuda(t)

    return tree_map(returned, out)


def _indices(args: Any) -> list[torch.Tensor]:
    return [t for t in args[1] if isinstance(t, torch.Tensor)]


def _wait() -> None:
    """Written down under the innermost function of the package: "solve/run.py iterate"; what nobody in the package asked for is not."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(SRC):
            name = frame.f_code.co_qualname.split(".<locals>")[0]
            waits[f"{path.relative_to(SRC).as_posix()} {name}"] += 1
            return
        frame = frame.f_back


def _send(t: torch.Tensor, device: torch.device, pinned: bool = False) -> torch.Tensor:
    if not pinned:
        _wait()
    _towards.append(device)
    try:
        return torch.clone(t)
    finally:
        _towards.pop()


@contextmanager
def cuda() -> Iterator[Counter[str]]:
    """The device "cuda" exists here. Yields how often somebody has waited for it, by place."""
    to, tensor, is_pinned = torch.Tensor.to, torch.tensor, set()

    def moved(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        copy = kwargs.pop("copy", False)
        if args and isinstance(args[0], torch.Tensor):
            device, dtype, lazy, layout = args[0].device, args[0].dtype, False, None
        else:
            device, dtype, lazy, layout = torch._C._nn._parse_to(*args, **kwargs)
        more = {k: v for k, v in (("dtype", dtype), ("memory_format", layout)) if v is not None}
        out = to(self, **more, copy=copy) if more or copy else self
        if device is None or device.type == self.device.type:
            return out
        return _send(out, device, bool(lazy) and id(self) in is_pinned)

    def pinned(self: torch.Tensor) -> torch.Tensor:
        is_pinned.add(id(self))
        return self

    def made(data: Any, *, dtype: Any = None, device: Any = None, **more: Any) -> torch.Tensor:
        out = tensor(data, dtype=dtype, **more)
        return out if device is None else out.to(device)

    def made_like(self: torch.Tensor, data: Any, *, dtype: Any = None, device: Any = None) -> torch.Tensor:
        return made(data, dtype=dtype or self.dtype, device=device or self.device)

    def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> torch.Tensor:
        out = data if isinstance(data, torch.Tensor) else torch.from_numpy(data) if hasattr(data, "__array__") else tensor(data)
        return moved(out, device=device, dtype=dtype) if device is not None or dtype is not None else out

    def quantile(self: torch.Tensor, q: float) -> torch.Tensor:  # within it torch makes tensors where it believes that this one is
        return OnCuda(before_quantile(self.held, q)) if isinstance(self, OnCuda) else before_quantile(self, q)

    before_quantile = torch.Tensor.quantile
    replaced = [
        (torch.Tensor, "quantile", quantile),
        (torch.Tensor, "to", moved),
        (torch.Tensor, "cpu", lambda self: moved(self, CPU)),
        (torch.Tensor, "cuda", lambda self: moved(self, CUDA)),
        (torch.Tensor, "pin_memory", pinned),
        (torch.Tensor, "new_tensor", made_like),
        (torch, "tensor", made),
        (torch, "as_tensor", as_tensor),
        (torch.cuda, "_lazy_init", lambda: None),
        (torch.cuda, "current_device", lambda: 0),
        (torch.cuda, "get_device_name", lambda *_: "none"),
        (torch.cuda, "get_device_properties", lambda *_: SimpleNamespace(total_memory=2**30)),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in replaced]
    for owner, name, value in replaced:
        setattr(owner, name, value)
    waits.clear()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # or a module would keep its tensors and lose what they hold
    try:
        with _Mode():
            yield waits
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(False)
        for owner, name, value in before:
            setattr(owner, name, value)
