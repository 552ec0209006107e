"""Figures in one style: arrays in, matplotlib figures out."""
