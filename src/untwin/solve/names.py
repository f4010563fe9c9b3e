"""The names that a recipe may use: one line per algorithm, wrapper, setting and rule."""

from __future__ import annotations

from untwin.solve.admm import ADMM
from untwin.solve.begin import Box, Random, Triangle, Whole
from untwin.solve.detwin import Detwin
from untwin.solve.ensemble import Plan
from untwin.solve.predict import Predict
from untwin.solve.projections import DM, ER, HIO, HPR, RAAR, SF
from untwin.solve.recipe import Deal, Draw, Ramp, Until
from untwin.solve.shrinkwrap import AreaWrap, ShrinkWrap
from untwin.solve.stopping import Plateau
from untwin.solve.wrap import Capped, Damped, Mean, Proximal, Settle

PROJECTIONS: tuple[type, ...] = (ER, HIO, RAAR, DM, SF, HPR, ADMM)
OTHERS: tuple[type, ...] = (ShrinkWrap, AreaWrap, Detwin, Box, Triangle, Whole, Random, Predict, Settle, Capped, Proximal, Damped, Mean)
NAMES: dict[str, type] = {c.__name__: c for c in (*PROJECTIONS, *OTHERS, Deal, Draw, Ramp, Until, Plateau, Plan)}
