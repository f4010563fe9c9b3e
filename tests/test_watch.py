"""The server of untwin watch: who is let in, what it answers, and that no text of a request reaches the disk."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from untwin import cli
from untwin.errors import InputError
from untwin.live import files
from untwin.live.record import Record
from untwin.live.view import Line, View, object_panels, picture_panel, signed_panel
from untwin.live.watched import Folder

testclient = pytest.importorskip("starlette.testclient", reason="the extra [live] is not installed", exc_type=ImportError)

from untwin.show.watch import server  # noqa: E402
from untwin.show.watch.pictures import png  # noqa: E402

TOKEN = "a-token-of-this-test"
BASE = "http://127.0.0.1:8123"
GATE = server.Gate(TOKEN, "untwin_8123")


@pytest.fixture
def results(tmp_path) -> Path:
    """A run that has ended."""
    x = np.exp(1j * np.linspace(-3, 3, 30)).reshape(5, 6)
    with Record(tmp_path, "reconstruct", "<b>scan</b>.cxi") as live:
        live.plan(["Search"], ["random starts"], [(10, 1.0)])
        live.stage("Search", 0)
        live.steps(10, 0.3, 40)
        live.lines([Line("start 0", (10, 20), (0.5, 0.3)), Line("start 1", (10, 20), (0.4, float("nan")), 1)])
        live.families(["family 0", "family 1"], [[0.0, 0.05], [0.05, 0.0]])
        live.set(verdict={"trusted": True, "text": "it is right"})
        live.show(lambda: View(object_panels([("", x, np.abs(x) > 0)]), caption="the result"))
    return tmp_path


@pytest.fixture
def batch(results) -> Path:
    """Of which the second pattern has a folder."""
    files.write_json(
        results / "b" / files.FOLDER / files.STATUS, {"state": "running", "title": "b.cxi", "pid": os.getpid(), "host": platform.node()}
    )
    files.write_json(
        results / files.BATCH, {"rows": [{"name": "a", "status": "waiting"}, {"name": "b", "status": "waiting"}, {"name": "../c"}]}
    )
    return results


def client(results: Path, gate: server.Gate = GATE, base: str = BASE, **more):
    return testclient.TestClient(server.application(Folder(results), gate), base_url=base, **more)


def admitted(results: Path, gate: server.Gate = GATE, base: str = BASE):
    visitor = client(results, gate, base)
    assert visitor.get(f"/?token={TOKEN}").status_code == 200
    return visitor


ROUTES = ["/", "/watch.js", "/watch.css", "/icon.svg", "/state", "/picture?panel=0"]


@pytest.mark.parametrize("path", ROUTES)
def test_everything_needs_the_token(results, path):
    visitor = client(results)
    for headers in ({}, {"X-Untwin-Token": "another"}, {"Cookie": "untwin_8123=another"}, {"Cookie": f"untwin_8124={TOKEN}"}):
        answer = visitor.get(path, headers=headers)
        assert answer.status_code == 403 and TOKEN not in answer.text and "the address that untwin watch has printed" in answer.text
    assert visitor.get(path, headers={"X-Untwin-Token": TOKEN}).status_code == 200
    assert admitted(results).get(path).status_code == 200, "the cookie"


def test_the_page_keeps_its_token_in_a_cookie_that_no_script_reads(results):
    answer = client(results).get(f"/?token={TOKEN}")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "path=/" in cookie
    assert TOKEN not in answer.text, "and nowhere in the page"


@pytest.mark.parametrize("path", [*ROUTES, "/nothing"])
def test_every_answer_says_that_nothing_comes_from_elsewhere(results, path):
    for visitor in (client(results), admitted(results)):
        headers = visitor.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "http" not in policy and "unsafe" not in policy and "*" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers


def test_the_page_has_no_source_elsewhere_and_nothing_inline(results):
    visitor = admitted(results)
    page = visitor.get("/").text
    for name in re.findall(r'(?:src|href)="([^"#]*)"', page):
        assert name in server.KINDS and visitor.get(f"/{name}").status_code == 200
    assert "<style" not in page and " style=" not in page and "javascript:" not in page and not re.search(r"\son\w+=", page)
    assert not re.search(r"<script(?![^>]*\ssrc=)", page)
    for name in ("watch.js", "watch.css"):
        text = visitor.get(f"/{name}").text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text and "innerHTML" not in text and "eval(" not in text and "@import" not in text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8123", "127.0.0.1.evil.example", "localhost.evil.example", "", "192.168.0.7", "[::1"]
)
def test_a_name_that_is_none_of_this_machine_is_refused(results, host):
    answer = admitted(results).get("/state", headers={"Host": host})
    assert answer.status_code == 403 and "Host" in answer.text


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:8123", "127.0.0.2:1"])
def test_a_tunnel_may_have_another_port(results, host):
    assert client(results).get("/state", headers={"Host": host, "X-Untwin-Token": TOKEN}).status_code == 200


def test_a_server_for_others_knows_its_own_names(results, monkeypatch):
    monkeypatch.setattr(server.platform, "node", lambda: "Node7")
    monkeypatch.setattr(server.socket, "getfqdn", lambda: "node7.cluster")
    visitor = client(results, server.Gate(TOKEN, "c", local=False))
    for host, code in (("node7:1", 200), ("node7.cluster", 200), ("10.0.0.7:80", 200), ("evil.example", 403)):
        assert visitor.get("/state", headers={"Host": host, "X-Untwin-Token": TOKEN}).status_code == code


def test_another_page_cannot_ask_for_anything(results):
    visitor = admitted(results)
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null", "http://localhost:8123"):
        assert visitor.get("/state", headers={"Origin": origin}).status_code == 403
        assert visitor.post("/stop", headers={"Origin": origin}).status_code == 403
    assert visitor.post("/stop").status_code == 403, "a browser says where a request comes from"
    assert files.requested(results) == ""
    assert visitor.post("/stop", headers={"Origin": BASE}).status_code == 204
    assert files.requested(results) == "stop"


@pytest.mark.parametrize("path", ["/stop", "/skip"])
def test_buttons_are_posted(batch, path):
    visitor = admitted(batch)
    assert visitor.get(path, headers={"Origin": BASE}).status_code == 405
    for other in ("/", "/state", "/picture", "/watch.js"):
        assert visitor.post(other, headers={"Origin": BASE}).status_code == 405
    assert files.requested(batch) == files.requested(batch, 0) == ""


def test_a_pattern_of_a_batch_is_stopped_and_skipped_by_its_number(batch):
    visitor = admitted(batch)

    def posted(path: str, content: str | bytes) -> int:
        return visitor.post(path, content=content, headers={"Origin": BASE}).status_code

    assert posted("/skip", "0") == posted("/skip", "1") == 204
    assert files.requested(batch, 0) == "skip" and files.requested(batch / "b") == "skip" and not (batch / "a").exists()
    before = sorted(batch.rglob("*"))
    for wrong in ("2", "3", "-1", "1e3", "../b", "b", "\u0661", "9" * 30, "0" * 5000, b"\xff", "1/../../x"):
        assert posted("/skip", wrong) == 404 and posted("/stop", wrong) == 404
    assert posted("/skip", "") == 404
    assert sorted(batch.rglob("*")) == before and not (batch.parent / "c").exists()


@pytest.mark.parametrize("query", ["item=0", "item=2", "item=9", "item=..", "item=b", "item=-1", "item=%00", "item=1;2"])
def test_what_is_no_number_of_the_list_is_nothing(results, query):
    visitor = admitted(results)
    assert visitor.get(f"/state?{query}").status_code == visitor.get(f"/picture?panel=0&{query}").status_code == 404


@pytest.mark.parametrize(
    "path", ["/../live/status.json", "/live/status.json", "/page/index.html", "/%2e%2e/server.py", "/static/x", "/index.html"]
)
def test_no_path_of_a_request_reaches_the_disk(results, path):
    assert admitted(results).get(path).status_code == 404


def test_what_files_say_comes_as_text_of_json(results):
    answer = admitted(results).get("/state")
    assert answer.headers["content-type"].startswith("application/json")
    said = answer.json()
    assert said["run"]["title"] == "<b>scan</b>.cxi" and said["run"]["state"] == "ended" and said["batch"] is None
    assert said["run"]["verdict"] == {"trusted": True, "text": "it is right"} and said["run"]["families"]["distances"][0][1] == 0.05
    assert [c["values"] for c in said["curves"]] == [[0.5, 0.3], [0.4, None]], "what is no number is null"
    assert [p["title"] for p in said["panels"]] == ["magnitude", "phase"] and said["caption"] == "the result"
    again = admitted(results).get("/state", params={"curves": said["curves_version"]}).json()
    assert again["curves"] is None and again["curves_version"] == said["curves_version"], "they are sent once"


def test_pictures_are_what_was_shown(results):
    from PIL import Image

    visitor = admitted(results)
    said = visitor.get("/state").json()
    pictures = [visitor.get("/" + p["source"]) for p in said["panels"]]
    assert [p.headers["content-type"] for p in pictures] == ["image/png"] * 2
    images = [Image.open(io.BytesIO(p.content)) for p in pictures]
    assert [i.size for i in images] == [(6, 5), (6, 5)] and images[1].mode == "P"
    assert np.asarray(images[0]).min() == 255, "a magnitude of one everywhere"
    assert visitor.get("/picture?panel=2").status_code == visitor.get("/picture").status_code == 404


def test_each_kind_of_picture_is_drawn():
    from PIL import Image

    rgb = picture_panel("a", np.stack([np.full((4, 4), v) for v in (0.0, 0.5, 1.0)]), 0.0, 1.0)
    assert np.asarray(Image.open(io.BytesIO(png(rgb))))[0, 0].tolist() == [0, 128, 255]
    signed = signed_panel("b", np.array([[-1.0, 0.0, 1.0]]))
    low, zero, high = np.asarray(Image.open(io.BytesIO(png(signed))).convert("RGB"))[0].astype(int)
    assert low[2] > low[0] and high[0] > high[2] and zero.min() > 200, "blue, pale, red"
    phase = object_panels([("", np.array([[1 + 0j, 0]]), np.array([[True, False]]))])[1]
    assert np.asarray(Image.open(io.BytesIO(png(phase))).convert("RGBA"))[0, :, 3].tolist() == [255, 0], "transparent outside"


def test_a_batch_shows_its_rows_and_each_of_its_runs(batch):
    visitor = admitted(batch)
    root, b, a = (visitor.get("/state", params=q).json() for q in ({}, {"item": 1}, {"item": 0}))
    assert [row.get("name") for row in root["batch"]["rows"]] == ["a", "b", "../c"] and root["run"]["title"].startswith("<b>")
    assert [row.get("status") for row in root["batch"]["rows"]] == ["waiting", "running", None]
    assert b["run"]["title"] == "b.cxi" and b["batch"]["status"]["state"] == "ended" and a["run"] == {}


# the command


def ran(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(map(str, arguments)))
    return stop.value.code or 0


def test_a_port_that_is_taken_is_said(results, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert ran("watch", results, "--port", port) == 2
    error = capsys.readouterr().err
    assert f"cannot listen on port {port} of 127.0.0.1: " in error and error.endswith("leave --port out and a free one is taken\n")
    assert ran("watch", results, "--host", "203.0.113.7") == 2 and "cannot listen on port 0 of 203.0.113.7" in capsys.readouterr().err
    assert ran("watch", results, "--port", 70000) == 2


def test_a_folder_that_is_no_run_is_said(tmp_path, capsys):
    assert ran("watch", tmp_path / "nowhere") == 2 and "there is no folder" in capsys.readouterr().err
    assert ran("watch", tmp_path) == 2 and "holds no run; expected the folder of results" in capsys.readouterr().err


def test_without_the_extra_the_command_says_how_to_get_it(results, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert ran("watch", results) == 2 and "pip install 'untwin[live]'" in capsys.readouterr().err


def test_a_browser_is_opened_where_it_is_wanted(results, monkeypatch, capsys):
    import webbrowser

    import uvicorn

    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    cli.watch.watch(results)
    assert opened == []
    cli.watch.watch(results, open=True)
    address = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S{32}\n", capsys.readouterr().out.split("\n", 2)[2])
    assert address and opened == [address[0].strip()]


def test_two_servers_have_two_tokens_and_two_cookies(results, monkeypatch):
    import uvicorn

    gates, application = [], server.application
    monkeypatch.setattr(server, "application", lambda folder, gate: gates.append(gate) or application(folder, gate))
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    addresses: list[str] = []
    for _ in range(2):
        server.serve(results, 0, "127.0.0.1", addresses.append)
    assert len({g.token for g in gates}) == 2 and all(len(g.token) == 32 for g in gates)
    assert all(g.local and g.cookie.removeprefix("untwin_") in address for g, address in zip(gates, addresses))


def test_a_run_in_the_way_of_being_written_is_read(results):
    """Readers and the writer at once: what is read is always complete."""
    over, seen = threading.Event(), []

    def write() -> None:
        with Record(results, "reconstruct", "again") as live:
            while not over.is_set():
                live.steps(1)
                live._write()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        visitor = admitted(results)
        for _ in range(100):
            seen.append(visitor.get("/state").json()["run"])
    finally:
        over.set()
        writer.join()
    assert all(run == {} or run["state"] in ("running", "ended") for run in seen) and seen[-1]["title"] == "again"
    assert json.loads((results / files.FOLDER / files.STATUS).read_text())["state"] == "ended"


def test_a_folder_that_is_gone_is_an_empty_answer(results):
    import shutil

    visitor = admitted(results)
    shutil.rmtree(results)
    assert visitor.get("/state").json()["run"] == {} and visitor.get("/picture?panel=0").status_code == 404
    with pytest.raises(InputError):
        Folder(results)
