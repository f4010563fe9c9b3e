"""untwin watch: a page that shows a run while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators


def watch(
    folder: Path,
    *,
    port: Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))] = 0,
    host: str = "127.0.0.1",
    open: bool = False,
) -> None:
    """A page that shows a run, a restoration, a training or a batch while it goes on, and after it has ended; with a button that stops it.

    It reads small files in the folder of the results, so it may be begun at any time, and on another machine that shares the disk. It
    ends with Ctrl-C; the run goes on.

    Parameters
    ----------
    folder
        The folder of the results.
    port
        By default a free one.
    host
        The address to listen on; by default only this machine can see the page. From elsewhere: ssh -L 8000:localhost:PORT machine.
    open
        Open the page in a browser.
    """
    from untwin.show.watch.server import serve

    def announce(address: str) -> None:
        print(f"watching {folder}: {address}\nCtrl-C ends the page, not the run", flush=True)
        if open:
            import webbrowser

            webbrowser.open(address)

    serve(folder, port, host, announce)
