"""The open set: faces that the kit renders itself, in the layout of the LSD release. None of them is a photograph."""
