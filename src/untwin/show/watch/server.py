"""The server of untwin watch: the page, what the small files of a run say, its pictures; and two buttons.

Everything needs a token, which the address that is printed holds and a cookie keeps. A name in Host that is none of this machine is
refused, so that no other page can point its own name here, and so is a request that another page has made (Origin). A request names a run
by its number in a list that the server has made itself; no text of it reaches the disk.
"""

from __future__ import annotations

import ipaddress
import platform
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from untwin.errors import InputError
from untwin.live import files
from untwin.live.watched import Folder
from untwin.show.watch.pictures import png

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
KINDS = {"index.html": "text/html", "watch.css": "text/css", "watch.js": "text/javascript", "icon.svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
REFUSED = "This page needs the address that untwin watch has printed, with its token.\n"
MOST = 1000  # bytes of what a button sends


@dataclass(frozen=True)
class Gate:
    """Who is let in. local: the server listens on this machine's own address alone."""

    token: str
    cookie: str
    local: bool = True

    def refusal(self, request: Request) -> str:
        """Why a request is refused; empty where it is not."""
        if not self._is_mine(request.headers.get("host", "")):
            return "Host: a name that is not this machine's.\n"
        origin, posted = request.headers.get("origin"), request.method == "POST"
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            return "Origin: another page.\n"
        header = request.headers.get("x-untwin-token", "")
        if posted and origin is None and not header:
            return "Origin: missing.\n"
        shown = (header, request.query_params.get("token", ""), request.cookies.get(self.cookie, ""))
        return "" if any(secrets.compare_digest(t.encode(), self.token.encode()) for t in shown) else REFUSED

    def _is_mine(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            own = {platform.node().lower(), socket.getfqdn().lower()} - {""}
            return name == "localhost" or (not self.local and name in own)
        return address.is_loopback or not self.local


class Pages:
    """What the server answers, of one folder."""

    def __init__(self, folder: Folder, gate: Gate) -> None:
        self.folder, self.gate = folder, gate

    def page(self, request: Request) -> Response:
        response = _file("index.html")
        response.set_cookie(self.gate.cookie, self.gate.token, httponly=True, samesite="strict")
        return response

    def asset(self, request: Request) -> Response:
        return _file(request.url.path.removeprefix("/"))

    def state(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        number = _number(request.query_params.get("item", ""))
        rows = self.folder.table()
        item = self.folder.item(number)
        status = item.status()
        version, curves = item.curves(status)
        shown = item.shown(status)
        panels = () if shown is None else shown.view.panels
        which = "" if number is None else f"item={number}&"
        answer: dict[str, Any] = {
            "batch": {"rows": rows, "status": self.folder.run.status()} if rows or number is not None else None,
            "run": status,
            "curves_version": version,
            "curves": None if version == request.query_params.get("curves") else curves,
            "caption": "" if shown is None else shown.view.caption,
            "panels": [
                {
                    "title": p.title,
                    "kind": p.kind,
                    "width": p.pixels.shape[1],
                    "height": p.pixels.shape[0],
                    "source": f"picture?{which}panel={i}&version={shown.version if shown else ''}",
                }
                for i, p in enumerate(panels)
            ],
        }
        return JSONResponse(files.plain(answer))

    def picture(self, request: Request) -> Response:
        from starlette.responses import Response

        item, panel = self.folder.item(_number(request.query_params.get("item", ""))), _number(request.query_params.get("panel", ""))
        shown = item.shown(item.status())
        if shown is None or panel is None or panel >= len(shown.view.panels):
            raise InputError("there is no such picture")
        return Response(png(shown.view.panels[panel]), media_type="image/png")

    async def stop(self, request: Request) -> Response:
        return await self._asked(request, self.folder.stop)

    async def skip(self, request: Request) -> Response:
        return await self._asked(request, self.folder.skip)

    async def _asked(self, request: Request, ask: Callable[[Any], None]) -> Response:
        from starlette.responses import Response

        text = b""
        async for chunk in request.stream():
            text += chunk
            if len(text) > MOST:
                raise InputError("expected the number of a run, or nothing")
        ask(_number(text.decode("ascii", "replace")))
        return Response(status_code=204)


def application(folder: Folder, gate: Gate) -> Starlette:
    """The server of a folder, as an ASGI application."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    pages = Pages(folder, gate)

    async def guarded(request: Request, answer: Callable[[Request], Any]) -> Response:
        refusal = await run_in_threadpool(gate.refusal, request)
        try:
            response = PlainTextResponse(refusal, 403) if refusal else await answer(request)
        except InputError as error:
            response = PlainTextResponse(f"{error}\n", 404)
        for name, value in HEADERS.items():
            response.headers[name] = value
        return response

    return Starlette(
        routes=[
            Route("/", pages.page, methods=["GET"]),
            *(Route(f"/{name}", pages.asset, methods=["GET"]) for name in KINDS if name != "index.html"),
            Route("/state", pages.state, methods=["GET"]),
            Route("/picture", pages.picture, methods=["GET"]),
            Route("/stop", pages.stop, methods=["POST"]),
            Route("/skip", pages.skip, methods=["POST"]),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=guarded)],
    )


def serve(results: Path, port: int, host: str, announce: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. port: 0 for a free one. announce: called with the address of the page. Raises InputError where the folder holds
    no run, the port is taken, the address is none of this machine, or the extra [live] is missing."""
    folder = Folder(results)
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ImportError:
        raise InputError("untwin watch needs starlette and uvicorn; install them with: pip install 'untwin[live]'") from None
    listening = _listening(host, port)
    number = listening.getsockname()[1]
    gate = Gate(secrets.token_urlsafe(24), f"untwin_{number}", _loopback(host))
    name = f"[{host}]" if ":" in host else host
    config = uvicorn.Config(
        application(folder, gate), log_config=None, access_log=False, lifespan="off", ws="none", server_header=False, proxy_headers=False,
        timeout_graceful_shutdown=3,
    )  # fmt: skip
    announce(f"http://{name}:{number}/?token={gate.token}")
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass
    finally:
        listening.close()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise InputError(
            f"cannot listen on port {port} of {host}: {error.strerror or error}; leave --port out and a free one is taken"
        ) from None
    return listening


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _file(name: str) -> Response:
    from starlette.responses import Response

    content = (resources.files("untwin.show.watch") / "page" / name).read_bytes()
    return Response(content, media_type=KINDS[name])


def _number(text: str) -> int | None:
    """A number of a request; None where it names none."""
    if not text.strip():
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise InputError("expected the number of a run")
    return int(text)
