"""The command line: options -> the objects of the package -> one call. No numerics, and no torch before an input has been checked."""

from untwin.cli import inspect, learn, reconstruct, restore, simulate  # each registers its commands
from untwin.cli.app import main

__all__ = ["inspect", "learn", "main", "reconstruct", "restore", "simulate"]
