"""Files of pictures and masks: what is black and what is white, JPEG, and which of the two colours of a mask means unknown."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from skimage.io import imread, imsave

from test_restore import noisy, psnr, ran, scene
from untwin.data import raster
from untwin.data.image import read_array, read_image, read_plane
from untwin.data.read import read
from untwin.errors import InputError
from untwin.runs.tasks import job


def stored(tmp_path, a: np.ndarray, name: str = "p.tif"):
    path = tmp_path / name
    if path.suffix == ".tif":
        tifffile.imwrite(path, a)
    elif path.suffix == ".npy":
        np.save(path, a)
    else:
        imsave(path, a, check_contrast=False)
    return path


def jpeg(path, a: np.ndarray, **more):
    Pillow.fromarray(a).save(path, quality=92, **more)
    return path


def guesses(do) -> tuple[object, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = do()
    return value, [str(w.message) for w in caught]


def spread(shape=(9, 11), low=0, high=255) -> np.ndarray:
    """Numbers from low to high, both of them there."""
    return np.linspace(low, high, shape[0] * shape[1]).round().reshape(shape)


# black and white


@pytest.mark.parametrize("ending", ["npy", "png", "tif"])
@pytest.mark.parametrize(
    ("kind", "low", "high", "white"),
    [
        ("u1", 0, 255, 255),
        ("u1", 30, 200, 255),
        ("u1", 180, 240, 255),
        ("u1", 0, 9, 255),
        ("u2", 0, 65535, 65535),
        ("u2", 900, 40000, 65535),
    ],
)
def test_what_uses_the_range_of_its_type_is_divided_by_it_without_a_word(tmp_path, ending, kind, low, high, white):
    a = spread(low=low, high=high).astype(kind)
    found, texts = guesses(lambda: read_image(stored(tmp_path, a, f"p.{ending}")))
    assert not texts and (found.offset, found.scale) == (0, white)
    assert np.array_equal(found.values[0], (a / white).astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "low", "high", "black", "white"),
    [
        ("u2", 0, 1023, 0, 1023),
        ("u2", 12, 3900, 0, 4095),
        ("u2", 0, 16383, 0, 16383),
        ("u2", 0, 200, 0, 255),
        ("u2", 5000, 6000, 5000, 6023),
        ("u4", 0, 70000, 0, 131071),
        ("i2", -300, 3000, -300, 3795),
        ("i2", 0, 4000, 0, 4095),
        ("i1", -100, 100, -100, 155),
        ("u8", 0, 2**40, 0, 2**41 - 1),
        ("f4", 0, 300, 0, 300),
        ("f4", 0, 0.0625, 0, 0.0625),
        ("f4", -2, 6, -2, 6),
        ("f8", 900, 1000, 900, 1000),
    ],
)
def test_other_numbers_are_scaled_by_what_is_there_and_it_is_said(tmp_path, kind, low, high, black, white):
    a = (spread(low=0, high=98) / 98 * (high - low) + low).astype(kind)
    found, texts = guesses(lambda: read_image(stored(tmp_path, a, "p.npy")))
    assert (found.offset, found.offset + found.scale) == (black, white)
    assert len(texts) == 1 and f"reaches from {low:g} to {high:g}: scaled to 0..1" in texts[0] and f"{white:g} as white" in texts[0]
    assert ("taken as black" in texts[0]) == (black != 0)
    assert found.values.min() >= 0 and found.values.max() <= 1 and np.allclose(found.offset + found.scale * found.values[0], a, rtol=1e-6)


@pytest.mark.parametrize("high", [0, 0.2, 1])
def test_floats_from_0_to_1_are_left_as_they_are(tmp_path, high):
    a = spread(high=98) / 98 * high
    found, texts = guesses(lambda: read_image(stored(tmp_path, a, "p.npy")))
    assert not texts and (found.offset, found.scale) == (0, 1) and np.array_equal(found.values[0], a.astype(np.float32))


def test_a_range_that_no_number_holds_is_refused(tmp_path):
    with pytest.raises(InputError, match="too far to be scaled"):
        read_image(stored(tmp_path, (spread(high=98) - 49) / 49 * 1.7e308, "p.npy"))


def test_a_picture_of_one_number_is_read(tmp_path):
    for a in (np.full((9, 9), 700, np.uint16), np.zeros((9, 9), np.uint16), np.full((9, 9), 3.0)):
        found, _ = guesses(lambda a=a: read_image(stored(tmp_path, a, "p.npy")))
        assert np.isfinite(found.values).all() and np.allclose(found.offset + found.scale * found.values, a)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_a_picture_of_few_bits_in_a_large_type_is_restored_as_the_same_picture_of_eight(tmp_path, monkeypatch, bits):
    """The scale that is left differs by less than two."""
    truth = scene((1, 40, 44))
    y = noisy(truth)
    monkeypatch.chdir(tmp_path)
    top = 2**bits - 1
    stored(tmp_path, np.rint(y[0] * top).astype(np.uint16), "deep.tif")
    stored(tmp_path, np.rint(500 + 490 * y[0]).astype(np.uint16), "floor.tif")
    stored(tmp_path, np.rint(y[0] * 255).astype(np.uint8), "eight.png")
    quality = {}
    for name, black, white in (("deep.tif", 0, top), ("floor.tif", 500, 990), ("eight.png", 0, 255)):
        assert ran(["restore", name, "--steps", "80", "-o", name[:-4]]) == 0
        quality[name] = psnr((np.load(tmp_path / name[:-4] / "result.npy") - black) / (white - black), truth[0])
        assert imread(tmp_path / name[:-4] / "result.png").max() > 128
    assert min(quality.values()) > quality["eight.png"] - 1 > psnr(y, truth) + 3


def test_a_hot_pixel_that_sets_the_scale_is_said_and_a_mask_takes_it_out(tmp_path):
    a = spread((40, 50), 0, 4000).astype(np.uint16)
    a[7, 9] = 65535
    path = stored(tmp_path, a)
    found, texts = guesses(lambda: read_image(path))
    assert found.scale == 65535 and "scaled by 1 value far above all others" in texts[-1]
    found, texts = guesses(lambda: read_image(path, a < 60000))
    assert found.scale == 4095 and len(texts) == 1
    rng = np.random.default_rng(0)  # one look of speckle has a long tail, and no hot pixel
    _, texts = guesses(lambda: read_image(stored(tmp_path, 3 * rng.exponential(size=(64, 64)), "s.npy")))
    assert len(texts) == 1 and "scaled to 0..1" in texts[0]


def test_what_fills_the_holes_has_no_say_in_the_scale(tmp_path, monkeypatch, capsys):
    a = np.rint(4095 * scene((1, 20, 24))[0]).astype(np.uint16)
    hole = np.zeros(a.shape, bool)
    hole[3:9, 4:12] = True
    stored(tmp_path, np.where(hole, 65535, a).astype(np.uint16), "p.tif")
    stored(tmp_path, (255 * hole).astype(np.uint8), "m.png")
    monkeypatch.chdir(tmp_path)
    assert ran(["restore", "p.tif", "--task", "inpaint", "--mask", "m.png", "--steps", "60", "-o", "out"]) == 0
    assert "4095 as white" in capsys.readouterr().err
    assert psnr(np.load(tmp_path / "out" / "result.npy")[~hole] / 4095, a[~hole] / 4095) > 20


# JPEG


@pytest.mark.parametrize("shape", [(24, 33), (24, 33, 3)], ids=["grey", "colour"])
def test_a_jpeg_is_read_as_its_pixels_without_a_word(tmp_path, shape):
    a = np.broadcast_to(spread((24, 33)).reshape(24, 33, *[1] * (len(shape) - 2)), shape).astype(np.uint8)
    found, texts = guesses(lambda: read_image(jpeg(tmp_path / "p.jpg", a)))
    want = np.asarray(Pillow.open(tmp_path / "p.jpg"), np.float64).reshape(24, 33, -1) / 255
    assert not texts and np.array_equal(found.values, np.moveaxis(want, -1, 0).astype(np.float32))
    assert np.abs(found.values - np.moveaxis(a.reshape(24, 33, -1) / 255, -1, 0)).max() < 0.05


@pytest.mark.parametrize(
    ("orientation", "row", "column"),  # where the first row and column that are stored lie in the upright picture (EXIF 2.3, tag 0x0112)
    [
        (1, "top", "left"),
        (2, "top", "right"),
        (3, "bottom", "right"),
        (4, "bottom", "left"),
        (5, "left", "top"),
        (6, "right", "top"),
        (7, "right", "bottom"),
        (8, "left", "bottom"),
    ],
)
def test_a_photograph_is_turned_upright_as_its_exif_says(tmp_path, orientation, row, column):
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :8], upright[8:, 16:] = 255, 128
    a = upright if row in ("top", "bottom") else upright.T
    a = a[::-1] if row in ("bottom", "right") else a
    a = a[:, ::-1] if column in ("bottom", "right") else a
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    found, texts = guesses(lambda: read_image(jpeg(tmp_path / "p.jpg", np.ascontiguousarray(a), exif=exif)))
    assert found.values.shape == (1, 16, 24) and np.abs(found.values[0] - upright / 255).max() < 0.05
    assert [f"EXIF orientation ({orientation})" in t for t in texts] == [True] * (orientation > 1)


def test_a_picture_of_printing_inks_is_refused(tmp_path):
    Pillow.new("CMYK", (20, 20)).save(tmp_path / "p.tif")
    with pytest.raises(InputError, match="TIFF in inks .CMYK.; expected grey or colours"):
        read_image(tmp_path / "p.tif")
    Pillow.new("CMYK", (20, 20)).save(tmp_path / "p.jpg")
    with pytest.raises(InputError, match="JPEG in CMYK; expected grey or colours"):
        read_image(tmp_path / "p.jpg")


def test_a_png_in_colours_of_16_bits_is_refused_and_never_read_as_8(tmp_path):
    rows = b"".join(b"\0" + bytes(6 * 4) for _ in range(4))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">2I5B", 4, 4, 16, 2, 0, 0, 0))
    path = tmp_path / "p.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    with Pillow.open(path) as picture:
        assert np.asarray(picture).shape == (4, 4, 3), "a sound file"
    with pytest.raises(InputError, match="PNG in colours of 16 bits.*save it as a TIFF, or with 8 bits"):
        read_image(path)


def test_every_beginning_of_a_jpeg_is_a_picture_or_refused(tmp_path):
    whole = jpeg(tmp_path / "p.jpg", np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)).read_bytes()
    refused = 0
    for n in (1, 3, 4, 20, 100, 300, len(whole) // 2, len(whole) - 40):
        (tmp_path / "cut.jpg").write_bytes(whole[:n])
        with pytest.raises(InputError):
            read_image(tmp_path / "cut.jpg")
        refused += 1
    assert refused == 8


def test_damaged_exif_says_nothing(tmp_path):
    a = spread((16, 24)).astype(np.uint8)
    path = jpeg(tmp_path / "p.jpg", a, exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    found, texts = guesses(lambda: read_image(path))
    assert not texts and found.values.shape == (1, 16, 24)


@pytest.mark.parametrize("size", [(8200, 8200), (20000, 20000)], ids=str)
def test_a_jpeg_that_declares_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch, size):
    whole = bytearray(jpeg(tmp_path / "p.jpg", np.zeros((16, 16), np.uint8)).read_bytes())
    at = whole.index(b"\xff\xc0") + 5
    whole[at : at + 4] = size[1].to_bytes(2, "big") + size[0].to_bytes(2, "big")
    (tmp_path / "p.jpg").write_bytes(whole)
    monkeypatch.setattr(Pillow.Image, "load", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"declares .* pixels.*cut it into smaller ones"):
        read_array(tmp_path / "p.jpg", "the image")
    assert raster.PIXELS < 8200**2


# masks


def hole_of(shape=(48, 56)) -> np.ndarray:
    hole = np.zeros(shape, bool)
    hole[5:20, 9:30] = hole[30:41, 33:50] = True
    return hole


@pytest.mark.parametrize("colour", [False, True], ids=["grey", "red"])
def test_a_mask_as_jpeg_is_cut_at_half_and_it_is_said(tmp_path, colour):
    hole = hole_of()
    a = (255 * hole).astype(np.uint8)
    path = jpeg(tmp_path / "m.jpg", np.stack([a, 0 * a, 0 * a], -1) if colour else a)
    assert (read_array(path, "the mask") > 0).mean() > hole.mean() + 0.05, "which nonzero would not be"
    found, texts = guesses(lambda: read_plane(path, "the mask"))
    assert np.array_equal(found != 0, hole) and len(texts) == 1 and "what is above 127 counts as nonzero, 19 %" in texts[0]


def test_jpegs_that_hold_no_mask_and_no_kernel_are_refused(tmp_path):
    jpeg(tmp_path / "m.jpg", hole_of().astype(np.uint8))
    with pytest.raises(InputError, match=r"reaches only \d of 255"):
        read_plane(tmp_path / "m.jpg", "the mask")
    with pytest.raises(InputError, match="the kernel .* is a JPEG"):
        read_plane(tmp_path / "m.jpg", "the kernel", graded=True)


def test_a_mask_that_was_a_jpeg_once_is_said_and_a_clean_one_or_a_kernel_is_not(tmp_path):
    buffer = io.BytesIO()
    Pillow.fromarray((255 * hole_of()).astype(np.uint8)).save(buffer, "jpeg")
    once = stored(tmp_path, np.asarray(Pillow.open(buffer)), "once.png")
    clean = stored(tmp_path, (255 * hole_of()).astype(np.uint8), "clean.png")
    _, texts = guesses(lambda: read_plane(once, "the mask"))
    assert len(texts) == 1 and "numbers besides 0 and 255" in texts[0] and "nonzero is what counts" in texts[0]
    assert not guesses(lambda: read_plane(clean, "the mask"))[1] and not guesses(lambda: read_plane(once, "the kernel", graded=True))[1]


@pytest.mark.parametrize("ending", ["npy", "png", "tif"])
def test_a_picture_as_a_mask_is_said_and_labels_or_soft_edges_are_not(tmp_path, ending):
    grey, labels, soft = np.zeros((3, 60, 60), np.uint8)
    grey[:8], labels[:8] = spread((8, 60), 1, 100), np.arange(480).reshape(8, 60) % 16
    soft[:9], soft[8, 10:28] = 255, np.arange(90, 108)
    light = np.random.default_rng(0).exponential(50, (60, 60))
    for a, said in ((grey, 1), (labels, 0), (soft, 0)):
        path = stored(tmp_path, a, f"m.{ending}")
        found, texts = guesses(lambda path=path: read_plane(path, "the mask"))
        assert np.array_equal(found, a) and sum("nonzero is what counts" in text for text in texts) == len(texts) == said
        _, texts = guesses(lambda path=path: read(light, mask=path, keep_strays=True))
        assert sum("nonzero is what counts" in text for text in texts) == said


def test_a_dark_jpeg_is_no_mask_of_a_pattern(tmp_path):
    jpeg(tmp_path / "m.jpg", (100 * hole_of()).astype(np.uint8))
    with pytest.raises(InputError, match=r"reaches only 1\d\d of 255; expected black and white"):
        read(np.full(hole_of().shape, 9.0), mask=tmp_path / "m.jpg")


FILLED = ("black", "white", "mean", "untouched")


def drawn(seed: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """A picture (channels, 40, 44) with a black sky in half of the cases, and what of it is hidden: pixels or bars."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :44]
    picture = np.zeros((1 + 2 * (seed % 2), 40, 44)) if seed % 4 < 2 else 0.3 + 0.2 * np.sin(x / 5 + y / 9) + np.zeros((3, 1, 1))
    for _ in range(8):
        disc = (y - rng.uniform(0, 40)) ** 2 + (x - rng.uniform(0, 44)) ** 2 < rng.uniform(3, 9) ** 2
        picture[:, disc] = rng.uniform(0.1, 1, (len(picture), 1))
    hidden = rng.random((40, 44)) < share
    if seed % 3 == 0:
        hidden[:] = False
        while hidden.mean() < share:
            top, left = rng.integers(0, 40), rng.integers(0, 44)
            hidden[top : top + 3, left : left + 15] = True
    return np.rint(255 * picture).astype(np.uint8), hidden


