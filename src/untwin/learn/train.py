"""Training: one straight loop over steps. Sample i is a function of the recipe, the seed and i, so a run that was cut short goes on
where its last checkpoint stands (20 seconds of work ago, or a few where one takes long) and ends, on a CPU, with the same bits."""

from __future__ import annotations

import dataclasses
import math
import os
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from untwin.checks import require_int, require_number
from untwin.data.checksummed import before
from untwin.errors import CheckpointWarning, InputError, NumericalFailure
from untwin.learn.objectives import OBJECTIVES
from untwin.learn.pairs import Data
from untwin.learn.validate import measured_amplitude, validated
from untwin.live.record import Record
from untwin.live.view import Line
from untwin.model.networks import weights
from untwin.model.networks.architecture import architecture
from untwin.processes import stoppable
from untwin.provenance import made_with

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from torch.optim import Optimizer

    from untwin.model.networks.architecture import Architecture

CHECK = 10  # steps between two looks whether the loss is still a number
EVERY = 20.0  # seconds of work between checkpoints, at most, unless
SHARE = 50.0  # they would take more than a fiftieth of the time
CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Training:
    """A training run, as its checkpoint holds it.

    architecture: text, such as CdiNN(form=32). data: text of the recipe. objective: supervised, canonical, invariant or passive.
    steps, batch: samples seen are their product. seed: of weights and samples. rate: the highest learning rate of Adam, reached after
    `rising` steps, and left along a cosine down to a hundredth. warm: steps on canonical targets before `invariant` begins, so that one of
    twins is chosen at all. check: steps between checkpoints, each with a validation on `held` samples. start: the model whose weights are
    trained on, a name or a file; drawn at random without one.
    """

    architecture: str
    data: str
    objective: str = "invariant"
    steps: int = 20_000
    batch: int = 64
    seed: int = 0
    rate: float = 1e-3
    rising: int = 200
    warm: int = 2_000
    check: int = 500
    held: int = 512
    start: str = ""

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise InputError(f"objective {self.objective!r}; expected one of {', '.join(OBJECTIVES)}")
        for name, least in (("steps", 1), ("batch", 1), ("seed", 0), ("rising", 0), ("warm", 0), ("check", 1), ("held", 1)):
            require_int(self, name, least, 2**40 - 1)
        require_number(self, "rate", 0, 1, above=True, below=True)

    def rate_at(self, step: int) -> float:
        if step < self.rising:
            return self.rate * (step + 1) / self.rising
        share = (step - self.rising) / max(1, self.steps - self.rising)
        return self.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))

    def objective_at(self, step: int) -> str:
        return "canonical" if self.objective == "invariant" and step < self.warm else self.objective


@dataclass(eq=False)
class Progress:
    """What training changes, in place. rows: one per validation. loss: the sum since the last of them. seconds: of work so far."""

    net: Module
    optimizer: Optimizer
    step: int
    rows: list[dict[str, Any]]
    loss: Tensor
    origin: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def train(
    run: Training,
    data: Data,
    folder: Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    report: Callable[[dict[str, Any]], None] | None = None,
    live: Record | None = None,
) -> list[dict[str, Any]]:
    """Train to the end; returns the rows of the curves. Writes weights.safetensors at the end, a checkpoint after every validation and
    every 20 seconds, and one where the user interrupts.

    resume: go on from the checkpoint in the folder. Several processes (torchrun): each takes its share of every batch and gradients
    are averaged. On CUDA the network works in bfloat16 where that is safe (autocast). report: called with each row. live: shows the run
    while it goes on.
    Raises InputError where the folder holds another run, or its checkpoint is damaged.
    """
    of, live = architecture(run.architecture), live or Record()
    worker = Worker()
    if run.batch % worker.size:
        raise InputError(f"batch {run.batch} for {worker.size} processes; expected a multiple")
    with worker, stoppable() as stop_requested:
        progress = _begin(run, folder, resume, device)
        _check_data(run, data, of)
        validation = data.validation_batch(run.held, device) if worker.rank == 0 else None
        progress.net.train()
        clock, cpu, earlier = time.monotonic(), time.process_time(), progress.seconds
        live.begun, live.resumable = True, resume
        live.steps(progress.step, None, run.steps)
        due = clock + EVERY
        while progress.step < run.steps:
            _step(run, progress, data, of, worker, device)
            progress.seconds = earlier + time.monotonic() - clock
            live.steps(1)
            check = progress.step % run.check == 0 or progress.step == run.steps
            stop, began = stop_requested(), time.monotonic()
            if (progress.step % CHECK == 0 or check or stop) and not math.isfinite(float(progress.loss)):
                raise NumericalFailure(_not_finite(run, progress, folder))
            if check:
                if worker.rank == 0:
                    progress.rows.append(_row(run, progress, of, validation, time.process_time() - cpu))
                    live.lines(_lines(progress.rows))
                progress.loss.zero_()
            if worker.rank == 0 and (check or stop or began > due):
                _save_checkpoint(run, progress, folder, device)
                live.resumable = True
                due = time.monotonic() + max(EVERY, SHARE * (time.monotonic() - began))
                if check and report:
                    report(progress.rows[-1])
            if stop:
                raise KeyboardInterrupt
        if worker.rank == 0:
            holes = validation is not None and not bool(validation.measured.all())
            weights.save(folder / WEIGHTS, progress.net, of, {**card(run, progress), "made": made_with(device), "holes": holes})
    return progress.rows


