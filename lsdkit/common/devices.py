"""Where networks run: the CPU, or a GPU that torch can use."""

import torch


def choose_device(name: str) -> torch.device:
    """The device "auto" (CUDA where there is one, else CPU), "cpu", "cuda" or "cuda:N"; `ValueError` for any other."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    valid = ["auto", "cpu"] + ["cuda"] * torch.cuda.is_available()
    valid += [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if name not in valid:
        raise ValueError(f"Expected `DEVICE` to be one of {', '.join(map(repr, valid))}, but got {name!r}")
    return torch.device(name)
