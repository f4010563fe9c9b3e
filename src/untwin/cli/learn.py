"""untwin train, untwin predict: a network that phases in milliseconds."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from untwin.cli.inspect import require_picture_name
from untwin.cli.notes import note, read_pattern
from untwin.data.typed import typed
from untwin.errors import InputError
from untwin.live.files import FOLDER as LIVE
from untwin.live.record import Record

if TYPE_CHECKING:
    from untwin.data.measurement import Pattern
    from untwin.learn.pairs import Data, Stored
    from untwin.learn.train import Training
    from untwin.model.networks.weights import Trained


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of untwin train.

    Parameters
    ----------
    output
        Folder of the run: new or empty, or with --resume one to go on with.
    data
        A recipe of samples drawn on the fly (cdi-nn, cdi-nn-64, crystals-2d, ... or a recipe's text), or the folder of a data set; by
        default the model's own recipe.
    steps
        Of the optimiser; samples seen = steps x batch.
    batch
        Samples in a step.
    objective
        supervised, canonical (one of each object's symmetric copies), invariant (the nearest of them), or passive (the pattern alone).
    seed
        Of weights and samples.
    rate
        The highest learning rate; reached after 200 steps (a tenth of the run if this is less), then down along a cosine.
    start
        Go on from the weights of a model, by its name (cdi-nn) or file, instead of random ones: on data of your own, or for
        longer. Take another --seed then: the same would draw the same samples again.
    check
        Steps between checkpoints, each with a validation.
    held
        Samples of the validation, which are never trained on.
    device
        cpu (default), cuda or cuda:1.
    resume
        Go on from the folder's checkpoint.
    """

    output: Annotated[Path, Parameter(name=["--output", "-o"])]
    data: str | None = None
    steps: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 20_000
    batch: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65_536))] = 64
    objective: str = "invariant"
    seed: Annotated[int, Parameter(validator=validators.Number(gte=0))] = 0
    rate: float = 1e-3
    start: Annotated[str, Parameter(name="--from")] = ""
    check: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 500
    held: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 512
    device: str | None = None
    resume: bool = False


def train(model: str, *, options: Annotated[TrainOptions, Parameter(name="*")]) -> None:
    """Train a network on simulated patterns; with --resume, go on after a kill: on a CPU the result has the same bits.

    The folder gets checkpoint.safetensors, weights.safetensors (untwin predict --model takes it), card.md and report.html with the curves.
    Several processes: torchrun --nproc-per-node 2 -m untwin train ... (--batch is divided among them).

    Parameters
    ----------
    model
        cdi-nn (32 x 32 patterns), cdi-nn-64 (64 x 64), volume (64 x 64 x 64), or an architecture's text, such as "Volume(form=32)".
    """
    run = _training(model, options)
    from untwin.cli import progress
    from untwin.learn.train import WEIGHTS, Worker, begun, train

    data = _samples_of(run)
    worker = Worker()
    live = Record(None if worker.rank else options.output, "train", f"{model} on {run.data}", _resume_command(), "loss and errors")
    try:
        with live:
            live.set(unit="steps")
            device = options.device or _device(worker.local)
            with nullcontext() if worker.rank else progress.run(live, "training", "loss", "steps"):
                rows = train(run, data, options.output, resume=options.resume, device=device, report=_print_row, live=live)
    except KeyboardInterrupt:
        advice = "what is done is kept; the same command with --resume goes on" if begun(options.output) else "nothing had been done yet"
        raise KeyboardInterrupt(advice) from None
    if worker.rank:
        return
    page = _write_card_and_report(model, options.output, rows)
    weights = options.output / WEIGHTS
    print(f"weights: {weights}\nreport:  {page}\nnext: untwin predict PATTERN --model {typed(weights)}")


def _resume_command() -> str:
    """This command, which goes on where it was."""
    words = [typed(word) for word in sys.argv[1:] if word not in ("--resume", "--debug")]
    return " ".join(["untwin", *words, "--resume"])


