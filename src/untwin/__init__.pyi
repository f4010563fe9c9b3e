"""The public names of the top level, read by `__init__` (lazily) and by type checkers."""

from . import algorithms, bragg, constraints, losses, metrics, physics, plans, priors, results, rules, simulate
from .data.measurement import Geometry, Pattern, Source
from .data.optics import Optics
from .data.read import read, read_object, read_support
from .errors import GuessWarning, InputError
from .judge.compare import compare
from .many import reconstruct_many
from .model.alignment import align
from .model.inference import predict
from .model.picture import Picture
from .model.problem import Problem
from .runs.archive import load
from .runs.checkpoint import load_state, save_state
from .runs.deconvolve import deconvolve_sparse
from .runs.names import parse
from .runs.reconstruct import reconstruct
from .runs.replicate import replicate
from .runs.restore import restore
from .show.export import export
from .show.report import report
from .solve.begin import begin
from .solve.run import iterate
from .solve.state import State

__version__: str
FORMER: dict[str, str]
__all__ = [
    "read",
    "read_object",
    "read_support",
    "Pattern",
    "Geometry",
    "Source",
    "Optics",
    "Picture",
    "Problem",
    "State",
    "begin",
    "iterate",
    "save_state",
    "load_state",
    "parse",
    "reconstruct",
    "reconstruct_many",
    "restore",
    "replicate",
    "predict",
    "deconvolve_sparse",
    "load",
    "compare",
    "align",
    "report",
    "export",
    "InputError",
    "GuessWarning",
    "algorithms",
    "bragg",
    "constraints",
    "losses",
    "metrics",
    "physics",
    "plans",
    "priors",
    "results",
    "rules",
    "simulate",
    "__version__",
]
