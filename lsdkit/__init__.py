"""Facial expressions in photographs, learned from synthetic faces (Jeong et al., ECCV 2022 Workshops)."""

__version__ = "0.1.0"
