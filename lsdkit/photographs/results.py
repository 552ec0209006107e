"""What a benchmark leaves as JSON values: means over seeds and collections, and what a collection is."""

from collections.abc import Mapping, Sequence

from lsdkit.common.paths import project_path
from lsdkit.data.store import Store
from lsdkit.photographs import scores
from lsdkit.photographs.collection import RENDERED, Collection
from lsdkit.photographs.protocol import MODELS, OTHERS, SAME

PARTS = ("found", "all")  # the photographs with a face, and all of them

# (what it was trained on, collection, model) -> of each seed: the tally of each of `PARTS`
Tallies = dict[tuple[str, str, str], list[dict[str, scores.Tally]]]


def summarise(tallies: Tallies, names: Sequence[str]) -> dict:
    """Means of `scores.SCORES`, each with sd and intervals, of the collections of these names.

    `summary`: collection -> model -> part, means over the seeds; `mean_over_collections`: model -> part, of the models
    trained on rendered faces; `reference_means`: "other collections" and "same collection" -> model -> part, of those
    trained on photographs, over all pairs of collections and over the collections.
    """
    models = sorted({model for *_, model in tallies}, key=MODELS.index)
    pairs = {RENDERED: [], OTHERS: [], SAME: []}
    for trained_on, name in dict.fromkeys((trained_on, name) for trained_on, name, _ in tallies):
        kind = RENDERED if trained_on == RENDERED else OTHERS if trained_on in names else SAME
        pairs[kind].append((trained_on, name))

    def take(pair: tuple[str, str], model: str, part: str) -> list[scores.Tally]:
        return [each[part] for each in tallies[(*pair, model)]]

    summary = {
        name: {
            model: {part: scores.summarise_seeds(take((RENDERED, name), model, part)) for part in PARTS}
            for model in models
            if (RENDERED, name, model) in tallies
        }
        for name in names
    }
    means = {
        kind: {
            model: {
                part: scores.summarise_collections({pair: take(pair, model, part) for pair in chosen}) for part in PARTS
            }
            for model in models
            if chosen and all((*pair, model) in tallies for pair in chosen)
        }
        for kind, chosen in pairs.items()
    }
    return {"summary": summary, "mean_over_collections": means.pop(RENDERED), "reference_means": means}


def describe_collection(collection: Collection) -> Mapping:
    """What a collection is: where from, of which kind, its faces and people, and its store."""
    photographs = collection.photographs
    people = None if photographs.subjects is None else len(set(photographs.subjects))
    return {
        "source": collection.source,
        "kind": photographs.store.kind,
        "faces_found": photographs.count(),
        "without_a_face": photographs.lost,
        "found_how": photographs.how,
        "subjects": {"from": photographs.subjects_from, "number": people},
        "store": identify_store(photographs.store),
    }


def identify_store(store: Store) -> dict:
    """A store's place and the checksums of its files."""
    return {"path": str(project_path(store.path)), "checksums": store.manifest["checksums"]}
