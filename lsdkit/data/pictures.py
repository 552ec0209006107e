"""The one place where a picture becomes upright 8-bit RGB, whatever it comes as; what cannot be used says why.

`docs/data.md` has the rules as a table.
"""

import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.Image import Transpose

# Names of picture files, any case. Those that Pillow has no reader for are listed too: to be named, not overlooked.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif"),
    *(".avif", ".heic", ".heif", ".jp2", ".jxl", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"),  # cameras' raw files
)
TURNS = {  # EXIF orientation -> what turns the picture upright, as in PIL.ImageOps, which parses and writes EXIF anew
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
GROUND = (128, 128, 128)  # behind transparency: outlines of dark and of light hair are weaker on it than on white
DEPTHS = (8, 10, 12, 14, 16)  # bits of cameras and files; whole numbers fill one of these, or more than 16
LEAST_TOP = 16  # floats of 0 to 255 reach at least this; a largest value between 1 and this is neither kind's
LARGEST = 1 << 30  # bytes of a file
RULES = 2  # version of what is done with `is_special` pictures; raised where a change makes other pixels of them
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # ends lines, moves cursors, or is no UTF-8
_QUIET = threading.Lock()


class LeftOut(Exception):
    """Not an error but a counted outcome: an image that cannot be used.

    `reason` is, of a picture, "unreadable", "no_face" or "duplicate"; of what labels it, "unknown_class",
    "other_class", "no_expression", "held_out", "malformed", "outside" or "bad_box" (docs/data.md says what each means).
    `detail` says more.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def open_picture(source: str | bytes | os.PathLike | io.BytesIO | Image.Image | np.ndarray) -> Image.Image:
    """The picture as a PIL image in RGB, turned upright by its EXIF orientation; of several frames the first.

    Args:
        source: a file's path; the bytes of a file (or a path as bytes, where something of that name is there; those in
            an `io.BytesIO` are never taken for a path); a PIL image, which stays as it is; or an array (H, W) or
            (H, W, 1 | 3 | 4), grey, RGB or RGBA: bool, whole numbers, or floats in 0..1 or 0..255.

    More than 8 bits are brought to the upper 8 of those that the content fills, so that 12 bits in a 16-bit file are
    not black. Transparency is laid on `GROUND`. Raises `LeftOut` ("unreadable") for whatever is no such picture, and
    `TypeError` for a source of another type.

    >>> open_picture(np.array([[0, 2048, 4095]], dtype=np.uint16)).getpixel((2, 0))
    (255, 255, 255)
    """
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_array(source))
    if isinstance(source, Image.Image):
        return _decode(source)
    if not isinstance(source, (str, bytes, os.PathLike, io.BytesIO)):
        kinds = "a path, the bytes of a file, a PIL image or a numpy array"
        raise TypeError(f"Expected {kinds}, but got {type(source).__name__}")
    if isinstance(source, io.BytesIO):
        data = source.getvalue()
    else:
        data = source if isinstance(source, bytes) and not _is_path(source) else read_picture(source)
    try:
        with _no_warnings():
            image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:  # its own message holds a memory address
        raise LeftOut("unreadable", _recognise(data)) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        most = f"more than {Image.MAX_IMAGE_PIXELS:,} pixels, Pillow's limit"
        raise LeftOut("unreadable", f"{most}: make it smaller") from error
    except Exception as error:
        raise _unreadable(error) from error
    return _decode(image)


def read_picture(path: str | bytes | os.PathLike) -> bytes:
    """The bytes of a picture's file; raises `LeftOut` ("unreadable") for one that is none or cannot be read.

    Only plain files are opened: a FIFO or a device would be waited for.
    """
    path = os.fsdecode(path)
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise LeftOut("unreadable", f"{_name_kind(status.st_mode)}, not a file")
        if status.st_size > LARGEST:
            raise LeftOut("unreadable", f"{status.st_size:,} bytes, which no picture has")
        if detail := explain_suffix(path):
            raise LeftOut("unreadable", detail)
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        broken = os.path.islink(path)
        detail = f"a link to {quote_name(os.readlink(path))}, which is not there" if broken else _say(error)
        raise LeftOut("unreadable", detail) from error
    except (OSError, MemoryError) as error:
        raise LeftOut("unreadable", _say(error)) from error
    except ValueError as error:  # a NUL, or a surrogate that stands for no byte
        raise LeftOut("unreadable", f"a name that no file has: {error}") from error


def explain_suffix(name: str) -> str:
    """Why Pillow cannot open a picture of this name and what to do, or "".

    >>> explain_suffix("a.HEIC"), explain_suffix("a.jpg")
    ('Pillow does not read .heic files: convert it to JPEG or PNG', '')
    """
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in SUFFIXES or suffix in Image.registered_extensions():
        return ""
    return f"Pillow does not read {suffix} files: convert it to JPEG or PNG"


def is_special(path: str | os.PathLike) -> bool:
    """Whether the rules for depth or transparency concern a file, by its header; False where that cannot be read.

    JPEG and BMP files by name never are, and are not opened.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix in (".jpg", ".jpeg", ".bmp"):
        return False
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with _no_warnings(), Image.open(path) as image:
            plain = image.mode in ("1", "L", "P", "RGB", "CMYK", "YCbCr") and not image.has_transparency_data
            return not plain or _is_shortened(image)
    except Exception:  # as in `open_picture`, which will say why
        return False


