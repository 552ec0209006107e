"""Faces on a map: features of a network brought to two dimensions, so that what it takes for alike lies together."""

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

COMPONENTS = 30  # principal components that are kept
LEAST = 10  # faces; of fewer the map is the first two components


def map_features(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places (N, 2), each axis from -1 to 1, for features (N, D): t-SNE of their principal components, by scikit-learn.

    Neighbours are kept, distances between groups are not (van der Maaten and Hinton, *Visualizing Data using t-SNE*,
    JMLR 9, 2008). `seed` decides the draw.
    """
    features = np.asarray(features, dtype=np.float64)
    count, differ = min(COMPONENTS, *features.shape), np.ptp(features, axis=0).any()
    places = np.zeros((len(features), 2))
    if differ and count > 1:
        places = PCA(count, random_state=seed).fit_transform(features)
    if len(features) >= LEAST and places.any():
        perplexity = min(30, (len(features) - 1) / 3)
        places = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(places)
    low, high = places[:, :2].min(0), places[:, :2].max(0)
    return (2 * places[:, :2] - low - high) / np.maximum(high - low, 1e-12)
