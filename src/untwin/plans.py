"""Stages of an automatic plan, and the settings of blind deblurring."""

from untwin.runs.blind import Blind
from untwin.runs.stages.average import Average
from untwin.runs.stages.coherence import Coherence
from untwin.runs.stages.contain import Contain
from untwin.runs.stages.count_values import CountValues
from untwin.runs.stages.finish import Finish
from untwin.runs.stages.guide import Guide
from untwin.runs.stages.inspect import Inspect, Release
from untwin.runs.stages.plan import Plan
from untwin.runs.stages.refine import Refine
from untwin.runs.stages.reserve import Reserve
from untwin.runs.stages.search import Search
from untwin.runs.stages.strays import Strays

__all__ = [
    "Plan",
    "Inspect",
    "CountValues",
    "Search",
    "Guide",
    "Reserve",
    "Release",
    "Finish",
    "Contain",
    "Average",
    "Coherence",
    "Strays",
    "Refine",
    "Blind",
]
