"""A scan as a beamline would have written it: folders, names, units. What reads it again is bragg.reading; who wrote down what files look
like stands there (reading/names.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from untwin.bragg.scan import Scan
from untwin.data import hdf5
from untwin.data.atomic import atomic_write, atomic_write_bytes
from untwin.errors import InputError
from untwin.simulate.stations import STATIONS

_PART = 100  # frames in a data file of an Eiger
_FIRST = 120  # number of the first EDF: the detector counts on from scan to scan
SAMPLE, NUMBER = "sample", 12


def write_scan(folder: Path, key: str, scan: Scan) -> tuple[Path, ...]:
    """What the beamline of this key (34idc, id01, id01-spec, p10, nanomax, cristal, sixs, id27) writes of a scan, in a folder that is made.
    The files that read_scan is to be handed: a folder, or an HDF5 file. Raises InputError."""
    require_writer(key)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return WRITERS[key](folder, scan)


def require_writer(key: str) -> None:
    """Raise InputError for a beamline of which nobody knows here what it writes."""
    if key not in WRITERS:
        known = ", ".join(name for name in WRITERS if name in STATIONS)
        raise InputError(f"beamline {key!r}: what it writes is not known; expected one of {known}")


def unsaid(key: str, scan: Scan) -> dict[str, Any]:
    """What the files of the beamline of this key do not say of a scan, as read_scan takes it: distance, pixel_size, direct_beam."""
    i = scan.instrument
    values = {
        "distance": f"{i.distance:.12g}m",
        "pixel_size": ",".join(dict.fromkeys(f"{1e6 * p:.12g}um" for p in i.pixel_size)),
        "direct_beam": i.direct_beam,
    }
    return {name: values[name] for name in UNSAID.get(key, ())}


def _angles(scan: Scan) -> dict[str, np.ndarray]:
    """(frames,) by the name of the circle."""
    d, i = scan.instrument.diffractometer, scan.instrument
    return {c.name: i.sample[:, k] for k, c in enumerate(d.sample)} | {c.name: i.detector[:, k] for k, c in enumerate(d.detector)}


def _parted(values: dict[str, np.ndarray]) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """(what stands still, what moves)."""
    still = {name: float(v[0]) for name, v in values.items() if np.ptp(v) == 0}
    return still, {name: v for name, v in values.items() if name not in still}


def _monitor(scan: Scan) -> np.ndarray:
    return scan.monitor if scan.monitor is not None else np.ones(scan.frames.shape[0])


def _numbers(values: Any) -> str:
    return " ".join(f"{float(v):.10g}" for v in values)


def _lines(names: list[str], prefix: str, blanks: str = "  ") -> list[str]:
    """Eight to a line, as spec writes them."""
    return [f"#{prefix}{k} {blanks.join(names[8 * k : 8 * k + 8])}" for k in range((len(names) + 7) // 8)]


def _spec_rows(scan: Scan, moving: dict[str, np.ndarray], columns: dict[str, np.ndarray]) -> list[str]:
    table = moving | columns
    return [f"#N {len(table)}", f"#L {'  '.join(table)}", *(_numbers(row) for row in zip(*table.values())), ""]


def _sums(scan: Scan) -> tuple[np.ndarray, np.ndarray]:
    frames = [scan.frames.load(k) for k in range(scan.frames.shape[0])]
    return np.array([f.sum(dtype=np.float64) for f in frames]), np.array([float(f.max()) for f in frames])


def _tiff(path: Path, frame: np.ndarray) -> None:
    import tifffile

    with atomic_write(path) as temporary:
        tifffile.imwrite(temporary, frame)


def _34idc(folder: Path, scan: Scan) -> tuple[Path, ...]:
    called = {"theta": "Theta", "chi": "Chi", "phi": "Phi", "delta": "Delta", "gamma": "Gamma"}
    short = {"Theta": "th", "Chi": "chi", "Phi": "phi", "Delta": "del", "Gamma": "gam", "Energy": "en", "camdist": "cam", "Mu": "mu"}
    values = {called[c]: v for c, v in _angles(scan).items()}
    values |= {"Mu": 0 * scan.instrument.energy, "camdist": np.full(len(scan.instrument.energy), 1e3 * scan.instrument.distance)}
    values |= {"Energy": scan.instrument.energy / 1e3}
    still, moving = _parted(values)
    names = list(values)
    places = [still.get(n, float(values[n][0])) for n in names]
    total, brightest = _sums(scan)
    seconds = np.full(len(total), scan.exposure if scan.exposure is not None else 1.0)
    frames = folder / f"{SAMPLE}_S{NUMBER:04d}"
    frames.mkdir(exist_ok=True)
    for k in range(scan.frames.shape[0]):
        _tiff(frames / f"{frames.name}_{k:05d}.tif", scan.frames.load(k))
    row, rows, column, columns = scan.window or (0, scan.frames.shape[1], 0, scan.frames.shape[2])
    motor, ends = next(iter(moving.items()), ("Theta", values["Theta"]))
    log = [
        f"#F /data/{SAMPLE}.spec", "#E 1580609738", "#D Sat Feb 01 20:15:38 2020", "#C sixc  User = user", "",
        *_lines(names, "O"), *_lines([short[n] for n in names], "o", " "), "",
        f"#S {NUMBER - 1}  ascan  phi -4.1 -5.5  35 1", "#D Sat Feb 01 20:17:06 2020", "#C Scan aborted after 0 points.", "",
        f"#S {NUMBER}  ascan  {short[motor]} {ends[0]:.10g} {ends[-1]:.10g}  {len(ends) - 1} {seconds[0]:g}",
        "#D Tue Feb 04 12:28:23 2020", f"#T {seconds[0]:g}  (Seconds)",
        *(f"#P{k} {_numbers(places[8 * k : 8 * k + 8])}" for k in range((len(places) + 7) // 8)),
        f"#UIMDET {scan.detector or '34idcTIM1'}:",
        f"#UIMR5  {column} {columns} {row} {rows} 1",
        *_spec_rows(scan, moving, {"Epoch": 5.5 * np.arange(len(total)), "Seconds": seconds, "ImageTot": total, "ImageMax": brightest,
                                   "Monitor": _monitor(scan), "pm detector": 0 * total}),
    ]  # fmt: skip
    atomic_write_bytes(folder / f"{SAMPLE}.spec", "\n".join(log).encode("latin-1"))
    for name, array in (("dark.tif", scan.dark), ("whitefield.tif", scan.flat)):
        if array is not None:
            _tiff(folder / name, array)
    return (folder,)


def _edf(path: Path, frame: np.ndarray) -> None:
    kinds = {"int32": "SignedInteger", "uint32": "UnsignedInteger", "uint16": "UnsignedShort", "float32": "FloatValue"}
    rows, columns = frame.shape
    header = f"{{\nHeaderID = EH:000001:000000:000000 ;\nByteOrder = LowByteFirst ;\nDataType = {kinds[frame.dtype.name]} ;\n"
    header += f"Dim_1 = {columns} ;\nDim_2 = {rows} ;\nSize = {frame.nbytes} ;\n"
    atomic_write_bytes(path, header.ljust(1022).encode() + b"}\n" + frame.astype(frame.dtype.newbyteorder("<")).tobytes())


def _id01_spec(folder: Path, scan: Scan) -> tuple[Path, ...]:
    i = scan.instrument
    called = {"mu": "mu", "eta": "eta", "phi": "phi", "nu": "nu", "delta": "del"}
    values = {called[c]: v for c, v in _angles(scan).items()} | {"nrj": i.energy / 1e3}
    still, moving = _parted(values)
    names = list(values)
    n = scan.frames.shape[0]
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for k in range(-5, n + 5):  # the folder has the frames of other scans, too
        frame = scan.frames.load(min(max(k, 0), n - 1))
        _edf(images / f"data_mpx4_{_FIRST + k:05d}.edf", frame if 0 <= k < n else np.zeros_like(frame))
    calibration = [f"det_distance_CC={i.distance:.6g}", f"det_distance_COM={i.distance:.10g}"]
    if i.is_aimed:
        calibration = [f"cen_pix_x={i.direct_beam[1]:.10g}", f"cen_pix_y={i.direct_beam[0]:.10g}", "pixperdeg=455.257", *calibration]
    seconds = np.full(n, scan.exposure if scan.exposure is not None else 1.0)
    log = [
        f"#F /data/{SAMPLE}.spec", "#E 1480609738", "#D Sat Feb 01 20:15:38 2017", "", *_lines(names, "O"), "",
        f"#S {NUMBER}  ascan eta 0 1 {n - 1} {seconds[0]:g}", "#D Tue Feb 04 12:28:23 2017",
        *(f"#P{k} {_numbers([float(values[m][0]) for m in names[8 * k : 8 * k + 8]])}" for k in range((len(names) + 7) // 8)),
        f"#UDETCALIB {','.join(calibration)},timestamp=2017-02-28T13:01:16.615422",
        f"#UMONO mono=si111,mononrj={i.energy[0] / 1e3:.10g}keV,tag=1",
        *_spec_rows(scan, moving, {"Epoch": 1.5 * np.arange(n), "mpx4inr": _FIRST + np.arange(n), "exp1": _monitor(scan),
                                   "Seconds": seconds}),
    ]  # fmt: skip
    atomic_write_bytes(folder / f"{SAMPLE}.spec", "\n".join(log).encode("latin-1"))
    return (folder,)


def _data(group: Any, name: str, values: Any, unit: str = "") -> None:
    group[name] = values
    if unit:
        group[name].attrs["units"] = unit


def _bliss(folder: Path, scan: Scan, energy: Callable[[Any], None], camera: str, fields: dict[str, tuple[float, str]]) -> tuple[Path, ...]:
    """A file of BLISS with one scan, whose frames lie in a file of LIMA. energy: writes it into the entry. fields: of the camera."""
    import h5py

    n = scan.frames.shape[0]
    (folder / "scan0001").mkdir(exist_ok=True)
    lima = folder / "scan0001" / f"{camera}_0000.h5"
    with hdf5.atomic_file(lima) as file:
        frames = file.create_dataset(
            "entry_0000/measurement/data", scan.frames.shape, scan.frames.dtype, chunks=(1, *scan.frames.shape[1:])
        )
        for k in range(n):
            frames[k] = scan.frames.load(k)
    path = folder / f"{SAMPLE}.h5"
    with hdf5.atomic_file(path) as file:
        label = f"{SAMPLE}_{NUMBER}.1"
        entry = file.create_group(label)
        entry.attrs["NX_class"] = "NXentry"
        entry["title"] = f"ascan {next(iter(_parted(_angles(scan))[1]), 'mononrj')} 0 1 {n - 1} {scan.exposure or 1:g}"
        positioners = entry.create_group("instrument/positioners")
        for name, values in _angles(scan).items():
            _data(positioners, name, values if np.ptp(values) else float(values[0]), "deg")
        energy(entry)
        group = entry.create_group(f"instrument/{camera}")
        group.attrs["NX_class"] = "NXdetector"
        for name, (value, unit) in fields.items():
            _data(group, name, value, unit)
        _data(group, "acq_parameters/acq_expo_time", scan.exposure if scan.exposure is not None else 1.0)
        group["data"] = h5py.ExternalLink(f"scan0001/{lima.name}", "/entry_0000/measurement/data")
        measurement = entry.create_group("measurement")
        measurement[camera] = h5py.SoftLink(f"/{label}/instrument/{camera}/data")
        _data(measurement, "imon", _monitor(scan))
        _data(measurement, "epoch", 1.7e9 + 0.1 * np.arange(n), "s")
        _data(measurement, f"{camera}_roi1", np.zeros(n))
    return (path,)


def _id01(folder: Path, scan: Scan) -> tuple[Path, ...]:
    i = scan.instrument
    camera = scan.detector if scan.detector in ("mpxgaas", "mpx1x4", "eiger2M") else "mpxgaas" if i.pixel_size[0] < 60e-6 else "eiger2M"
    fields = {"distance": (i.distance, "m"), "y_pixel_size": (i.pixel_size[0], "m"), "x_pixel_size": (i.pixel_size[1], "m")}
    if i.is_aimed:
        fields |= {"beam_center_y": (i.direct_beam[0], "px"), "beam_center_x": (i.direct_beam[1], "px")}

    def energy(entry: Any) -> None:
        values = i.energy / 1e3
        _data(entry["instrument/positioners"], "mononrj", values if np.ptp(values) else float(values[0]), "keV")

    return _bliss(folder, scan, energy, camera, fields)


def _id27(folder: Path, scan: Scan) -> tuple[Path, ...]:
    from untwin.data.units import PLANCK_LIGHT, VOLT

    def energy(entry: Any) -> None:
        _data(entry, "instrument/calibration/wavelength", 1e10 * PLANCK_LIGHT / (scan.instrument.energy[0] * VOLT))

    return _bliss(folder, scan, energy, "eiger", {})


def _p10(folder: Path, scan: Scan) -> tuple[Path, ...]:
    import h5py
    import hdf5plugin

    i, n = scan.instrument, scan.frames.shape[0]
    name = f"{SAMPLE}_{NUMBER:05d}"
    camera = folder / name / "e4m"
    camera.mkdir(parents=True, exist_ok=True)
    with hdf5.atomic_file(camera / f"{name}_master.h5") as master:
        for part, start in enumerate(range(0, n, _PART), 1):
            file = camera / f"{name}_data_{part:06d}.h5"
            stop = min(start + _PART, n)
            with hdf5.atomic_file(file) as data:
                shape = (stop - start, *scan.frames.shape[1:])
                frames = data.create_dataset("entry/data/data", shape, scan.frames.dtype, chunks=(1, *shape[1:]), **hdf5plugin.Bitshuffle())
                for k in range(start, stop):
                    frames[k - start] = scan.frames.load(k)
            master[f"entry/data/data_{part:06d}"] = h5py.ExternalLink(file.name, "/entry/data/data")
        detector_group = master.create_group("entry/instrument/detector")
        detector_group.attrs["NX_class"] = "NXdetector"
        for key, value, unit in (
            ("count_time", scan.exposure if scan.exposure is not None else 1.0, "s"),
            ("detector_distance", 5.0, "m"),  # nobody sets it at P10: the log has the true one
            ("beam_center_x", 0.0, "pixel"),
            ("beam_center_y", 0.0, "pixel"),
            ("y_pixel_size", i.pixel_size[0], "m"),
            ("x_pixel_size", i.pixel_size[1], "m"),
        ):
            _data(detector_group, key, value, unit)
        _data(detector_group, "description", "Dectris Eiger 4M")
        bad = scan.frames.bad if scan.frames.bad is not None else np.zeros(scan.frames.shape[1:], bool)
        _data(detector_group, "detectorSpecific/pixel_mask", bad.astype(np.uint32))
    still, moving = _parted(_angles(scan) | {"fmbenergy": i.energy})
    motor, ends = next(iter(moving.items()))
    table = moving | {"curpetra": _monitor(scan), "e4m_roi1": np.zeros(n)}
    log = [
        "!", "! Comments", "!", "%c", f"ascan {motor} {ends[0]:.6f} {ends[-1]:.6f} {n - 1} {scan.exposure or 1:g}",
        "user p10user Acquisition started at Mon Sep 14 10:11:12 2020", "!", "! Parameter", "!", "%p",
        f"_distance = {1e3 * i.distance:.10g}", "_ccd = e4m",
        *(f"{m} = {v:.10g}" for m, v in (still | {m: float(v[0]) for m, v in moving.items()}).items()),
        "!", "! Data", "!", "%d", *(f" Col {k} {m} DOUBLE" for k, m in enumerate(table, 1)),
        *(" " + _numbers(row) for row in zip(*table.values())), "! Acquisition ended at Mon Sep 14 10:21:12 2020", "",
    ]  # fmt: skip
    atomic_write_bytes(folder / name / f"{name}.fio", "\n".join(log).encode("latin-1"))
    return (folder / name,)


def _stack(group: Any, name: str, scan: Scan) -> None:
    frames = group.create_dataset(name, scan.frames.shape, scan.frames.dtype, chunks=(1, *scan.frames.shape[1:]), compression="gzip")
    for k in range(scan.frames.shape[0]):
        frames[k] = scan.frames.load(k)


def _nanomax(folder: Path, scan: Scan) -> tuple[Path, ...]:

    i = scan.instrument
    path = folder / f"{NUMBER:06d}.h5"
    still, moving = _parted(_angles(scan) | {"energy": i.energy})
    camera = "merlin" if i.pixel_size[0] < 60e-6 else "eiger500k"
    with hdf5.atomic_file(path) as file:
        _data(file, "entry/description", np.array([f"npointflyscan {next(iter(moving), '')}".encode()]))
        for moment, k in (("pre_scan", 0), ("post_scan", -1)):
            for name, value in (still | {m: float(v[k]) for m, v in moving.items()}).items():
                _data(file, f"entry/snapshots/{moment}/{name}", np.array([value]))
        measurement = file.create_group("entry/measurement")
        for name, values in moving.items():
            _data(measurement, name, values)
        _data(measurement, "alba2/1", _monitor(scan)[:, None])
        _stack(measurement.create_group(camera), "frames", scan)
    return (path,)


def _actuator(scan: Scan) -> tuple[str, np.ndarray]:
    """(circle, degrees) of the one motor that SOLEIL's files have a column for. Raises InputError where it is not one that moves."""
    _, moving = _parted(_angles(scan) | {"energy": scan.instrument.energy})
    if len(moving) != 1 or "energy" in moving:
        raise InputError(f"how SOLEIL writes a scan of {', '.join(moving) or 'nothing'} is not known; expected one circle that moves")
    return next(iter(moving.items()))


