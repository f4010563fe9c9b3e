"""Formats that untwin does not read: what they are called, by their first bytes, and how they are converted."""

from __future__ import annotations

import re
import struct

from untwin.data import text

SAVE = "then save the array with numpy.save"
_ZIPPED = "unpack it first"
HEAD = 4100  # bytes from the beginning that tell

_STARTS = {  # first bytes: (name, how)
    b"version https://git-lfs": ("a git-lfs pointer", "fetch the data with git lfs pull"),
    b"\x80": ("what looks like a Python pickle, which is never loaded because it can run code", "save the array with numpy.save"),
    b"ccopy_reg\n": ("a Python pickle, which is never loaded because it can run code", "save the array with numpy.save"),
    b"cnumpy": ("a Python pickle, which is never loaded because it can run code", "save the array with numpy.save"),
    b"\x1f\x8b": ("compressed by gzip", f"{_ZIPPED}: gunzip FILE"),
    b"BZh": ("compressed by bzip2", f"{_ZIPPED}: bunzip2 FILE"),
    b"\xfd7zXZ\0": ("compressed by xz", f"{_ZIPPED}: unxz FILE"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", f"{_ZIPPED}: unzstd FILE"),
    b"7z\xbc\xaf": ("a 7-Zip archive", _ZIPPED),
    b"\x0e\x03\x13\x01": ("HDF4", "convert it with h4toh5 FILE, or read it with pyhdf.SD.SD(FILE), " + SAVE),
    b"CDF\x01": ("netCDF 3", "read it with scipy.io.netcdf_file(FILE), " + SAVE),
    b"CDF\x02": ("netCDF 3", "read it with scipy.io.netcdf_file(FILE), " + SAVE),
    b"\0\0\0\x03": ("DM3 (Digital Micrograph)", "read it with ncempy.io.dm.dmReader(FILE)['data'], " + SAVE),
    b"\0\0\0\x04": ("DM4 (Digital Micrograph)", "read it with ncempy.io.dm.dmReader(FILE)['data'], " + SAVE),
    b"root": ("ROOT", "read it with uproot.open(FILE), " + SAVE),
    b"SIMPLE  =": ("FITS", "read it with astropy.io.fits.getdata(FILE), " + SAVE),
    b"#?RADIANCE": ("Radiance HDR", "read it with imageio.v3.imread(FILE), " + SAVE),
    b"GIF8": ("GIF", "read it with imageio.v3.imread(FILE), " + SAVE),
    b"BM": ("BMP", "read it with imageio.v3.imread(FILE), " + SAVE),
    b"RIFF": ("WebP or another RIFF file", "read it with imageio.v3.imread(FILE), " + SAVE),
    b"\0\0\0\x0cjP  ": ("JPEG 2000", "read it with imageio.v3.imread(FILE), " + SAVE),
    b"\xff\x4f\xff\x51": ("JPEG 2000", "read it with imageio.v3.imread(FILE), " + SAVE),
    b"\x76\x2f\x31\x01": ("OpenEXR", "read it with imageio.v3.imread(FILE), " + SAVE),
    b"P5": ("PGM", "read it with imageio.v3.imread(FILE), " + SAVE),
    b"%PDF": ("PDF", "it holds a drawing and no measurement: ask for the file that it was drawn from"),
    b"PAR1": ("Parquet", "read it with pandas.read_parquet(FILE), " + SAVE),
    b"ESPERANTO": ("Esperanto", "read it with fabio.open(FILE).data, " + SAVE),
    b"R-AXIS": ("R-AXIS", "read it with fabio.open(FILE).data, " + SAVE),
    b"FORMAT :": ("Bruker", "read it with fabio.open(FILE).data, " + SAVE),
    b"OD SAPPHIRE": ("OXD (Oxford Diffraction)", "read it with fabio.open(FILE).data, " + SAVE),
    b"{\nHEADER_BYTES": ("SMV (ADSC)", "read it with fabio.open(FILE).data, " + SAVE),
    b"\xd2\x04\0\0": ("mar345", "read it with fabio.open(FILE).data, " + SAVE),
    b"M\0\0\0A\0\0\0S\0\0\0K": ("a mask of Fit2D", "read it with fabio.open(FILE).data, " + SAVE),
    b"\\$FFF_START": ("Fit2D", "read it with fabio.open(FILE).data, " + SAVE),
    b"II\xbc\x01": ("JPEG XR", "read it with imageio.v3.imread(FILE), " + SAVE),
    b"ncdf": ("netCDF", "read it with xarray.open_dataset(FILE), " + SAVE),
}
_WITHIN = {  # (where, bytes): (name, how)
    (2996, b"\x67\x45\x23\x01"): ("SPE (WinView, WinSpec, LightField)", "read it with fabio.open(FILE).data or spe2py, " + SAVE),
    (208, b"MAP "): ("MRC (CCP4)", "read it with mrcfile.open(FILE).data, " + SAVE),
    (344, b"n+1\0"): ("NIfTI", "read it with nibabel.load(FILE).get_fdata(), " + SAVE),
    (344, b"ni1\0"): ("NIfTI (or Analyze)", "read it with nibabel.load(FILE).get_fdata(), " + SAVE),
    (128, b"DICM"): ("DICOM", "read it with pydicom.dcmread(FILE).pixel_array, " + SAVE),
}


def named(head: bytes, ending: str) -> str | None:
    """'FORMAT: how to convert it', or None where the bytes do not tell. head: the first HEAD bytes. ending: of the name, as '.mat'."""
    for (at, mark), (name, how) in _WITHIN.items():
        if head[at : at + len(mark)] == mark:
            return f"{name}: {how}"
    for start in sorted(_STARTS, key=len, reverse=True):
        if head.startswith(start) and (len(start) > 1 or _is_pickle(head)):
            name, how = _STARTS[start]
            return f"{name}: {how}"
    if ending == ".mat" and _is_matlab4(head):
        return f"a MATLAB 4 file: read it with scipy.io.loadmat(FILE), {SAVE}, or save it in MATLAB with -v7"
    if ending in (".raw", ".bin", ".img"):
        return f"raw numbers without a header, it seems: read them with numpy.fromfile(FILE, dtype).reshape(shape), {SAVE}"
    if re.match(rb"\s*[+-]?\d+,\d+([eE][+-]?\d+)?\s*[;\t ]", head):
        return "a table with decimal commas: write points instead, such as with sed 's/,/./g' FILE"
    if head and not re.search(rb"[^\t\r\n\x20-\x7e\x80-\xff]", head):
        if (row := text.first_row(head)) is not None:
            return f"text whose table begins at line {row + 1}: read it with numpy.loadtxt(FILE, skiprows={row}), {SAVE}"
        return f"text without a table of numbers at its beginning (it starts with {head[:16]!r})"
    return None


def _is_matlab4(head: bytes) -> bool:
    """Five integers: type, rows, columns, is it complex, length of the name."""
    for order in "<>" if len(head) >= 20 else "":
        kind, rows, columns, imaginary, length = struct.unpack(f"{order}5i", head[:20])
        if 0 <= kind < 5000 and rows > 0 and columns > 0 and imaginary in (0, 1) and 1 < length <= 64:
            return True
    return False


def _is_pickle(head: bytes) -> bool:
    return len(head) > 1 and head[1] <= 5
