"""What is known of the object, and bounds on what can be measured of it."""

from untwin.model.constraints import Constraint, MagnitudeCap, Nonnegative, PhaseOnly, RealValued, Sparse, Support
from untwin.model.measures import Magnitude, Total, Volume
from untwin.solve.constrained import AtLeast, AtMost, Equal

__all__ = [
    "Constraint",
    "Support",
    "Nonnegative",
    "RealValued",
    "MagnitudeCap",
    "PhaseOnly",
    "Sparse",
    "AtMost",
    "AtLeast",
    "Equal",
    "Total",
    "Magnitude",
    "Volume",
]
