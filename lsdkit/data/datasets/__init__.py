"""The public data sets of photographs, in the layouts that they are handed out in: a module for each, one way for all.

A module such as `affectnet` says what its data set's class codes mean and how its files are laid out, and lists
labelled faces as the files tell them (`labels`). `read_data_set` (`reading`) alone decides which of them are taken, and
names every other one and why. Faces that are no picture files of their own (boxes in photographs, numbers in a table)
are written as such (`lsdkit.data.unpacking`), so that what follows is the same for all sources.
"""

from lsdkit.data.datasets.reading import DATA_SETS, read_data_set

__all__ = ["DATA_SETS", "read_data_set"]