def _cristal(folder: Path, scan: Scan) -> tuple[Path, ...]:

    path = folder / f"S{NUMBER}.nxs"
    devices = {
        "omega": "i06-c-c07-ex-mg_omega",
        "phi": "i06-c-c07-ex-mg_phi",
        "gamma": "Diffractometer/i06-c-c07-ex-dif-gamma",
        "delta": "Diffractometer/i06-c-c07-ex-dif-delta",
    }
    motor, places = _actuator(scan)
    with hdf5.atomic_file(path) as file:
        entry = file.create_group(f"exp_{NUMBER:04d}")
        for name, values in _angles(scan).items():
            _data(entry, f"CRISTAL/{devices[name]}/position", np.array([values[0]]))
        _data(entry, "CRISTAL/Monochromator/energy", np.array([scan.instrument.energy[0] / 1e3]))
        _data(entry, "scan_config/name", f"ascan_{devices[motor]}".encode())
        data = entry.create_group("scan_data")
        _data(data, "actuator_1_1", places)
        _data(data, "data_04", _monitor(scan))
        _stack(data, "data_06", scan)
    return (path,)


def _sixs(folder: Path, scan: Scan) -> tuple[Path, ...]:
    motor, places = _actuator(scan)
    path = folder / f"{SAMPLE}_ascan_{motor}_{NUMBER:05d}.nxs"
    with hdf5.atomic_file(path) as file:
        for name, values in _angles(scan).items():
            _data(file, f"com/SIXS/i14-c-cx1-ex-med-v-dif-group.1/{name}/position", np.array([values[0]]))
        _data(file, "com/SIXS/i14-c-c02-op-mono/energy", np.array([scan.instrument.energy[0] / 1e3]))
        if motor != "mu":  # of a scan of mu no file says so
            _data(file, "com/scan_config/name", f"ascan_{motor}".encode())
        data = file.create_group("com/scan_data")
        _data(data, "actuator_1_1", places)
        _data(data, "intensity", _monitor(scan))
        _stack(data, "data_12", scan)
    return (path,)


WRITERS: dict[str, Callable[[Path, Scan], tuple[Path, ...]]] = {
    "34idc": _34idc,
    "id01": _id01,
    "id01-spec": _id01_spec,
    "p10": _p10,
    "nanomax": _nanomax,
    "cristal": _cristal,
    "sixs": _sixs,
    "id27": _id27,
}
# The reader's names have no place for these (bragg/reading/names.py). The direct beam matters where the detector has no circles.
UNSAID = {
    "nanomax": ("distance",),
    "cristal": ("distance", "pixel_size"),
    "sixs": ("distance", "pixel_size"),
    "id27": ("distance", "direct_beam"),
}
