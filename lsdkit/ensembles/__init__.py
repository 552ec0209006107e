"""Votes over finished runs, and the five ensembles of the paper's Table 4 as rules over them."""
