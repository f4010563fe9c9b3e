"""The command line: options -> the objects of the package -> one call. No numerics, and no torch before an input has been checked."""

from untwin.cli import bragg, deconvolve, export, inspect, learn, reconstruct, restore, simulate, watch
from untwin.cli.app import app, main

__all__ = ["main"]

for command in (  # in the order in which a message lists them
    reconstruct.reconstruct,
    bragg.bragg,
    bragg.prepare,
    bragg.strain,
    bragg.geometry,
    restore.restore,
    deconvolve.deconvolve,
    reconstruct.demo,
    simulate.simulate,
    inspect.inspect,
    inspect.compare,
    reconstruct.report,
    watch.watch,
    export.export,
    inspect.doctor,
    learn.train,
    learn.predict,
):
    app.command(command)

simulate.simulate.command(deconvolve.simulate_stm, name="stm")
