"""The opener of pictures: each kind against a formula written here, and what is no picture by what is said of it."""

import io
import os
import socket
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from lsdkit.data import pictures
from lsdkit.data.pictures import GROUND, LeftOut, is_special, open_picture, quote_name, read_picture

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
GREY = np.arange(240, dtype=np.uint8).reshape(12, 20)
ALPHA = RNG.permutation(GREY.ravel()).reshape(12, 20)


def encode(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def read(source):
    """int (H, W, 3) of what the opener makes of a source."""
    image = open_picture(source)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def why(source):
    with pytest.raises(LeftOut) as left:
        open_picture(source)
    assert left.value.reason == "unreadable"
    return left.value.detail


def write_png(values, depth=16, extra=b""):
    """A PNG of (H, W, 1 to 4) numbers of 16 bits, which Pillow cannot write in colour."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    kind = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[2]]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


# ---- what an ordinary picture becomes


def test_a_source_is_a_path_the_bytes_of_a_file_an_image_or_an_array(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(encode(Image.fromarray(COLOUR)))
    lazy = Image.open(file)
    data = file.read_bytes()
    for source in (file, str(file), os.fsencode(file), data, io.BytesIO(data), lazy, Image.fromarray(COLOUR), COLOUR):
        assert (read(source) == COLOUR).all()
    with pytest.raises(LeftOut, match="no image format"):
        open_picture(io.BytesIO(os.fsencode(file)))  # what was sent, not what it names
    lazy.close()
    with pytest.raises(TypeError, match="a path, the bytes of a file, a PIL image or a numpy array, but got list"):
        open_picture(COLOUR.tolist())


def test_modes():
    image = Image.fromarray(COLOUR)
    for kind in ("PNG", "BMP", "PPM", "TIFF"):
        assert (read(encode(image, kind)) == COLOUR).all()
        assert (read(encode(Image.fromarray(GREY), kind)) == GREY[..., None]).all()
    jpeg = encode(image, "JPEG")
    assert (read(jpeg) == np.asarray(Image.open(io.BytesIO(jpeg)))).all()
    bits = GREY > 100
    assert (read(encode(Image.fromarray(bits))) == 255 * bits[..., None]).all()
    palette = image.quantize(16)
    colours = np.array(palette.getpalette()[: 3 * 16]).reshape(-1, 3)
    assert (read(encode(palette)) == colours[np.asarray(palette)]).all()
    inks = RNG.integers(0, 256, (12, 20, 4), dtype=np.uint8)
    naive = (255 - inks[..., :3].astype(int)) * (255 - inks[..., 3:].astype(int)) / 255
    assert np.abs(read(encode(Image.frombytes("CMYK", (20, 12), inks.tobytes()), "TIFF")) - naive).max() <= 1
    luma = RNG.integers(64, 192, (12, 20, 3), dtype=np.uint8)
    y, cb, cr = (luma[..., channel].astype(float) - 128 * (channel > 0) for channel in range(3))
    naive = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], -1).clip(0, 255)
    assert np.abs(read(Image.frombytes("YCbCr", (20, 12), luma.tobytes())) - naive).max() <= 2


def test_lab_is_brought_to_srgb():
    lab = np.stack([RNG.uniform(20, 90, (12, 20)), *RNG.uniform(-12, 12, (2, 12, 20))], -1).round()
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1, 0.8249]  # white of D50
    matrix = np.array(
        [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.033454], [0.0719453, -0.2289914, 1.4052427]]
    )
    linear = (xyz @ matrix.T).clip(0, 1)
    naive = 255 * np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    stored = np.stack([(lab[..., 0] * 2.55).round(), lab[..., 1], lab[..., 2]], -1).astype(np.int64).astype(np.uint8)
    profile = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(Image.fromarray(COLOUR), *profile[::-1], outputMode="LAB")
    image.frombytes(stored.tobytes())
    assert np.abs(read(encode(image, "TIFF")) - naive).max() <= 3


@pytest.mark.parametrize(
    ("orientation", "naive"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (5, lambda a: a.swapaxes(0, 1)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
        (8, np.rot90),
    ],
)
def test_exif_turns(orientation, naive):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for values in (COLOUR, GREY, np.dstack([COLOUR, np.full((12, 20), 255, np.uint8)]), GREY.astype(np.uint16) * 257):
        data = encode(Image.fromarray(values), exif=exif)
        upright = naive(values // 257 if values.dtype == np.uint16 else values)
        assert (read(data) == (upright[..., None] if upright.ndim == 2 else upright[..., :3])).all()
    given = Image.open(io.BytesIO(data))
    open_picture(given)
    assert given.size == (20, 12)  # the caller's image stays as it was


def test_a_broken_tag_costs_no_picture_and_gives_no_warning():
    exif = Image.Exif()
    exif[0x010E] = "a description of the picture"
    data = encode(Image.fromarray(COLOUR), "JPEG", exif=exif)
    place = data.index(struct.pack(">H", 0x010E), data.index(b"Exif\0\0")) + 8
    broken = data[:place] + struct.pack(">I", 60000) + data[place + 4 :]
    with pytest.warns(UserWarning, match="Truncated"):
        Image.open(io.BytesIO(broken)).getexif()
    assert (read(broken) == read(data)).all()


def test_a_broken_tag_of_a_turned_file_gives_no_warning():
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x010E] = "a description of the picture"
    data = encode(Image.fromarray(COLOUR), "TIFF", exif=exif)
    place = data.index(struct.pack("<HH", 0x010E, 2)) + 4
    broken = data[:place] + struct.pack("<I", 60000) + data[place + 4 :]  # longer than the file
    with pytest.warns(UserWarning, match="larger than file"):
        Image.open(io.BytesIO(broken)).load()
    assert (read(broken) == COLOUR[::-1, ::-1]).all()


def test_of_several_frames_the_first():
    frames = [Image.fromarray(np.full((12, 20, 3), value, np.uint8)) for value in (40, 200)]
    for kind in ("GIF", "TIFF", "PNG", "WEBP", "MPO"):
        options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "MPO" else {}
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert Image.open(io.BytesIO(data)).n_frames == 2
        assert (read(data) == 40).all()


def test_one_pixel():
    assert (read(encode(Image.new("RGB", (1, 1), (1, 2, 3)))) == [1, 2, 3]).all()
    assert (read(np.array([[7]], np.uint8)) == 7).all()


# ---- transparency


def lay(colour, alpha):
    share = alpha[..., None] / 255
    return colour[..., :3].astype(float) * share + np.array(GROUND) * (1 - share)


def test_transparency_is_laid_on_plain_ground():
    both = np.dstack([COLOUR, ALPHA])
    grey = Image.frombytes("LA", (20, 12), np.dstack([GREY, ALPHA]).tobytes())
    for source in (encode(Image.fromarray(both)), Image.fromarray(both), both, encode(Image.fromarray(both), "TIFF")):
        assert np.abs(read(source) - lay(COLOUR, ALPHA)).max() <= 1
    for source in (encode(grey), grey):
        assert np.abs(read(source) - lay(GREY[..., None].repeat(3, 2), ALPHA)).max() <= 1
    blended = Image.fromarray(both).convert("RGBa")
    assert np.abs(read(blended) - lay(COLOUR, ALPHA)).max() <= 2  # premultiplied in whole numbers
    palette = Image.fromarray(COLOUR).quantize(16)
    table = RNG.integers(1, 255, 16, dtype=np.uint8)
    colours = np.array(palette.getpalette()[: 3 * 16]).reshape(-1, 3)[np.asarray(palette)]
    data = encode(palette, transparency=table.tobytes())
    assert np.abs(read(data) - lay(colours, table[np.asarray(palette)])).max() <= 1
    data = encode(palette, "GIF", transparency=3)
    assert (read(data) == np.where(np.asarray(palette)[..., None] == 3, GROUND, colours)).all()
    data = encode(Image.fromarray(GREY), transparency=7)
    assert (read(data) == np.where(GREY[..., None] == 7, GROUND, GREY[..., None])).all()
    data = encode(Image.fromarray(COLOUR), transparency=tuple(COLOUR[3, 4].tolist()))
    assert (read(data)[3, 4] == GROUND).all()
    assert (read(data)[3, 5] == COLOUR[3, 5]).all()


def test_opaque_alpha_changes_nothing_and_a_picture_without_any_is_left_out():
    opaque = np.dstack([COLOUR, np.full((12, 20), 255, np.uint8)])
    assert (read(opaque) == COLOUR).all()
    assert (read(encode(Image.fromarray(opaque))) == COLOUR).all()
    assert why(np.dstack([COLOUR, np.zeros((12, 20), np.uint8)])) == "transparent all over"


# ---- depth


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_upper_8_bits_of_those_that_are_filled(bits):
    deep = RNG.integers(0, 1 << bits, (12, 20))
    deep[0, 0] = (1 << bits) - 1
    naive = (deep // 2 ** (bits - 8))[..., None]
    assert naive.max() == 255
    files = [write_png(deep[..., None]), encode(Image.fromarray(deep.astype(np.uint16)), "TIFF")]
    files += [encode(Image.fromarray(deep.astype(np.int32)), "TIFF")]
    big = Image.frombytes("I;16B", (20, 12), deep.astype(">u2").tobytes())
    arrays = [deep.astype(kind) for kind in (np.uint16, np.int32, np.int64, np.uint64, ">u2")]
    for source in (*files, big, encode(big, "TIFF"), *arrays):
        assert (read(source) == naive).all()
    colour = RNG.integers(0, 1 << bits, (12, 20, 3))
    colour[0, 0] = (1 << bits) - 1
    assert (read(colour) == colour // 2 ** (bits - 8)).all()


@pytest.mark.parametrize("bits", [20, 31])
def test_more_than_16_bits(bits):
    deep = RNG.integers(0, 1 << bits, (12, 20))
    deep[0, 0] = (1 << bits) - 1
    for source in (deep, encode(Image.fromarray(deep.astype(np.int32)), "TIFF")):
        assert (read(source) == (deep // 2 ** (bits - 8))[..., None]).all()


def test_colour_and_alpha_have_their_own_depth():
    colour = RNG.integers(0, 4096, (12, 20, 3))
    colour[0, 0] = 4095
    values = np.dstack([colour, ALPHA.astype(int) * 257]).astype(np.uint16)
    assert np.abs(read(values) - lay(colour // 16, ALPHA)).max() <= 1
    shares = np.dstack([colour / 4095 * 255, ALPHA / 255])
    shares[0, 1, 3] = 1
    naive = lay(colour / 4095 * 255, (shares[..., 3] * 255))
    assert np.abs(read(shares) - naive).max() <= 1


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_of_0_to_1_and_of_0_to_255(kind):
    unit = RNG.random((12, 20, 3)).astype(kind)
    assert np.abs(read(unit) - unit.astype(float) * 255).max() <= 0.501
    wide = (RNG.random((12, 20)) * 255).astype(kind)
    assert np.abs(read(wide) - wide.astype(float)[..., None]).max() <= 0.501
    assert (read(np.zeros((4, 4), kind)) == 0).all()
    assert (read(np.ones((4, 4, 1), kind)) == 255).all()
    assert (read(np.full((4, 4), 0.5, kind)) == 128).all()


def test_a_float_file():
    unit = RNG.random((12, 20)).astype(np.float32)
    assert np.abs(read(encode(Image.fromarray(unit), "TIFF")) - unit[..., None] * 255.0).max() <= 0.501
    assert np.abs(read(encode(Image.fromarray(unit * 255), "TIFF")) - unit[..., None] * 255.0).max() <= 0.501


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        (np.array([[0.0, np.nan]]), "not finite"),
        (np.array([[0.0, np.inf]]), "not finite"),
        (np.array([[-0.25, 1.0]]), "negative values, down to -0.25: scale to 0..1 or 0..255"),
        (np.array([[-5, 200]], np.int16), "negative values, down to -5"),
        (np.array([[0.0, 1.03]]), "values up to 1.03, neither 0..1 nor 0..255: scale or clip them"),
        (np.array([[0.0, 256.0]]), "neither 0..1 nor 0..255"),
        (np.zeros((3, 12, 20)), r"shape \(3, 12, 20\) instead of \(H, W\) or \(H, W, 1 \| 3 \| 4\)"),
        (np.zeros((12, 20, 2)), "shape"),
        (np.zeros(12), "shape"),
        (np.zeros((0, 20, 3)), "shape"),
        (np.zeros((2, 12, 20, 3)), "shape"),
        (np.array([["a", "b"]]), "instead of numbers"),
        (np.array([[1j]]), "complex128 instead of numbers"),
        (np.array([[None]]), "object instead of numbers"),
    ],
)
def test_arrays_that_are_no_picture(values, detail):
    with pytest.raises(LeftOut, match=detail):
        open_picture(values)


def test_a_mask_is_black_and_white():
    assert (read(GREY > 100) == 255 * (GREY > 100)[..., None]).all()


def test_files_of_negative_or_endless_values_are_left_out():
    assert "negative" in why(encode(Image.fromarray(np.array([[-3, 5]], np.int32)), "TIFF"))
    assert "not finite" in why(encode(Image.fromarray(np.array([[np.nan, 5]], np.float32)), "TIFF"))


def test_16_bit_colour_keeps_its_upper_bits_or_is_left_out():
    deep = RNG.integers(0, 1 << 16, (12, 20, 4))
    deep[..., 3] = 65535
    for channels in (3, 4):
        assert (read(write_png(deep[..., :channels])) == deep[..., :3] >> 8).all()
        detail = why(write_png(np.dstack([deep[..., :3] >> 4, deep[..., 3]])[..., :channels]))
        assert detail.startswith("16-bit colour that fills 12 bits")
        assert detail.endswith("save it with 8 bits a channel")


# ---- what is no picture


def test_what_a_file_is_instead():
    assert why(b"") == "an empty file"
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    assert why(lfs) == "a Git LFS pointer instead of the picture: fetch it with `git lfs pull`"
    for page in (b"<!DOCTYPE html><html></html>", b"\xef\xbb\xbf\r\n <HTML>"):
        assert why(page).startswith("a web page instead of a picture")
    assert why(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic") == (
        "a HEIC picture, which Pillow does not read: convert it to JPEG or PNG"
    )
    assert why(b"%PDF-1.7\n").startswith("a PDF document")
    assert why(bytes(300)) == "300 bytes, all zero, as a broken copy leaves"
    assert why(b"plain text") == "no image format that Pillow knows, 10 bytes"
    assert why(b"GIF89a").startswith("no image format")
    assert why(Image.new("RGB", (0, 5))) == "0 x 5 pixels"


def test_a_file_that_ends_early():
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "WEBP"):
        data = encode(Image.fromarray(RNG.integers(0, 256, (60, 60, 3), dtype=np.uint8)), kind)
        assert why(data[: len(data) // 2])


def test_postscript_is_never_run(monkeypatch):
    ran = []
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *args, **kwargs: ran.append(args))
    assert "PostScript" in why(encode(Image.fromarray(COLOUR), "EPS"))
    assert not ran


def test_too_many_pixels_are_a_reason(monkeypatch, recwarn):
    warnings.simplefilter("default")
    data = encode(Image.new("L", (100, 60)))
    for most in (4000, 1000):  # Pillow warns of the first and refuses the second
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
        assert why(data) == f"more than {most:,} pixels, Pillow's limit: make it smaller"
    assert not recwarn.list


def test_threads_leave_the_filters_of_warnings_as_they_were():
    before, data = list(warnings.filters), encode(Image.fromarray(COLOUR), "JPEG")
    with ThreadPoolExecutor(8) as pool:
        assert len({image.tobytes() for image in pool.map(open_picture, [data] * 200)}) == 1
    assert warnings.filters == before


# ---- names and kinds of files


def test_a_name_that_is_not_utf_8(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9\r.png"
    with open(path, "wb") as stream:
        stream.write(encode(Image.fromarray(COLOUR)))
    for source in (path, os.fsdecode(path), Path(os.fsdecode(path))):
        assert (read(source) == COLOUR).all()


def test_names_that_no_file_has(tmp_path):
    assert why(str(tmp_path / "a\0.jpg")) == "a name that no file has: embedded null byte"
    assert why(str(tmp_path / "a\ud800.jpg")).startswith("a name that no file has")
    assert why(tmp_path / ("a" * 300 + ".jpg")) == "OSError: File name too long"
    assert why(tmp_path / ("d/" * 3000 + "a.jpg")) == "OSError: File name too long"
    assert why(tmp_path / "absent.jpg") == "FileNotFoundError: No such file or directory"
    assert why("") == "FileNotFoundError: No such file or directory"


def test_what_is_no_plain_file_is_not_opened(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fifo.jpg")
    assert why(tmp_path / "fifo.jpg") == "a FIFO, not a file"
    assert why("/dev/zero") == "a device, not a file"
    assert why(tmp_path) == "a folder, not a file"
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
        assert why("socket.jpg") == "a socket, not a file"
    (tmp_path / "broken.jpg").symlink_to("gone\r.jpg")
    assert why(tmp_path / "broken.jpg") == "a link to 'gone\\r.jpg', which is not there"
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    assert "symbolic links" in why(tmp_path / "loop.jpg")


def test_a_link_to_a_picture_is_read(tmp_path):
    (tmp_path / "a.png").write_bytes(encode(Image.fromarray(COLOUR)))
    (tmp_path / "b.png").symlink_to("a.png")
    assert (read(tmp_path / "b.png") == COLOUR).all()


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "huge.jpg").open("wb") as stream:
        stream.truncate(pictures.LARGEST + 1)  # a hole, which takes no place on the disk
    assert why(tmp_path / "huge.jpg") == "1,073,741,825 bytes, which no picture has"


def test_names_of_formats_without_a_reader(tmp_path):
    for name in ("a.heic", "b.HEIF", "c.nef", "d.jxl"):
        (tmp_path / name).write_bytes(encode(Image.fromarray(COLOUR), "TIFF"))  # as raw files are TIFF inside
        suffix = Path(name).suffix.lower()
        assert why(tmp_path / name) == f"Pillow does not read {suffix} files: convert it to JPEG or PNG"
    (tmp_path / "e.jfif").write_bytes(encode(Image.fromarray(COLOUR), "JPEG"))
    assert read_picture(tmp_path / "e.jfif") == (tmp_path / "e.jfif").read_bytes()
    assert open_picture(tmp_path / "e.jfif").size == (20, 12)


def test_quoted_names_can_be_printed_and_stay_in_their_line():
    assert quote_name("fear/Ärger 日本　語 (1), 'a'.jpg") == "fear/Ärger 日本　語 (1), 'a'.jpg"
    for name in ("a\rb", "a\nb", "a\tb", "a\x1b[2Jb", "a\x85b", "a\u2028b", "a\0b", os.fsdecode(b"\xff"), "\ud800"):
        quoted = quote_name(f"fear/{name}/1.jpg")
        assert quoted == f"fear/{name!r}/1.jpg"
        quoted.encode()
        assert quoted.isprintable()
        assert len(quoted.splitlines()) == 1
    assert quote_name(Path("a\rb")) == quote_name(b"a\rb") == "'a\\rb'"


def test_which_files_the_rules_concern(tmp_path):
    def special(name, data):
        (tmp_path / name).write_bytes(data)
        return is_special(tmp_path / name)

    image = Image.fromarray(COLOUR)
    assert not special("a.png", encode(image))
    assert not special("b.png", encode(image.convert("L")))
    assert not special("c.gif", encode(image.quantize(16)))
    assert not special("d.jpg", encode(image, "JPEG"))
    assert not special("e.png", b"no picture")
    assert not special("f.webp", encode(image, "WEBP"))
    assert special("g.png", encode(image.convert("RGBA")))
    assert special("h.gif", encode(image.quantize(16), "GIF", transparency=3))
    assert special("i.png", encode(Image.fromarray(GREY.astype(np.uint16))))
    assert special("j.tif", encode(Image.fromarray(GREY.astype(np.float32)), "TIFF"))
    assert special("k.png", write_png(COLOUR.astype(int) * 257))
    os.mkfifo(tmp_path / "l.png")
    assert not is_special(tmp_path / "l.png")
    assert not is_special(tmp_path / "a\0.png")
