"""Every setting of a DINO training, with what `lsdkit pretrain dino --help` says of it. Nothing heavy is imported."""

from dataclasses import dataclass, field, fields


def _setting(default: object, text: str, least: float = 0, most: float = float("inf")) -> object:
    return field(default=default, metadata={"help": text, "least": least, "most": most})


@dataclass(frozen=True, kw_only=True)
class DinoSettings:
    """Settings of one training. Defaults fit two CPU cores and some thousand faces; where they leave those of Caron et
    al. 2021 (section 3.2, "Implementation details"), docs/pretraining.md says why."""

    backbone: str = _setting("narrow", "which network, of `lsdkit.method.backbones`")
    weights: str = _setting("random", "where the backbone starts: random or a named set")
    image_size: int = _setting(48, "side of the two global crops, pixels", 16)
    local_size: int = _setting(24, "side of the local crops, pixels", 8)
    local_crops: int = _setting(4, "local crops of each face")
    crop_share: float = _setting(0.3, "area that global crops have at least and local ones at most", 0.05, 1)
    prototypes: int = _setting(1024, "outputs K of the head", 2)
    hidden: int = _setting(512, "width of the head's two hidden layers", 1)
    bottleneck: int = _setting(128, "width before the prototypes", 1)
    batch_size: int = _setting(64, "faces of a step", 2)
    epochs: int = _setting(120, "passes over the faces", 1)
    learning_rate: float = _setting(5e-3, "its peak, of AdamW; a cosine brings it to 1e-6")
    warmup_epochs: int = _setting(2, "epochs in which the rate grows to its peak")
    weight_decay: float = _setting(0.04, "at first, of weights (biases and norms have none)")
    weight_decay_end: float = _setting(0.4, "at the end of a cosine")
    clip: float = _setting(3.0, "largest norm of a step's gradient", 1e-9)
    momentum: float = _setting(0.996, "of the teacher, at first; a cosine brings it to 1", 0, 1)
    centre_momentum: float = _setting(0.9, "of the centre", 0, 1)
    student_temperature: float = _setting(0.1, "of the student's softmax", 1e-3)
    teacher_temperature: float = _setting(0.02, "of the teacher's, after its warm-up", 1e-3)
    teacher_temperature_start: float = _setting(0.02, "of the teacher's, at first", 1e-3)
    temperature_epochs: int = _setting(5, "epochs of that warm-up")
    frozen_epochs: int = _setting(1, "epochs in which the prototypes stay as they are")
    probe_every: int = _setting(10, "epochs between two measurements of k-NN, linear probe and landmarks", 1)
    seed: int = _setting(0, "every draw is a function of it")

    def __post_init__(self):
        for each in fields(self):
            value, least, most = getattr(self, each.name), each.metadata["least"], each.metadata["most"]
            if type(value) is not type(each.default) and not (type(value) is int and type(each.default) is float):
                raise ValueError(f"Expected `{each.name}` of type {type(each.default).__name__}, but got {value!r}")
            if not isinstance(value, str) and not least <= value <= most:
                raise ValueError(f"Expected `{each.name}` in {least:g}..{most:g}, but got {value}")
