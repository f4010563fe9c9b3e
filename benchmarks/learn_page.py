"""Fill the tables of docs/learn.md with what the other scripts have written, and with the card of the shipped model.

python benchmarks/learn_page.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from untwin.model.networks import weights
from untwin.show.learning import samples_seen

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "learn.md"
NAMES = {
    "excess_magnitude": "magnitude: cross-entropy above its floor, nat per pixel",
    "iou": "outlines at a tenth of the largest magnitude: intersection over union",
    "iou_half": "the same at half of it",
    "phase_rms": "phase inside the object: rms error, rad",
    "phase_constant": "phase inside the object: rms of the best constant, rad",
    "phase_gain": "so much below the best constant",
    "excess_phase": "phase: cross-entropy above its floor, nat per pixel",
    "error": "E modulo shift, twin and phase, median",
    "raw_error": "E as it stands, median",
    "misfit": "misfit of the amplitudes, median",
    "misfit_95": "misfit of the amplitudes, 95 % stay below",
}
TITLES = {"supervised": "DNN-V", "passive": "DNN-P", "canonical": "canonical targets", "invariant": "invariant loss"}


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows)])


def result(name: str) -> dict | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def shipped() -> str:
    _, card = weights.opened(weights.path_of("cdi-nn"))
    run = card["training"]
    begun = ""
    if origin := card.get("origin"):
        which = "the first of them" if origin["training"]["seed"] == run["seed"] else "others"
        begun = f", begun with the weights of a training on {samples_seen(origin):,} samples ({which})"
    text = (
        f"{card['samples']:,} samples of `{run['data']}`{begun}. Tested on "
        f"{card['validation_samples']:,} others. The published training had 1,800,000.\n\n"
    )
    return text + table(["what", "value"], [[NAMES.get(k, k), f"{v:.4g}"] for k, v in card["metrics"].items()])


def curve() -> str:
    rows = (result("cdi-nn-curve") or {}).get("rows", [])
    shown = [
        [f"{r['samples']:,}", *(f"{r[k]:.3f}" for k in ("excess_magnitude", "iou", "phase_gain", "error", "misfit"))] for r in rows[3::6]
    ]
    return table(["samples seen", "excess cross-entropy", "IoU", "phase gain", "E", "misfit"], shown)


def volume() -> str | None:
    """How the 3D net learned, and the command that trained it."""
    found = result("volume-32-curve")
    if not found:
        return None
    run = found["training"]
    options = [f"--{k} {run[k]}" for k in ("steps", "batch", "rate", "check", "held")]
    said = f"    untwin train {run['architecture']!r} --data {run['data']!r} -o volume {' '.join(options)}\n\n"
    rows = [[f"{r['samples']:,}", *(f"{r[k]:.3f}" for k in ("loss", "iou", "phase_gain", "error", "misfit"))] for r in found["rows"][7::8]]
    return said + table(["samples seen", "loss", "IoU", "phase gain", "E", "misfit"], rows)


def digits() -> str | None:
    found = result("digits")
    if not found:
        return None
    rows = []
    for r in found["rows"]:
        figures = [*(f"{r[k]:.3f}" for k in ("error_raw", "error_aligned", "misfit")), f"{r['mse_raw']:.4f}", f"{r['mse_aligned']:.4f}"]
        rows.append([r["variant"], TITLES[r["objective"]], f"{r['samples']:,}", *figures])
    commands = dict.fromkeys(r["command"] for r in found["rows"])
    said = f"Of the first {found['rows'][0]['tested']} test images; E and misfit are medians, MSE is a mean.\n\n"
    head = "\n".join(f"    {c}" for c in commands) + f"\n\n{said}"
    return head + table(["variant", "network", "samples seen", "E raw", "E aligned", "misfit", "MSE raw", "MSE aligned"], rows)


def breaking() -> str | None:
    found = result("breaking")
    if not found:
        return None
    rows = [[r["kind"], str(r["n"]), f"{r['samples']:,}", f"{r['before']:.3f}", f"{r['after']:.3f}"] for r in found["rows"]]
    return f"    {found['command']}\n\n" + table(["x", "n", "training samples", "error before", "error after breaking"], rows)


def canonical() -> str | None:
    found = result("canonical")
    if not found:
        return None
    rows = [[r["recipe"], f"{100 * r['noise']:.1f} %", f"{100 * r['jump']:.1f} %", f"{r['median']:.3f}"] for r in found["rows"]]
    return f"    {found['command']}\n\n" + table(["objects", "noise", "jump", "median change"], rows)


def starts() -> str | None:
    parts = []
    for path in sorted(RESULTS.glob("starts-*.json")):
        found = json.loads(path.read_text())
        rows = [
            [r["start"], str(r["starts"]), f"{r['success']:.2f}", f"{r['median_error']:.3f}", f"{r['cpu_seconds']:.2f}"]
            for r in found["rows"]
        ]
        said = f"{found['objects']} objects, {found['refused']} patterns refused; "
        said += f"E of the prediction alone {found['prediction_median_error']:.3f} (median)."
        parts.append(f"    {found['command']}\n\n{said}\n\n" + table(["start", "starts", "success", "median E", "CPU s"], rows))
    return "\n\n".join(parts) or None


def strange() -> str | None:
    found = result("strange")
    if not found:
        return None
    rows = []
    for r in found["rows"]:
        by = [f"{r[k]:.2f}" if r[k] is not None else "" for k in ("error", "error_flagged", "error_passed")]
        rows.append([r["recipe"], str(r["patterns"]), str(r["refused"]), f"{r['flagged']:.2f}", *by])
    head = ["patterns of", "how many", "refused", "share marked", "median E", "of those marked", "of the others"]
    return f"    {found['command']}\n\n" + table(head, rows)


def inference() -> str | None:
    found = result("inference")
    if not found:
        return None
    base = min(r["ms"] for r in found["rows"] if "batch 256" in r["what"])
    rows = [[r["what"], f"{r['ms']:,.2f}" if r["ms"] < 100 else f"{r['ms']:,.0f}", f"{r['ms'] / base:,.1f}"] for r in found["rows"]]
    rate = found["operations"] / min(r["ms"] for r in found["rows"]) / 1e6
    said = (
        f"One core ({found['cpu']}), the quickest of several runs (of the plan one). Both nets take {found['operations'] / 1e6:,.0f} "
        f"million operations per pattern, at {rate:,.0f} GFLOP/s at best. A product of two matrices of 1024 "
        f"reaches {found['peak'] / 1e9:,.0f}.\n\n"
    )
    return f"    {found['command']}\n\n{said}" + table(["what", "ms per pattern, CPU", "against batch 256"], rows)


def goals() -> str:
    """The goals that were set before the work, and what came of them."""
    found = weights.opened(weights.path_of("cdi-nn"))[1]["metrics"]
    rows = [
        [
            "magnitude net: cross-entropy above its floor",
            "at most 0.06",
            f"{found['excess_magnitude']:.3f}",
            met(found["excess_magnitude"] <= 0.06),
        ],
        ["magnitude net: intersection over union", "at least 0.85", f"{found['iou']:.3f}", met(found["iou"] >= 0.85)],
        ["phase net: rms below the best constant", "at least 35 %", f"{100 * found['phase_gain']:.0f} %", met(found["phase_gain"] >= 0.35)],
    ]
    if speed := result("inference"):
        ms = min(r["ms"] for r in speed["rows"] if "batch 256" in r["what"])
        rows.append(["both nets, batch 256, one core, per pattern", "at most 2.5 ms", f"{ms:.2f} ms", met(ms <= 2.5)])
    for name, title in (
        ("starts-crystals-2d-strong-phase", "strong phases"),
        ("starts-cdi-nn-64", "objects like its own"),
        ("starts-volume-32", "3D"),
    ):
        if told := result(name):
            most = max(r["starts"] for r in told["rows"])
            k = 1 if title == "3D" else most
            a, b = (next(r for r in told["rows"] if r["start"] == s and r["starts"] == k)["success"] for s in ("random", "predicted"))
            rows.append([f"learned starts, {title}: success of {k}", f"above {a:.2f}, of random ones", f"{b:.2f}", met(b > a)])
    if told := result("digits"):
        both = {(r["objective"], r["samples"]): r for r in told["rows"] if r["variant"] == "both"}
        for (objective, samples), r in both.items():
            if objective != "supervised" and ("supervised", samples) in both:
                plain = both["supervised", samples]
                e, mse = (r[k] / plain[k] for k in ("error_aligned", "mse_aligned"))
                what = f"digits, both, {samples:,} samples: aligned E (MSE), {TITLES[objective]} over DNN-V"
                rows.append([what, "at most 0.5", f"{e:.2f} ({mse:.2f})", met(e <= 0.5)])
    return table(["what", "goal", "measured", ""], rows)


def met(yes: bool) -> str:
    return "reached" if yes else "not reached"


def main() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for make in (shipped, curve, volume, digits, breaking, canonical, starts, strange, inference, goals):
        made = make() or "Not measured yet."
        pattern = re.compile(rf"(<!-- {make.__name__} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert pattern.search(text), f"no place for {make.__name__} in {PAGE}"
        text = pattern.sub(lambda m, made=made: f"{m[1]}\n{made}\n\n{m[2]}", text)
    PAGE.write_text(text, encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
