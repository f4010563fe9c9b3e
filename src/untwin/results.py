"""What reconstruct, restore and their like return."""

from untwin.judge.trust import Verdict
from untwin.many import BatchResult
from untwin.runs.deconvolve import Deconvolved
from untwin.runs.solution import History, Reconstruction, Restored, Solution, Start

__all__ = [
    "Solution",
    "Reconstruction",
    "Restored",
    "Deconvolved",
    "BatchResult",
    "Start",
    "History",
    "Verdict",
]