@pytest.mark.parametrize("fill", FILLED)
@pytest.mark.parametrize("share", [0.1, 0.35, 0.6, 0.8, 0.92])
@pytest.mark.parametrize("seed", range(8))
def test_the_other_convention_is_noticed_wherever_the_numbers_tell_and_an_honest_mask_never_refused(seed, share, fill):
    picture, hidden = drawn(seed, share)
    if fill != "untouched":
        picture[:, hidden] = {"black": 0, "white": 255, "mean": 77}[fill]
    y = (picture / 255).astype(np.float32)
    made, texts = guesses(lambda: job(y, "inpaint", mask=hidden))
    assert np.array_equal(made.measured[0], ~hidden)
    marks = f"marks {100 * hidden.mean():.0f} % of the pixels as unknown; invert it if"
    assert len(texts) == (fill == "untouched" and hidden.mean() > 0.5) and all(marks in t for t in texts)
    if fill != "untouched":
        with pytest.raises(InputError, match="calls known are all the same.*invert the mask"):
            job(y, "inpaint", mask=~hidden)


def test_a_mask_of_nothing_is_said():
    assert guesses(lambda: job(scene(), "inpaint", mask=np.zeros((33, 40))))[1] == ["the mask marks no pixel as unknown"]
    assert not guesses(lambda: job(0 * scene(), "inpaint", mask=np.eye(33, 40)))[1], "in a picture of one colour nothing can be told"


