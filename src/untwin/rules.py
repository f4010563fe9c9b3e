"""When to stop, and which image to keep."""

from untwin.solve.discrepancy import Discrepancy
from untwin.solve.heldout import HeldOut, Thinned
from untwin.solve.recipe import Rule
from untwin.solve.selfvalidation import SelfValidation
from untwin.solve.solved import Solved
from untwin.solve.stopping import Plateau
from untwin.solve.variance import EMV, WMV

__all__ = [
    "Rule",
    "Plateau",
    "WMV",
    "EMV",
    "HeldOut",
    "Thinned",
    "SelfValidation",
    "Discrepancy",
    "Solved",
]
