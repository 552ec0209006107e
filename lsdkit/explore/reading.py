"""The explorer of notebook 07: upload a photograph, choose a face of it, and see each step from there to the vote."""

import io
from functools import cache

import numpy as np
from PIL import Image

from lsdkit.data.pictures import open_picture, quote_name
from lsdkit.explore.explorer import PARTS, Answer, Explorer
from lsdkit.explore.packing import name_members
from lsdkit.figures import inside as panels
from lsdkit.figures.readings import fit_text
from lsdkit.figures.style import LABELS, Figure, new_axes, styled
from lsdkit.reading import reading as readings
from lsdkit.reading.inside import Inside, look_inside
from lsdkit.reading.searching import Picture

NAME = 60  # characters of a file's name
WIDTH, HEIGHT = 420, 300  # pixels of the photograph as it is shown, at most


@styled
def steps(picture: Image.Image, reading: readings.Reading, inside: Inside, *, face: int = 1, member: int = 1) -> Figure:
    """One figure from the photograph to the vote, for one `face` of it as one `member` sees it; both from 1.

    picture: upright, as `open_picture` gives it. inside: what `look_inside` says of that face.
    """
    one, chosen = inside.members[member - 1], reading.faces[face - 1]
    drawn = Figure(figsize=(11.2, 5.6), layout="constrained")
    upper, lower = drawn.subfigures(2, 1, height_ratios=(1.2, 1))
    ratio = np.clip(picture.width / picture.height, 0.75, 1.6)
    axes = upper.subplots(1, 4, width_ratios=(ratio, 1, 1, 1), subplot_kw={"anchor": "NW"})
    boxes, points = [each.box for each in reading.faces], [each.landmarks for each in reading.faces]
    panels.draw_found(axes[0], np.asarray(picture), boxes, points, face - 1, "1  found")
    panels.draw_picture(axes[1], inside.crop, "2  cut out, level")
    panels.draw_picture(axes[2], one.seen, f"3  member {member} is shown")
    panels.draw_landmarks(axes[3], inside.crop, inside.landmarks, inside.predicted, "4  landmarks")
    axes = lower.subplots(1, len(one.attention) + 1, width_ratios=(*[1] * len(one.attention), 1.5))
    for number, (ax, one_map) in enumerate(zip(axes, one.attention, strict=False), start=1):
        panels.draw_attention(ax, inside.crop, one_map, one.window, float(one.attention.max()), f"5  head {number}")
    votes = np.array([each.probabilities for each in inside.members])
    panels.draw_vote(axes[-1], votes, chosen.probabilities, "6  the vote")
    return drawn


class Reading(Explorer):
    """Upload a photograph and see `steps`: which of its faces, which member of a model, which head.

    `model`: what `lsdkit.read` takes. Before the first upload `picture`, called `name`, is shown. What cannot be read,
    and a photograph without a face, are said, and the next upload is awaited. A photograph goes to this kernel alone.
    """

    script = "reading"
    shared = ("maps.js",)
    title = "From a photograph to the vote, step by step"

    def __init__(self, model: readings.Model, picture: Picture, name: str):
        self.panel = readings.load_panel(model)
        self._parts: list[bytes] = []  # of a file that is being uploaded
        self._open(picture, name)
        super().__init__()

    @styled
    def still(self) -> Figure:
        """The steps of the first face; where there is none, why."""
        if self.reading.faces:
            return steps(self.photograph, self.reading, self.look(1))
        drawn, axes = new_axes(1, 1, 8, 0.6)
        axes[0, 0].axis("off")
        axes[0, 0].text(0, 0.5, f"{self.name}: {self.reading.reason}", va="center", parse_math=False)
        return drawn

    def answer_start(self) -> Answer:
        """What does not depend on the photograph."""
        named = {"model": self.panel.name, "members": name_members(self.panel)}
        return {"classes": LABELS, "parts": PARTS, **named}, []

    def answer_upload(self, name: str, place: int, last: bool, buffers: list[memoryview]) -> Answer:
        """Take a part of a file, the first at `place` 0; the last one is read with all before it.

        A whole photograph in one message may be more than Jupyter's server takes.
        """
        self._parts = [*self._parts[:place], bytes(buffers[0])]
        if last:
            content, self._parts = b"".join(self._parts), []
            self._open(io.BytesIO(content), name)  # bytes alone might spell the path of a file here
        return {}, []

    def answer_photograph(self) -> Answer:
        """The photograph at the size that is shown, and its faces: boxes and landmarks in pixels of the original."""
        said = {"name": self.name, "reason": self.reading.reason, "size": self.reading.size}
        said["faces"] = [
            {"box": each.box, "found": each.found, "probabilities": each.probabilities.tolist()}
            for each in self.reading.faces
        ]
        if self.photograph is None:
            return said | {"shown": (0, 0)}, []
        shown = self.photograph.copy()
        shown.thumbnail((WIDTH, HEIGHT), reducing_gap=3)
        points = np.array([each.landmarks for each in self.reading.faces], np.float32)
        return said | {"shown": shown.size}, [np.asarray(shown), points]

    def answer_face(self, face: int) -> Answer:
        """Each step of a face, from 1: its crop and landmarks, then what each member is shown, and its maps."""
        inside = self.look(face)
        said = {"size": len(inside.crop), "placed": inside.predicted is not None}
        said["members"] = [
            {
                "seen": len(each.seen),
                "map": each.attention.shape,
                "window": each.window,
                "probabilities": each.probabilities.tolist(),
            }
            for each in inside.members
        ]
        placed = np.full((68, 2), np.nan) if inside.predicted is None else inside.predicted
        arrays = [inside.crop, inside.landmarks.astype(np.float32), placed.astype(np.float32)]
        for each in inside.members:
            arrays += [each.seen, each.attention.astype(np.float32)]
        return said, arrays

    def _open(self, source: Picture, name: str) -> None:
        """Read a picture and take the place of the one before."""
        self.name, self.reading = fit_text(quote_name(name), NAME), readings.read(source, model=self.panel)
        self.photograph = open_picture(source) if self.reading.size != (0, 0) else None
        self.look = cache(lambda face: look_inside(self.photograph, self.reading.faces[face - 1], self.panel))
