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
from untwin.model.networks import weights
from untwin.model.networks.architecture import architecture
from untwin.processes import stoppable
from untwin.provenance import made_with

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from torch.optim import Optimizer

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
        done = (step - self.rising) / max(1, self.steps - self.rising)
        return self.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))

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
) -> list[dict[str, Any]]:
    """Train to the end; returns the rows of the curves. Writes weights.safetensors at the end, a checkpoint after every validation and
    every 20 seconds, and one where the user interrupts.

    resume: go on from the checkpoint in the folder. Several processes (torchrun): each takes its share of every batch and gradients
    are averaged. On CUDA the network works in bfloat16 where that is safe (autocast). report: called with each row.
    Raises InputError where the folder holds another run, or its checkpoint is damaged.
    """
    import torch

    of = architecture(run.architecture)
    crew = Worker()
    if run.batch % crew.size:
        raise InputError(f"batch {run.batch} for {crew.size} processes; expected a multiple")
    with crew, stoppable() as asked:
        now = _begin(run, folder, resume, device)
        _first_sample(run, data, of)
        held = data.held(run.held, device) if crew.rank == 0 else None
        now.net.train()
        kind = torch.device(device).type
        clock, busy, earlier = time.monotonic(), time.process_time(), now.seconds
        due = clock + EVERY
        while now.step < run.steps:
            for group in now.optimizer.param_groups:
                group["lr"] = run.rate_at(now.step)
            first = now.step * run.batch
            samples = data.batch(range(first + crew.rank, first + run.batch, crew.size), device)
            truth, amplitude = of.truth(samples.image), measured_amplitude(samples.intensity, samples.measured)
            with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
                output = now.net(of.take(samples.intensity, samples.measured))
            loss = OBJECTIVES[run.objective_at(now.step)](of, output.float(), truth, amplitude)
            now.optimizer.zero_grad()
            loss.backward()
            crew.average([p.grad for p in now.net.parameters() if p.grad is not None])
            torch.nn.utils.clip_grad_norm_(now.net.parameters(), 1.0)
            now.optimizer.step()
            now.step += 1
            now.loss += loss.detach()
            now.seconds = earlier + time.monotonic() - clock
            checked = now.step % run.check == 0 or now.step == run.steps
            stop, began = asked(), time.monotonic()
            if (now.step % CHECK == 0 or checked or stop) and not math.isfinite(float(now.loss)):
                raise NumericalFailure(_lost(run, now, folder))
            if checked:
                if crew.rank == 0:
                    since = (now.step - 1) % run.check + 1
                    row = {
                        "step": now.step,
                        "samples": now.step * run.batch,
                        "loss": float(now.loss) / since,
                        "rate": run.rate_at(now.step),
                    }
                    row |= {"seconds": now.seconds, "cpu_seconds": time.process_time() - busy}
                    row |= validated(of, now.net, held)
                    now.rows.append(row)
                now.loss.zero_()
            if crew.rank == 0 and (checked or stop or began > due):
                _save(run, now, folder, device)
                due = time.monotonic() + max(EVERY, SHARE * (time.monotonic() - began))
                if checked and report:
                    report(now.rows[-1])
            if stop:
                raise KeyboardInterrupt
        if crew.rank == 0:
            told = {**card(run, now), "made": made_with(device), "holes": held is not None and not bool(held.measured.all())}
            weights.save(folder / WEIGHTS, now.net, of, told)
    return now.rows


def _lost(run: Training, now: Progress, folder: Path) -> str:
    kept = f"; {folder / CHECKPOINT} is from before that" if (folder / CHECKPOINT).exists() else ""
    return f"the training came to NaN or infinity before step {now.step}{kept}. Train again with a lower --rate than {run.rate:g}"


def card(run: Training, now: Progress) -> dict[str, Any]:
    """The model card: what the network is, how it was trained and from what (`origin`), what it reached on samples that it had not seen."""
    from untwin import __version__

    last = now.rows[-1] if now.rows else {}
    return {
        "training": dataclasses.asdict(run),
        "samples": last.get("samples", 0),
        "validation_samples": run.held,
        "metrics": {k: v for k, v in last.items() if k not in ("step", "samples", "rate", "seconds", "cpu_seconds", "loss")},
        "licence": "BSD-3-Clause",
        "untwin": __version__,
        **({"origin": now.origin} if now.origin else {}),
    }