def test_the_other_convention_in_a_picture_that_was_compressed_is_said():
    picture, hidden = drawn(6, 0.3)
    picture[:, hidden] = 0
    buffer = io.BytesIO()
    Pillow.fromarray(np.moveaxis(picture, 0, -1).squeeze()).save(buffer, "jpeg", quality=90)
    y = np.moveaxis(np.asarray(Pillow.open(buffer)).reshape(40, 44, -1), -1, 0)
    _, texts = guesses(lambda: job((y / 255).astype(np.float32), "inpaint", mask=~hidden))
    assert len(texts) == 1 and "invert it if" in texts[0]


def test_the_command_takes_jpegs_and_refuses_the_other_convention(tmp_path, monkeypatch, capsys):
    hole = hole_of()
    truth = scene((3, *hole.shape))
    a = np.moveaxis(np.rint(255 * np.where(hole, 0, truth)), 0, -1).astype(np.uint8)
    jpeg(tmp_path / "p.jpg", a)
    stored(tmp_path, a, "p.png")
    jpeg(tmp_path / "m.jpg", (255 * hole).astype(np.uint8))
    stored(tmp_path, (255 * ~hole).astype(np.uint8), "other.png")
    monkeypatch.chdir(tmp_path)
    assert ran(["restore", "p.jpg", "--task", "inpaint", "--mask", "m.jpg", "--steps", "60", "-o", "out"]) == 0
    assert "above 127 counts as nonzero" in capsys.readouterr().err
    assert psnr(np.moveaxis(np.load(tmp_path / "out" / "result.npy"), -1, 0) / 255, truth) > psnr(np.moveaxis(a, -1, 0) / 255, truth) + 3
    assert ran(["restore", "p.png", "--task", "inpaint", "--mask", "other.png", "--steps", "9", "-o", "no"]) == 2
    assert "invert the mask" in capsys.readouterr().err and not (tmp_path / "no").exists()


def test_what_a_mask_calls_unknown_may_be_nan(tmp_path):
    a = np.linspace(0.1, 0.9, 256, dtype=np.float32).reshape(16, 16)
    known = np.ones((16, 16), bool)
    known[3, 4] = False
    spoilt = np.where(known, a, np.nan)
    image = read_image(stored(tmp_path, spoilt, "p.npy"), known)
    assert np.array_equal(image.values[0][known], a[known]) and np.isfinite(image.values).all()
    with pytest.raises(InputError, match="1 values that are NaN"):
        read_image(stored(tmp_path, spoilt, "q.npy"))
