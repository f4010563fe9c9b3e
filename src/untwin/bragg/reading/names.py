"""What the files of each beamline call things: a row for each, and by which names its files are known.

Where a row comes from: clatlan/cdiutils (2026), carnisj/bcdi (2024), RenZhe88/pyCXIM (2026), AdvancedPhotonSource/cohere_beamlines (2026),
public code that reads these files.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Names:
    """circles: of the motor of each circle, tried in this order; a circle that is not named here is called as in the table of beamlines.

    energy, distance: of what says them, with the unit where the file states none. beam: of row and column of the direct beam. monitor: of
    the beam's intensity. exposure: seconds.
    total, brightest: counters of the sum and the maximum of each frame. image: counters of the number in a frame's name. known: one of each
    line is there, in this beamline's files alone. zero: sentences on circles whose zero sources disagree on, which matters where a circle
    moves that they carry.
    """

    circles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    energy: tuple[str, ...] = ("energy", "Energy")
    energy_unit: str = "keV"
    distance: tuple[str, ...] = ()
    distance_unit: str = "mm"
    beam: tuple[str, ...] = ()
    monitor: tuple[str, ...] = ("monitor", "Monitor")
    exposure: tuple[str, ...] = ()
    total: tuple[str, ...] = ()
    brightest: tuple[str, ...] = ()
    image: tuple[str, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()
    zero: dict[str, str] = field(default_factory=dict)


_CHI = "cohere_beamlines takes chi as the log has it, which is done here, bcdi 90 degrees less"

NAMES = {
    "34idc": Names(
        {"theta": ("Theta", "th"), "chi": ("Chi", "chi"), "phi": ("Phi", "phi"), "delta": ("Delta", "del"), "gamma": ("Gamma", "gam")},
        energy=("Energy", "en"),
        distance=("camdist", "cam"),
        monitor=("Monitor", "mon"),
        exposure=("Seconds", "sec"),
        total=("ImageTot", "imtot"),
        brightest=("ImageMax", "immax"),
        known=(("camdist",), ("Theta",), ("Gamma",)),
        zero={"chi": _CHI},
    ),
    "id01": Names(
        {"mu": ("mu", "Mu"), "eta": ("eta", "Eta"), "phi": ("phi", "Phi"), "nu": ("nu", "Nu"), "delta": ("delta", "del", "Delta")},
        energy=("mononrj", "nrj", "Energy", "energy"),
        distance=("det_distance_COM", "det_distance_CC"),
        distance_unit="m",
        beam=("cen_pix_y", "cen_pix_x"),
        monitor=("imon", "exp1", "mon"),
        exposure=("acq_time", "acq_time_3", "Seconds"),
        image=("mpx4inr", "mpx4_inr", "ei2minr", "ccd_n", "ccdint"),
        known=(("eta", "Eta"), ("nu", "Nu"), ("mononrj", "nrj", "Energy", "mpx4inr", "ei2minr", "ccd_n")),
    ),
    "id27": Names(
        {"nath": ("nath",)},
        energy=("energy",),
        monitor=("imon", "mon"),
        exposure=("acq_time", "acq_time_3"),
        known=(("nath",),),
    ),
    "p10": Names(
        {
            "mu": ("mu",),
            "om": ("om", "samth"),  # samth and e2_t02: in the second hutch
            "chi": ("chi",),
            "phi": ("phi",),
            "gam": ("gam",),
            "del": ("del", "e2_t02"),
        },
        energy=("fmbenergy",),
        energy_unit="eV",
        distance=("_distance",),
        monitor=("ipetra", "curpetra"),
        exposure=("exposuretime", "count_time"),
        known=(("fmbenergy",), ("om", "samth")),
        zero={"chi": _CHI},
    ),
    "nanomax": Names(
        energy=("energy",), energy_unit="eV", monitor=("alba2/1", "alba/1", "ni/counter1"), known=(("gontheta",), ("gonphi",))
    ),
    "cristal": Names(
        {
            "omega": ("i06-c-c07-ex-mg_omega",),
            "phi": ("i06-c-c07-ex-mg_phi",),
            "gamma": ("i06-c-c07-ex-dif-gamma",),
            "delta": ("i06-c-c07-ex-dif-delta",),
        },
        energy=("monochromator/energy",),
        monitor=("data_04",),
        known=(("i06-c-c07-ex-mg_omega", "i06-c-c07-ex-mg_phi", "i06-c-c07-ex-dif-delta"),),
    ),
    "sixs": Names(
        energy=("i14-c-c02-op-mono/energy",), monitor=("imon0", "imon1", "intensity"), known=(("i14-c-c02-op-mono/energy",),)
    ),
}  # fmt: skip


def recognised(names: set[str]) -> str | None:
    """The beamline whose files have these names; None where none does, or several do."""
    keys = [key for key, row in NAMES.items() if row.known and all(any(n in names for n in line) for line in row.known)]
    return keys[0] if len(keys) == 1 else None
