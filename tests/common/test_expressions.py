import pytest

from lsdkit.common.expressions import EXPRESSIONS, EXTRA, SPELLINGS, index_of, name_of
from lsdkit.data.release import CLASS_FOLDERS


def test_the_releases_order_and_folders():
    assert EXPRESSIONS == ("ANGER", "DISGUST", "FEAR", "HAPPINESS", "SADNESS", "SURPRISE")
    assert [index_of(folder) for folder in CLASS_FOLDERS] == list(range(6))
    assert CLASS_FOLDERS[0] == "ANGRER"  # spelled so in the release


def test_every_spelling_means_one_class():
    words = [word for spellings in SPELLINGS.values() for word in spellings]
    assert len(words) == len(set(words))
    for index, name in enumerate(EXPRESSIONS + EXTRA):
        for word in (name, *SPELLINGS[name]):
            for form in (word, word.upper(), word.title(), f" {word}\n"):
                assert index_of(form) == index
        assert name_of(index) == name
    assert name_of(-1) == ""


@pytest.mark.parametrize("word", ["", "hapy", "0", "angriest"])
def test_an_unknown_spelling_lists_the_known_ones(word):
    with pytest.raises(ValueError, match="HAPPINESS: happiness, happy"):
        index_of(word)