def quote_name(name: str | bytes | os.PathLike) -> str:
    r"""A name or a path as text that can be printed and stays in its line of a table.

    Nearly all stay as they are. A part between slashes with control characters, line ends or bytes that are no UTF-8
    becomes a quoted literal of Python, in which `\udce9` stands for the byte e9.

    >>> print(quote_name("fear/anna 1.jpg"), quote_name("fear/a\rb.jpg"), quote_name(b"caf\xe9.jpg"))
    fear/anna 1.jpg fear/'a\rb.jpg' 'caf\udce9.jpg'
    """
    name = os.fsdecode(name)
    if not UNSAFE.search(name):
        return name
    return "/".join(repr(part) if UNSAFE.search(part) else part for part in name.split("/"))


def _decode(image: Image.Image) -> Image.Image:
    try:
        if image.format == "EPS":
            raise LeftOut("unreadable", "PostScript, a program, which is not run: convert it to PNG")
        shortened = _is_shortened(image)
        with _no_warnings() if image.format == "TIFF" else nullcontext():  # whose `load` parses tags
            image.load()
        if shortened:
            _refuse_lost_depth(image)
        with _no_warnings():
            turn = TURNS.get(image.getexif().get(Base.Orientation))
        return _to_rgb(image if turn is None else image.transpose(turn))
    except LeftOut:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds; each means: not an image we can read
        raise _unreadable(error) from error


def _is_shortened(image: Image.Image) -> bool:
    """Whether Pillow is about to keep the upper 8 of 16 bits of each channel, as it does with colour."""
    return not _is_deep(image) and any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def _refuse_lost_depth(image: Image.Image) -> None:
    top = max(high for _, high in image.convert("RGB").getextrema())
    if top < 1 << (DEPTHS[-2] - 8):
        filled = f"16-bit colour that fills {8 + top.bit_length()} bits, of which Pillow keeps the upper 8 of 16"
        raise LeftOut("unreadable", f"{filled}: save it with 8 bits a channel")


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _to_rgb(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise LeftOut("unreadable", f"{image.width} x {image.height} pixels")
    if _is_deep(image):
        return Image.fromarray(_to_bytes(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    return _lay_on_ground(image) if image.has_transparency_data else image.convert("RGB")


def _lay_on_ground(image: Image.Image) -> Image.Image:
    image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    least, most = image.getchannel("A").getextrema()
    if most == 0:
        raise LeftOut("unreadable", "transparent all over")
    if least < 255:
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*GROUND, 255)), image)
    return image.convert("RGB")


def _from_array(values: np.ndarray) -> Image.Image:
    """An array as a PIL image of 8 bits: L, RGB or RGBA. Colour and alpha may have different depths."""
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.size == 0 or not (values.ndim == 2 or (values.ndim == 3 and values.shape[2] in (3, 4))):
        shapes = "(H, W) or (H, W, 1 | 3 | 4)"
        raise LeftOut("unreadable", f"an array of shape {values.shape} instead of {shapes}")
    parts = [values] if values.ndim == 2 else [values[..., :3], values[..., 3:]]
    parts = [_to_bytes(part) for part in parts if part.size]
    return Image.fromarray(parts[0] if values.ndim == 2 else np.concatenate(parts, axis=2))


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """uint8 of the same shape: black stays 0, the largest value that the content's depth can hold becomes 255."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * 255
    if values.dtype.kind not in "iuf":
        raise LeftOut("unreadable", f"an array of {values.dtype} instead of numbers")
    least, top = values.min(), values.max()  # NaN where one is
    if not (np.isfinite(least) and np.isfinite(top)):
        raise LeftOut("unreadable", "values that are not finite")
    if least < 0:
        raise LeftOut("unreadable", f"negative values, down to {least:.6g}: scale to 0..1 or 0..255")
    if values.dtype.kind in "iu":
        bits = next((bits for bits in DEPTHS if int(top) < 1 << bits), int(top).bit_length())
        return (values >> (bits - 8)).astype(np.uint8)
    if 1 < top < LEAST_TOP or top > 255:
        raise LeftOut("unreadable", f"values up to {top:.6g}, neither 0..1 nor 0..255: scale or clip them")
    return np.rint(values.astype(np.float64) * (255 if top <= 1 else 1)).astype(np.uint8)


def _recognise(data: bytes) -> str:
    """What the bytes of a file are that is no picture of Pillow's, and what to do."""
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not data:
        return "an empty file"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the picture: fetch it with `git lfs pull`"
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page instead of a picture: download it again"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"mif1", b"msf1"):
        return "a HEIC picture, which Pillow does not read: convert it to JPEG or PNG"
    if start.startswith(b"%pdf"):
        return "a PDF document: save its picture as JPEG or PNG"
    if not any(data):
        return f"{len(data)} bytes, all zero, as a broken copy leaves"
    return f"no image format that Pillow knows, {len(data)} bytes"


def _is_path(data: bytes) -> bool:
    """Whether bytes are the name of something that is there: no picture is."""
    return 0 < len(data) < 4096 and b"\0" not in data and os.path.lexists(data)


def _name_kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _say(error: Exception) -> str:
    text = getattr(error, "strerror", None) or error
    return (f"{type(error).__name__}: {text}".splitlines() or [""])[0][:200]


def _unreadable(error: Exception) -> LeftOut:
    return LeftOut("unreadable", _say(error))


@contextmanager
def _no_warnings() -> Iterator[None]:
    """No warnings of Pillow's parsers, but an exception for too many pixels. One thread at a time: filters are shared.

    What is decoded decides whether a picture is used; a strange tag beside it does not.
    """
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
