"""The question whether the beam is coherent, as the plans ask it: once, or shortly where a plan takes long."""

from untwin.runs.rows import UNMEASURED, Number

COHERENCE = "Coherence(limit={limit}, scan={scan}, starts={scan_starts}, rounds={model_rounds}, iterations={fit}, sharpening={sharpening})"
COHERENT = {
    "limit": Number(10.0, "benchmarks/detector.py"),
    "scan": Number((0.25, 0.5), "benchmarks/detector.py"),
    "scan_starts": Number(6, "benchmarks/detector.py"),
    "model_rounds": Number(3, "benchmarks/detector.py"),
    "fit": Number(200, "benchmarks/detector.py"),
    "sharpening": Number(60, "src/untwin/model/sharpen.py: 15 to 60 hardly differ"),
}
COHERENT_SOON = COHERENT | {"scan_starts": Number(2, UNMEASURED), "fit": Number(60, UNMEASURED)}
