"""The widget of notebook 07: upload a photograph, choose a face of it, and see each step from there to the vote."""

import ipywidgets
import numpy as np
from PIL import Image

from lsdkit.data.pictures import open_picture, quote_name
from lsdkit.explore.widgets import EVERY, Explorer, say
from lsdkit.figures import inside as panels
from lsdkit.figures.plots import Figure, styled
from lsdkit.figures.readings import fit_text
from lsdkit.prediction import Panel
from lsdkit.reading.inside import Inside, look_inside
from lsdkit.reading.reading import Reading, read
from lsdkit.reading.searching import Picture

NAME = 60  # characters of a file's name


@styled
def steps(
    picture: Image.Image, reading: Reading, inside: Inside, *, face: int = 1, member: int = 1, head: int | str = EVERY
) -> Figure:
    """One figure from the photograph to the vote, for one `face` of it as one `member` sees it; both from 1.

    picture: upright, as `open_picture` gives it. inside: what `look_inside` says of that face. head: the one whose map
    is drawn, from 1, or "all".
    """
    one, chosen = inside.members[member - 1], reading.faces[face - 1]
    maps = dict(enumerate(one.attention, start=1))
    shown = maps if head not in maps else {head: maps[head]}
    drawn = Figure(figsize=(11.2, 5.6), layout="constrained")
    upper, lower = drawn.subfigures(2, 1, height_ratios=(1.2, 1))
    ratio = np.clip(picture.width / picture.height, 0.75, 1.6)
    axes = upper.subplots(1, 4, width_ratios=(ratio, 1, 1, 1), subplot_kw={"anchor": "NW"})
    boxes, points = [each.box for each in reading.faces], [each.landmarks for each in reading.faces]
    panels.draw_found(axes[0], np.asarray(picture), boxes, points, face - 1, "1  found")
    panels.draw_picture(axes[1], inside.crop, "2  cut out, level")
    panels.draw_picture(axes[2], one.seen, f"3  member {member} is shown")
    panels.draw_landmarks(axes[3], inside.crop, inside.landmarks, inside.predicted, "4  landmarks")
    axes = lower.subplots(1, len(shown) + 1, width_ratios=(*[1] * len(shown), 1.5))
    for ax, (number, one_map) in zip(axes, shown.items(), strict=False):
        panels.draw_attention(ax, inside.crop, one_map, one.window, float(one.attention.max()), f"5  head {number}")
    votes = np.array([each.probabilities for each in inside.members])
    panels.draw_vote(axes[-1], votes, chosen.probabilities, "6  the vote")
    return drawn


class ReadingExplorer(Explorer):
    """Upload a photograph and see `steps`: which of its faces, which member of a model, which head.

    Before the first upload `picture`, called `name`, is shown. What cannot be read, and a photograph without a face,
    are said, and the next upload is awaited.
    """

    def __init__(self, panel: Panel, picture: Picture, name: str):
        voters, heads = len(panel.voters), max(voter.member.recipe.heads for voter in panel.voters)
        controls = {
            "upload": ipywidgets.FileUpload(accept="image/*", description="Photograph"),
            "face": ipywidgets.BoundedIntText(1, min=1, max=1, description="Face"),
            "member": ipywidgets.BoundedIntText(1, min=1, max=voters, description="Member", disabled=voters == 1),
            "head": ipywidgets.Dropdown(options=[EVERY, *range(1, heads + 1)], description="Head"),
        }
        self.panel, self.face = panel, controls["face"]
        self._open(picture, name)
        controls["upload"].observe(self._take, names="value")  # comes before the picture is drawn anew
        super().__init__(self._show, controls)

    def _take(self, change: dict) -> None:
        """Read what was uploaded."""
        for file in change["new"]:
            self.message.value = f"Reading {fit_text(quote_name(file['name']), NAME)} ..."
            self._open(bytes(file["content"]), file["name"])

    def _open(self, source: Picture, name: str) -> None:
        self.name, self.reading, self.insides = fit_text(quote_name(name), NAME), read(source, model=self.panel), {}
        self.photograph = open_picture(source) if self.reading.size != (0, 0) else None
        self.face.max = max(1, len(self.reading.faces))
        self.face.disabled = len(self.reading.faces) < 2

    def _show(self, upload: tuple, face: int, member: int, head: int | str) -> Figure:
        if not self.reading.faces:
            return say(f"{self.name}: {self.reading.reason}")
        found = self.reading.faces[face - 1]
        if face not in self.insides:
            self.insides[face] = look_inside(self.photograph, found, self.panel)
        drawn = steps(self.photograph, self.reading, self.insides[face], face=face, member=member, head=head)
        which = f"face {face} of {len(self.reading.faces)}, {found.box[2]} pixels wide, found by {found.found}"
        drawn.set_label(f"{self.name}: {which}; {found.expression} {found.probability:.2f} by {self.panel.name}")
        return drawn
