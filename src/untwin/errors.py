"""The one exception for everything that a user can put right."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input, in one message: what came, what was expected, what to try. The command line exits with 2."""


class GuessWarning(UserWarning):
    """A choice that untwin made where the input left it open; each one says how to decide otherwise."""


class NumericalFailure(RuntimeError):
    """No start came to anything. The command line exits with 3."""
