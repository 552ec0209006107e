"""What photographs are like besides their expression, as measures and as groups of fixed thresholds.

    colour      grey or coloured: how far a pixel's channels lie apart
    size        pixels between the outer eye corners in the photograph; our crops of 112 px have about 60
    pose        how far the head is turned to a side, degrees, by the nose's place between the eyes
    brightness  mean luma of the inner face as models see it, 0 to 255

`lsdkit.photographs.groups` scores the groups. A photograph without a face is in none.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from lsdkit.common import files
from lsdkit.common.landmarks import EYE_CORNERS, eye_distance
from lsdkit.data.decoding import decode_table
from lsdkit.data.detection import ATTEMPTS, find_face
from lsdkit.data.readers import Listing
from lsdkit.data.store import Store
from lsdkit.photographs.views import INNER, Faces

NOSE_TIP = 30
NOSE_DEPTH = 0.88  # of the tip before the eye corners, in half their distance: fitted to 4,806 rendered heads


@dataclass(frozen=True)
class Trait:
    """A measure of a photograph and the groups that `edges` cut it into: below the first edge is the first group."""

    name: str
    edges: tuple[float, ...]
    groups: tuple[str, ...]


TRAITS = (
    Trait("colour", (3.0,), ("grey", "coloured")),
    Trait("size", (32.0, 64.0), ("below 32 px", "32 to 64 px", "64 px and more")),
    Trait("pose", (10.0, 20.0), ("below 10 degrees", "10 to 20 degrees", "20 degrees and more")),
    Trait("brightness", (100.0, 140.0), ("below 100", "100 to 140", "140 and more")),
)
MEASURES = tuple(trait.name for trait in TRAITS)


@dataclass
class Look:
    """A `transform` of `lsdkit.data.decoding.decode_table`: in place of landmarks, a photograph's colour and eye size.

    how: key -> how its face was found, the store's column `landmarks`; the same attempt is made again, no other.
    """

    how: dict[str, str] = field(default_factory=dict)

    def __call__(self, image: Image.Image, key: str) -> tuple[Image.Image, np.ndarray, str]:
        named = {attempt.name: attempt for attempt in ATTEMPTS}
        attempt = named.get(self.how.get(key, "").partition(", largest of")[0])
        face = find_face(image, (attempt,)) if attempt else None
        eyes = np.nan if face is None else float(eye_distance(face.points))
        return image.resize((1, 1)), np.array([measure_colour(np.asarray(image)), eyes]), ""


def measure_photographs(
    listing: Listing, faces: Faces, out: Path, *, jobs: int | None = None, progress: bool = True
) -> pd.DataFrame:
    """Every photograph of a listing, a row each in its order, with its `key` and `MEASURES`; NaN where it has no face.

    What needs the photographs themselves, colour and size, is kept in the file `out`, and measured again for a store
    that was made anew.
    """
    store = faces.store
    values = _look_again(listing, store, out, jobs, progress).set_index("key")
    values["pose"] = measure_yaw(store.landmarks)
    values["brightness"] = [float(np.mean(Image.fromarray(image).convert("L"))) for image in faces.seen(INNER).images]
    return values.reindex(listing.table["key"]).rename_axis("key").reset_index()[["key", *MEASURES]]


def _look_again(listing: Listing, store: Store, out: Path, jobs: int | None, progress: bool) -> pd.DataFrame:
    """key, colour, size and store (its checksum) of the photographs that have a face, in the store's order."""
    checksum = store.manifest["checksums"]["faces.csv"]
    if out.is_file():
        kept = pd.read_csv(out, dtype={"key": str, "store": str}, keep_default_na=False, na_values={"size": [""]})
        if kept["key"].tolist() == store.keys and set(kept["store"]) == {checksum}:
            return kept
    look = Look(dict(zip(store.keys, store.faces["landmarks"], strict=True)))
    table = listing.table[listing.table["key"].isin(store.keys)]
    found = decode_table(table, listing.root, 1, look, jobs, progress)
    measured = {row.key: result[1] for row, _, result in found if isinstance(result, tuple)}
    values = pd.DataFrame.from_dict(measured, orient="index", columns=["colour", "size"])
    values = values.reindex(store.keys).rename_axis("key").reset_index().assign(store=checksum)
    files.write_table(out, values)
    return values


def measure_colour(pixels: np.ndarray) -> float:
    """How far the channels of a pixel lie apart, the largest less the smallest: mean over uint8 (H, W, 3), 0 to 255.

    >>> measure_colour(np.full((2, 2, 3), 7, np.uint8))
    0.0
    """
    return float((pixels.max(-1).astype(int) - pixels.min(-1)).mean())


def measure_yaw(points: np.ndarray) -> np.ndarray:
    """How far heads are turned to a side, degrees (N,), from landmarks (N, 68, 2); NaN where they are missing.

    A head that turns by a moves the nose's tip sideways by its depth times sin a, and brings the outer eye corners
    together by cos a: in half the corners' distance, the tip lies `NOSE_DEPTH` tan a beside their middle. On rendered
    heads this errs by 3 degrees (standard deviation); faces differ, so that it is rough.
    """
    left, right = (points[:, corner].astype(float) for corner in EYE_CORNERS)
    across, nose = (right - left) / 2, points[:, NOSE_TIP] - (left + right) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = (nose * across).sum(1) / (across**2).sum(1)
    return np.rad2deg(np.arctan(np.abs(shift) / NOSE_DEPTH))
