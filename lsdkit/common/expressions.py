"""The six expressions of the LSD release: their order, and how they are spelled on disk.

The order 0..5 is the release's own; two further classes of the field, neutral and contempt, are known by
name so that faces of them are kept apart (for pre-training) instead of being lost.
"""

EXPRESSIONS = ("ANGER", "DISGUST", "FEAR", "HAPPINESS", "SADNESS", "SURPRISE")
EXTRA = ("NEUTRAL", "CONTEMPT")  # indices 6 and 7: kept in a store, never trained on by the six-class method
CLASSES = EXPRESSIONS + EXTRA
UNKNOWN = -1  # the label of a face whose expression is not given, such as a face of the release's test set

SPELLINGS = {
    "ANGER": ("anger", "angrer", "angry", "an", "ang"),
    "DISGUST": ("disgust", "disgusted", "di", "dis"),
    "FEAR": ("fear", "fearful", "afraid", "scared", "fe", "fea"),
    "HAPPINESS": ("happiness", "happy", "joy", "ha", "hap"),
    "SADNESS": ("sadness", "sad", "sa"),
    "SURPRISE": ("surprise", "surprised", "su", "sur"),
    "NEUTRAL": ("neutral", "neutrality", "ne", "neu"),
    "CONTEMPT": ("contempt", "contemptuous", "co", "con"),
}
_INDEX = {spelling: index for index, name in enumerate(CLASSES) for spelling in SPELLINGS[name]}


def index_of(spelling: str) -> int:
    """Index of an expression, 0..5 for the six classes, 6 for neutral and 7 for contempt.

    Case and surrounding blanks do not matter. Raises `ValueError` naming the accepted spellings.

    >>> index_of("ANGRER"), index_of("happy"), index_of("Neutral")
    (0, 3, 6)
    """
    try:
        return _INDEX[spelling.strip().lower()]
    except KeyError:
        known = "; ".join(f"{name}: {', '.join(words)}" for name, words in SPELLINGS.items())
        message = f"Expected the name of an expression, but got {spelling!r}. Known spellings: {known}"
        raise ValueError(message) from None


def recognise(spelling: str) -> str:
    """Name of the expression that a spelling stands for; the empty string where it stands for none.

    >>> recognise("Happy"), recognise("bored")
    ('HAPPINESS', '')
    """
    return name_of(_INDEX.get(spelling.strip().lower(), UNKNOWN))


def name_of(index: int) -> str:
    """Name of the expression with this index; the empty string for an unknown one (-1).

    >>> name_of(4), name_of(7), name_of(-1)
    ('SADNESS', 'CONTEMPT', '')
    """
    return "" if index == UNKNOWN else CLASSES[index]