def _step(run: Training, progress: Progress, data: Data, of: Architecture, worker: Worker, device: str) -> None:
    """One step of the optimiser on this process's share of the next batch."""
    import torch

    for group in progress.optimizer.param_groups:
        group["lr"] = run.rate_at(progress.step)
    first, kind = progress.step * run.batch, torch.device(device).type
    samples = data.batch(range(first + worker.rank, first + run.batch, worker.size), device)
    truth, amplitude = of.truth(samples.image), measured_amplitude(samples.intensity, samples.measured)
    with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
        output = progress.net(of.take(samples.intensity, samples.measured))
    loss = OBJECTIVES[run.objective_at(progress.step)](of, output.float(), truth, amplitude)
    progress.optimizer.zero_grad()
    loss.backward()
    worker.average([p.grad for p in progress.net.parameters() if p.grad is not None])
    torch.nn.utils.clip_grad_norm_(progress.net.parameters(), 1.0)
    progress.optimizer.step()
    progress.step += 1
    progress.loss += loss.detach()


def _row(run: Training, progress: Progress, of: Architecture, validation: Any, cpu_seconds: float) -> dict[str, Any]:
    """A row of the curves: the mean loss since the row before, and the network on the validation samples."""
    since = (progress.step - 1) % run.check + 1
    return {
        "step": progress.step,
        "samples": progress.step * run.batch,
        "loss": float(progress.loss) / since,
        "rate": run.rate_at(progress.step),
        "seconds": progress.seconds,
        "cpu_seconds": cpu_seconds,
        **validated(of, progress.net, validation),
    }


def _lines(rows: list[dict[str, Any]]) -> list[Line]:
    """The curves of the rows, a group for each figure."""
    names = [k for k in ("loss", "error", "iou", "misfit") if any(row.get(k) is not None for row in rows)]
    pairs = [[(row["step"], row[k]) for row in rows if row.get(k) is not None and math.isfinite(row[k])] for k in names]
    return [Line(k, tuple(s for s, _ in p), tuple(v for _, v in p), i) for i, (k, p) in enumerate(zip(names, pairs))]


def _not_finite(run: Training, progress: Progress, folder: Path) -> str:
    checkpoint = f"; {folder / CHECKPOINT} is from before that" if (folder / CHECKPOINT).exists() else ""
    return (
        f"the training came to NaN or infinity before step {progress.step}{checkpoint}. "
        f"Train again with a lower rate (--rate) than {run.rate:g}"
    )


def card(run: Training, progress: Progress) -> dict[str, Any]:
    """The model card: what the network is, how it was trained and from what (`origin`), what it reached on samples that it had not seen."""
    from untwin import __version__

    last = progress.rows[-1] if progress.rows else {}
    return {
        "training": dataclasses.asdict(run),
        "samples": last.get("samples", 0),
        "validation_samples": run.held,
        "metrics": {k: v for k, v in last.items() if k not in ("step", "samples", "rate", "seconds", "cpu_seconds", "loss")},
        "licence": "BSD-3-Clause",
        "untwin": __version__,
        **({"origin": progress.origin} if progress.origin else {}),
    }