def _training(model: str, options: TrainOptions) -> Training:
    """The training, its options and its folder checked, all of it before torch is loaded."""
    from untwin.learn.train import Training
    from untwin.model.networks.architecture import MODELS, architecture
    from untwin.simulate.crystals import simulation

    network = architecture(model)
    data = options.data or MODELS.get(model, "")
    if not data:
        raise InputError(f"--data is needed with {model}: a recipe, or the folder of a data set")
    stored = _stored(data)
    shape = stored.shape if stored else simulation(data).shape
    run = Training(
        architecture=repr(network), data=data, objective=options.objective, steps=options.steps, batch=options.batch, seed=options.seed,
        rate=options.rate, rising=min(200, max(1, options.steps // 10)), warm=0 if options.start else options.steps // 5,
        check=options.check, held=options.held, start=options.start,
    )  # fmt: skip
    if shape != network.shape:
        raise InputError(f"{model} takes patterns of {network.shape}, {data} has {shape}; choose another --data or model")
    _require_training_folder(options.output, options.resume)
    if stored is not None and not stored.shards.manifest.objects:
        raise InputError(f"{data} holds no objects, which training and validation need; write it again without --no-objects")
    return run


def _stored(data: str, seed: int = 0) -> Stored | None:
    """The data set of that folder; None where the text is a recipe."""
    from untwin.data.dataset import is_dataset
    from untwin.learn.pairs import Stored

    if "(" in data:  # a recipe's text, which no path is
        return None
    if is_dataset(Path(data)):
        return Stored(data, seed)
    if Path(data).is_dir():
        raise InputError(f"{data} is a folder without manifest.json; expected a data set that untwin simulate dataset has written")
    return None


def _require_training_folder(folder: Path, resume: bool) -> None:
    from untwin.data.atomic import require_writable
    from untwin.learn.train import CHECKPOINT, begun

    require_writable(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder for the run")
    if not resume and folder.exists() and any(path.name != LIVE for path in folder.iterdir()):
        advice = "add --resume to go on, or choose" if begun(folder) else "choose"
        raise InputError(f"{folder} is not empty; {advice} another folder")
    if resume and not begun(folder):
        raise InputError(f"no {CHECKPOINT} in {folder}; leave --resume out to begin")


def _samples_of(run: Training) -> Data:
    from untwin.learn.pairs import VALIDATION, Fresh
    from untwin.simulate.dataset import Crystals

    stored = _stored(run.data, run.seed)
    return stored or Fresh(Crystals(run.data, run.seed, 2**62), Crystals(run.data, run.seed + VALIDATION, 2**62))


def _device(local: int) -> str:
    import torch

    return f"cuda:{local}" if torch.cuda.is_available() else "cpu"


def _print_row(row: dict[str, Any]) -> None:
    figures = "  ".join(f"{k} {row[k]:.4g}" for k in ("loss", "error", "iou", "phase_gain", "misfit") if row.get(k) is not None)
    print(f"{row['step']:>8,} steps  {row['samples']:>11,} samples  {row['seconds']:>7,.0f} s  {figures}", flush=True)


def _write_card_and_report(model: str, folder: Path, rows: list[dict[str, Any]]) -> Path:
    from untwin.data.atomic import atomic_write_text
    from untwin.learn.train import WEIGHTS
    from untwin.model.networks import weights
    from untwin.show.learning import card_text, training_report

    card = weights.opened(folder / WEIGHTS)[1]
    atomic_write_text(folder / "card.md", card_text(model, card))
    return training_report(folder, card, rows)


def predict(
    *patterns: Path,
    model: str = "cdi-nn",
    output: Annotated[Path, Parameter(name=["--output", "-o"])] = Path("predictions"),
    activations: Path | None = None,
    device: str = "cpu",
    overwrite: bool = False,
) -> None:
    """What a trained network says about patterns, in milliseconds each: a first guess, not an answer. One CXI per pattern.

    untwin reconstruct PATTERN --start predict goes on from there.

    Parameters
    ----------
    patterns
        Files as untwin reconstruct takes them, or folders of data sets.
    model
        The name of a shipped model, or a weights.safetensors that untwin train has written.
    output
        Folder for the predictions.
    activations
        Draw what each layer makes of the first pattern into this PNG.
    device
        cpu, cuda or cuda:1.
    overwrite
        Replace predictions of the same name, and the picture.
    """
    from untwin.model.networks import weights

    require_picture_name(activations, overwrite)
    weights.check(model)
    if not patterns:
        raise InputError("no pattern given; expected untwin predict FILE...")
    _require_prediction_folder(output)
    named_patterns = _named_patterns(patterns)
    _require_free_names([name for name, _ in named_patterns], output, overwrite)
    trained = weights.load(model)
    began = time.perf_counter()
    try:
        misfits = _write_predictions(named_patterns, trained, device, output)
    except InputError:
        _require_suited(named_patterns, trained)  # which says of which pattern
        raise
    milliseconds = 1e3 * (time.perf_counter() - began) / len(named_patterns)
    median = sorted(misfits)[len(misfits) // 2]
    print(f"{len(named_patterns):,} in {output}: misfit {median:.3f} (median), {milliseconds:.1f} ms each with writing")
    if activations:
        _draw_activations(named_patterns[0][1], trained, activations)
    if not patterns[0].is_dir():  # a data set, which reconstruct does not take
        print(f"next: untwin reconstruct {typed(patterns[0])} --start {typed(f'predict:{model}')}")


def _require_prediction_folder(folder: Path) -> None:
    from untwin.data.atomic import require_writable

    require_writable(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; expected a folder for the predictions")


def _named_patterns(paths: Sequence[Path]) -> list[tuple[str, Pattern]]:
    """Every pattern of these files and data sets, with the name of its prediction."""
    from untwin.config import Run
    from untwin.data.dataset import Shards, is_dataset

    pairs: list[tuple[str, Pattern]] = []
    for path in paths:
        if is_dataset(path):
            shards = Shards(path)
            pairs += [(f"{path.name}-{i:06d}", shards.pattern(i)) for i in range(len(shards))]
        else:
            pairs.append((path.stem, read_pattern(Run(file=path))))
    return pairs


def _require_free_names(names: list[str], output: Path, overwrite: bool) -> None:
    twice = next((name for name, n in Counter(names).items() if n > 1), None)
    if twice:
        raise InputError(f"two patterns are called {twice}; their predictions would have one name")
    existing = next((name for name in names if (output / f"{name}.cxi").exists()), None)
    if existing and not overwrite:
        raise InputError(f"{output / f'{existing}.cxi'} exists; choose another folder or --overwrite")


def _require_suited(named_patterns: list[tuple[str, Pattern]], trained: Trained) -> None:
    """Raise InputError, with its name, for the first of several patterns that the network does not take."""
    from untwin.model.inference import layout_for

    for name, pattern in named_patterns if len(named_patterns) > 1 else []:
        try:
            layout_for(pattern.corrected(), trained)
        except InputError as error:
            raise InputError(f"{name}, of {len(named_patterns):,} patterns, and none was predicted: {error}") from None


def _write_predictions(named_patterns: list[tuple[str, Pattern]], trained: Trained, device: str, output: Path) -> list[float]:
    """One CXI for each pattern, and a note of the first few that the network should not be relied on for. Returns the misfits."""
    from untwin.data.cxi import write_object
    from untwin.model import inference

    doubts, misfits = [], []
    for (name, pattern), p in zip(named_patterns, inference.predict([pattern for _, pattern in named_patterns], trained, device)):
        process = {"model": trained.name, "architecture": repr(trained.architecture), "misfit": p.misfit, "warnings": list(p.warnings)}
        write_object(output / f"{name}.cxi", image=p.image, support=p.support, process=process, voxel_size=pattern.voxel_size)
        misfits.append(p.misfit)
        if p.warnings:
            doubts.append(f"{name}: {p.warnings[0]}")
    for text in doubts[:5]:
        note(text)
    if len(doubts) > 5:
        note(f"and {len(doubts) - 5} more like these")
    return misfits


def _draw_activations(pattern: Pattern, trained: Trained, picture: Path) -> None:
    from untwin.model import inference
    from untwin.show.learning import activations_figure
    from untwin.show.style import save_figure

    save_figure(activations_figure(*inference.activations(pattern, trained)), picture)
    print(f"picture: {picture}")