def _begin(run: Training, folder: Path, resume: bool, device: str) -> Progress:
    """The first state, or that of the folder's checkpoint."""
    import torch

    of = architecture(run.architecture)
    net, first = of.build(torch.Generator().manual_seed(run.seed)), {}
    if run.start and not resume:
        begun_with = weights.load(run.start)
        if begun_with.architecture != of:
            raise InputError(f"{run.start} is a {begun_with.architecture!r}, to be trained is a {of!r}; begin with weights of the same")
        net.load_state_dict(begun_with.net.state_dict())
        first = {k: begun_with.card[k] for k in ("training", "samples", "origin") if k in begun_with.card}
    net = net.to(device=device, memory_format=_memory(of))  # pyright: ignore[reportCallIssue]
    optimizer = torch.optim.Adam(net.parameters(), lr=run.rate, fused=True)
    path = folder / CHECKPOINT
    nothing = torch.zeros((), device=device)
    if not resume:
        return Progress(net, optimizer, 0, [], nothing, first)
    if not begun(folder):
        raise InputError(f"no {CHECKPOINT} in {folder}; leave --resume out to begin")
    try:
        tensors, told = weights.read(path)
    except InputError as error:
        path = before(path)
        if not path.exists():
            raise
        warnings.warn(f"{error}: the one before it is used", CheckpointWarning, stacklevel=2)
        tensors, told = weights.read(path)
        (folder / CHECKPOINT).unlink(missing_ok=True)  # or the next one would put it in the place of the good one
    mine = dataclasses.asdict(run)
    other = told.get("training", {})
    for name, v in mine.items():
        if other.get(name) != v:
            raise InputError(f"{folder} was trained with {name} = {other.get(name)!r}, asked for is {v!r}; use the same, or another folder")
    made = made_with(device)
    for name, was in told.get("made", made).items():
        if made.get(name) != was:
            warnings.warn(
                f"{folder} was begun with {name} {was}, this is {made.get(name)}: the training goes on, with other last bits",
                CheckpointWarning,
                stacklevel=3,
            )
    own = net.state_dict()
    try:
        net.load_state_dict({k: tensors[f"net.{k}"] for k in own})
        state = {}
        for i, p in enumerate(net.parameters()):  # in the memory order of the weights, which the fused step relies on
            moments = {k: torch.empty_like(p).copy_(tensors[f"adam.{i}.{k}"]) for k in ("exp_avg", "exp_avg_sq")}
            state[i] = {"step": tensors[f"adam.{i}.step"].clone(), **moments}
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        loss = nothing.copy_(tensors["loss"])
        return Progress(net, optimizer, int(told["step"]), list(told["rows"]), loss, dict(told.get("origin", {})), float(told["seconds"]))
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({str(error)[:120]}); begin again in another folder") from None


def _memory(of: Any) -> Any:
    import torch

    return torch.channels_last if len(of.shape) == 2 else torch.channels_last_3d


def begun(folder: Path) -> bool:
    """True where there is something to go on from."""
    return any(p.exists() for p in (folder / CHECKPOINT, before(folder / CHECKPOINT)))


def _save(run: Training, now: Progress, folder: Path, device: str) -> None:
    """The checkpoint; the last one stays beside it. Raises NumericalFailure where the weights are not finite."""
    import torch

    tensors = {"loss": now.loss.detach().cpu()} | {f"net.{k}": v.detach().cpu() for k, v in now.net.state_dict().items()}
    for i, state in now.optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{i}.{k}": v.detach().cpu() for k, v in state.items()}
    if not all(bool(torch.isfinite(v).all()) for v in tensors.values()):
        raise NumericalFailure(_lost(run, now, folder))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CHECKPOINT
    told = {"training": dataclasses.asdict(run), "step": now.step, "rows": now.rows, "seconds": now.seconds, "made": made_with(device)}
    told["origin"] = now.origin
    with suppress(FileNotFoundError):
        os.replace(path, before(path))
    weights.write(path, tensors, told)


def _first_sample(run: Training, data: Data, of: Any) -> None:
    """Raise InputError where the data are not for this network."""
    sample = data.batch([0])
    if tuple(sample.intensity.shape[1:]) != of.shape:
        raise InputError(f"{of!r} takes patterns of {of.shape}, {run.data} has {tuple(sample.intensity.shape[1:])}; choose another recipe")
    if sample.image is None:
        raise InputError(f"{run.data} holds no objects, which training and validation need; write the data set without --no-objects")


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
