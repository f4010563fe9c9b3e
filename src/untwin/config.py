"""The options of a run, from the command line and run.toml, checked all at once. Command line before file before defaults."""

from __future__ import annotations

import dataclasses
import difflib
import glob
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from untwin.checks import SEEDS
from untwin.data.noise import Values
from untwin.data.reading import Reading
from untwin.data.typed import user_path
from untwin.errors import InputError

if TYPE_CHECKING:
    from untwin.data.measurement import Pattern
    from untwin.model.problem import Problem

FILES = ("file", "mask", "flat", "dark", "monitor", "support")  # options that name a file, or FILE::NAME
LIMIT = 100_000  # bytes of a run.toml


class Run(BaseModel):
    """One reconstruction, as run.toml holds it. Paths there may be relative to its own folder, or else to where untwin is called.

    constraint, loss, modulus, physics: texts such as "Support() & RealValued()" (names.parse_model).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Path
    data: str | None = None
    mask: str | None = None
    flat: str | None = None
    dark: str | None = None
    monitor: str | None = None
    dead_time: float | str | None = None
    centre: tuple[float, ...] | None = None
    energy: str | float | None = None
    wavelength: str | float | None = None
    distance: str | float | None = None
    pixel_size: str | float | tuple[str | float, ...] | None = None
    frames: str | int | None = None
    values: Values | None = None
    gain: float | None = None
    offset: float | None = None
    positivity: bool = False
    sparse: int | None = Field(default=None, ge=1)
    keep_strays: bool = False
    constraint: str | None = None
    loss: str | None = None
    modulus: str | None = None
    physics: str | None = None
    support: str | None = None
    recipe: str | None = None
    start: str | None = None
    method: Literal["auto", "classical", "refine", "double-dip", "siren", "drp"] | None = None
    starts: int | None = Field(default=None, ge=1, le=100_000)
    effort: float | None = Field(default=None, gt=0, le=1000)
    seed: int = Field(default=0, ge=0, lt=SEEDS)
    device: str | None = None
    workers: int | None = Field(default=None, ge=1, le=1024)
    scheduler: str | None = None
    output: Path | None = None

    def options(self) -> dict[str, Any]:
        """The settings that are not the default, files by their full path. Not where the run goes, nor which cluster it is on."""
        table: dict[str, Any] = self.model_dump(mode="json", exclude_none=True, exclude={"output", "scheduler"})
        for name in FILES:
            path, _, dataset = str(table.get(name, "")).partition("::")
            if path and (name == "file" or _full(path).exists()):
                table[name] = str(_full(path)) + (f"::{dataset}" if dataset else "")
        return table

    def reading(self) -> dict[str, Any]:
        """The options of untwin.read beside the file."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(Reading)}

    @property
    def stem(self) -> str:
        """Of the file's name, for a folder of results; of a pattern of names what is no wildcard, or else the folder's name."""
        path = _full(str(self.file).partition("::")[0])
        if not glob.has_magic(path.name) or path.exists():
            return path.name if path.is_dir() else path.stem
        return re.sub(r"\[[^]]*\]|[*?]", "", path.stem).strip("_-. ") or path.parent.name

    def table(self, recipe: str) -> dict[str, Any]:
        """What repeats this run: the settings that are not the default, files by their full path, the recipe written out."""
        told_by_the_recipe = ("recipe", "start", "starts", "method", "effort", *(() if self.keep_strays else ("keep_strays",)))
        return {**{k: v for k, v in self.options().items() if k not in told_by_the_recipe}, "recipe": recipe}

    def require_readable(self) -> None:
        """Raise InputError where a text is none of its kind, or two options say the same."""
        from untwin.runs.conditions import KINDS
        from untwin.runs.names import parse_model

        if self.positivity and self.constraint:
            raise InputError("positivity and constraint say the same twice; leave positivity out and write Support() & Nonnegative()")
        if self.sparse is not None and self.constraint:
            raise InputError(f"sparse and constraint say the same twice; leave sparse out and write Nonnegative() & Sparse({self.sparse})")
        for name, kind in KINDS.items():
            if (text := getattr(self, name)) is not None:
                parse_model(text, kind)

    def problem(self, pattern: Pattern) -> Problem:
        """What is to be solved, on its device. Raises InputError where a text cannot be read, or positivity contradicts the pattern."""
        from untwin.runs.conditions import problem_of

        return problem_of(pattern, self.positivity, self.constraint, self.loss, self.modulus, self.physics, self.device, self.sparse)


def resolved(config: Path | None, overrides: dict[str, Any]) -> Run:
    """The run that a file and the command line describe. Raises InputError with every fault, one per line."""
    table: dict[str, Any] = {}
    if config is not None:
        try:
            with config.open("rb") as file:
                text = file.read(LIMIT + 1)
            if len(text) > LIMIT:
                raise InputError(f"{config} has more than {LIMIT:,} bytes; expected a run.toml, such as lies in every result folder")
            table = _with_full_paths(tomllib.loads(text.decode("utf-8")), config.parent)
            if not table and (first := text.decode("utf-8").strip().partition("\n")[0]).startswith("# "):
                raise InputError(f"{config}: {first[2:]}")
        except FileNotFoundError:
            raise InputError(f"no file {config}; a run.toml lies in every result folder") from None
        except (ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{config} is not TOML ({error}); a run.toml lies in every result folder") from None
    try:
        return Run(**{**table, **overrides})
    except ValidationError as errors:
        raise InputError("; ".join(_sentence(dict(e), config) for e in errors.errors())) from None


def _with_full_paths(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Files that lie beside the run.toml are meant where its paths say so."""
    for name in FILES:
        path, colons, dataset = str(table.get(name, "")).partition("::")
        if path and not Path(path).is_absolute() and ((folder / path).exists() or any(glob.iglob(str(folder / path)))):
            table[name] = str(folder / path) + colons + dataset
    return table


def _sentence(error: dict[str, Any], config: Path | None) -> str:
    name = ".".join(str(part) for part in error["loc"])
    suffix = f" in {config}" if config and error["type"] == "extra_forbidden" else ""
    if error["type"] == "missing":
        return "no pattern given; expected untwin reconstruct FILE" if name == "file" else f"{name} is missing"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Run.model_fields, n=1)
        return f"unknown setting {name!r}{suffix}; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(Run.model_fields)}")
    message = str(error["msg"])
    return f"{name} = {error['input']!r}: {message[0].lower()}{message[1:]}"


def _full(path: str | Path) -> Path:
    """With the folder of a user in place of ~, where there is such a user."""
    try:
        return user_path(path).absolute()
    except RuntimeError:
        return Path(path).absolute()
