"""The open set: faces that the kit renders itself, in the layout of the LSD release. None of them is a photograph."""

from lsdkit.openset.release import render_release
from lsdkit.openset.render import Face, render_face

__all__ = ["Face", "render_face", "render_release"]
