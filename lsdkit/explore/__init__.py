"""Explorers for notebooks: controls above a picture."""