def _begin(run: Training, folder: Path, resume: bool, device: str) -> Progress:
    """The first state, or that of the folder's checkpoint."""
    import torch

    of = architecture(run.architecture)
    net, origin = of.build(torch.Generator().manual_seed(run.seed)), {}
    if run.start and not resume:
        start = weights.load(run.start)
        if start.architecture != of:
            raise InputError(f"{run.start} is a {start.architecture!r}, to be trained is a {of!r}; begin with weights of the same")
        net.load_state_dict(start.net.state_dict())
        origin = {k: start.card[k] for k in ("training", "samples", "origin") if k in start.card}
    channels_last = torch.channels_last if len(of.shape) == 2 else torch.channels_last_3d
    net = net.to(device=device, memory_format=channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.Adam(net.parameters(), lr=run.rate, fused=True)
    progress = Progress(net, optimizer, 0, [], torch.zeros((), device=device), origin)
    if resume:
        path, tensors, metadata = _read_checkpoint(folder)
        _check_same(run, metadata, folder, device)
        _restore_progress(progress, path, tensors, metadata)
    return progress


def _read_checkpoint(folder: Path) -> tuple[Path, dict[str, Tensor], dict[str, Any]]:
    """The last checkpoint of the folder that is whole: its path, tensors and metadata."""
    path = folder / CHECKPOINT
    if not begun(folder):
        raise InputError(f"no {CHECKPOINT} in {folder}; leave resume=True (--resume) out to begin")
    try:
        return path, *weights.read(path)
    except InputError as error:
        path = before(path)
        if not path.exists():
            raise
        warnings.warn(f"{error}: the one before it is used", CheckpointWarning, stacklevel=4)
        tensors, metadata = weights.read(path)
        (folder / CHECKPOINT).unlink(missing_ok=True)  # or the next one would put it in the place of the good one
        return path, tensors, metadata


def _check_same(run: Training, metadata: dict[str, Any], folder: Path, device: str) -> None:
    """Raise InputError where the checkpoint is of another training; warn where other software or another machine goes on with it."""
    stored = metadata.get("training", {})
    for name, v in dataclasses.asdict(run).items():
        if stored.get(name) != v:
            raise InputError(
                f"{folder} was trained with {name} = {stored.get(name)!r}, asked for is {v!r}; use the same, or another folder"
            )
    current = made_with(device)
    for name, was in metadata.get("made", current).items():
        if current.get(name) != was:
            warnings.warn(
                f"{folder} was begun with {name} {was}, this is {current.get(name)}: the training goes on, with other last bits",
                CheckpointWarning,
                stacklevel=4,
            )


def _restore_progress(progress: Progress, path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Put what a checkpoint holds in the place of the first state. Raises InputError where something is missing in it."""
    import torch

    net, optimizer = progress.net, progress.optimizer
    try:
        net.load_state_dict({k: tensors[f"net.{k}"] for k in net.state_dict()})
        state = {}
        for i, p in enumerate(net.parameters()):  # in the memory order of the weights, which the fused step relies on
            moments = {k: torch.empty_like(p).copy_(tensors[f"adam.{i}.{k}"]) for k in ("exp_avg", "exp_avg_sq")}
            state[i] = {"step": tensors[f"adam.{i}.step"].clone(), **moments}
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        progress.loss.copy_(tensors["loss"])
        progress.step, progress.rows = int(metadata["step"]), list(metadata["rows"])
        progress.origin, progress.seconds = dict(metadata.get("origin", {})), float(metadata["seconds"])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({str(error)[:120]}); begin again in another folder") from None


def begun(folder: Path) -> bool:
    """True where there is something to go on from."""
    return any(p.exists() for p in (folder / CHECKPOINT, before(folder / CHECKPOINT)))


def _save_checkpoint(run: Training, progress: Progress, folder: Path, device: str) -> None:
    """The checkpoint; the last one stays beside it. Raises NumericalFailure where the weights are not finite."""
    import torch

    tensors = {"loss": progress.loss.detach().cpu()} | {f"net.{k}": v.detach().cpu() for k, v in progress.net.state_dict().items()}
    for i, state in progress.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{k}": v.detach().cpu() for k, v in state.items()}
    if not all(bool(torch.isfinite(v).all()) for v in tensors.values()):
        raise NumericalFailure(_not_finite(run, progress, folder))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CHECKPOINT
    metadata = {"training": dataclasses.asdict(run), "step": progress.step, "rows": progress.rows, "seconds": progress.seconds}
    metadata |= {"made": made_with(device), "origin": progress.origin}
    with suppress(FileNotFoundError):
        os.replace(path, before(path))
    weights.write(path, tensors, metadata)


def _check_data(run: Training, data: Data, of: Architecture) -> None:
    """Raise InputError where the data are not for this network."""
    sample = data.batch([0])
    if tuple(sample.intensity.shape[1:]) != of.shape:
        raise InputError(f"{of!r} takes patterns of {of.shape}, {run.data} has {tuple(sample.intensity.shape[1:])}; choose another recipe")
    if sample.image is None:
        raise InputError(
            f"{run.data} holds no objects, which training and validation need; write the data set with objects=True (without --no-objects)"
        )


class Worker:
    """This process among those that train together, as torchrun has started them: rank of size, local on its machine. Alone, nothing
    happens."""

    def __init__(self) -> None:
        self.rank, self.size, self.local = (int(os.environ.get(k, v)) for k, v in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))

    def __enter__(self) -> Worker:
        if self.size > 1:
            import torch
            from torch import distributed

            if _cuda():
                torch.cuda.set_device(self.local)  # before NCCL, which would otherwise put every rank on the first
            distributed.init_process_group("gloo" if not _cuda() else "nccl")
        return self

    def __exit__(self, *error: object) -> None:
        if self.size > 1:
            from torch import distributed

            distributed.destroy_process_group()

    def average(self, gradients: list[Tensor]) -> None:
        """Replace each gradient by its mean over the processes."""
        if self.size == 1:
            return
        import torch
        from torch import distributed

        flat = torch.cat([g.reshape(-1) for g in gradients])
        distributed.all_reduce(flat)
        flat /= self.size
        at = 0
        for g in gradients:
            g.copy_(flat[at : at + g.numel()].reshape(g.shape))
            at += g.numel()


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()
