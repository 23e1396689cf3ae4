"""Rounds the convolutions of an exported network to 8-bit integers, for processors that multiply them faster than floats.

Each convolution's weights (a scale for each output channel) and its input and output (a scale for each tensor, from the
99.99th percentile over photos in every style) are rounded, as QuantizeLinear and DequantizeLinear around it say; everything else,
instance normalization first of all, stays in 32-bit floats (Jacob et al. 2018, "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference"). Styles are where they were.

What is left is moving pixels about, so the graph is rearranged first, to do that on few of them:
- a convolution of doubled pixels is one of the pixels themselves with four results each, its taps summed where they met the same pixel;
- the head takes these four as channels and gives the sixteen pixels of a quarter's one;
- the arithmetic on levels goes into the weights of the first and the last convolution.
That computes the same but for the head's padding, which repeats where it reflected: the outermost pixels.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

from . import data, files
from .export import Graph, HALF_RANGE, model_of
from .network import SIZES

PHOTOS = 12
SIZE = (320, 192)
PERCENTILE = 99.99


class Pictures(CalibrationDataReader):
    """Every photo in every style."""

    def __init__(self, photos, styles):
        self.inputs = iter([
            {"image": read(photo), "style": row[None]} for photo in photos for row in np.eye(styles, dtype=np.float32)
        ])

    def get_next(self):
        return next(self.inputs, None)


def read(path):
    """A photo as `[1, 3, H, W]`, RGB, 0–255, of the size that scales are measured at."""
    return np.asarray(data.open_picture(path).resize(SIZE), np.float32).transpose(2, 0, 1)[None]


def of_undoubled(weight):
    """`[O, I, 3, 3]` on doubled pixels as `[4·O, I, 3, 3]` on the pixels; result `4·o + 2·y + x` is that at row y and column x of the four."""
    outputs, inputs = weight.shape[:2]
    rearranged = torch.zeros(outputs, 2, 2, inputs, 3, 3)
    for y, x, row, column in np.ndindex(2, 2, 3, 3):
        rearranged[:, y, x, :, (y + row - 1) // 2 + 1, (x + column - 1) // 2 + 1] += weight[:, :, row, column]
    return rearranged.flatten(0, 2)


def of_fours(weight):
    """`[O, I, 5, 5]` as `[O, 2, 2, 4·I, 3, 3]` on pixels whose four lie in the channels; the second and third axis are its own four."""
    outputs, inputs = weight.shape[:2]
    rearranged = torch.zeros(outputs, 2, 2, inputs, 2, 2, 3, 3)
    for y, x, row, column in np.ndindex(2, 2, 5, 5):
        down, right = y + row - 2, x + column - 2
        rearranged[:, y, x, :, down % 2, right % 2, down // 2 + 1, right // 2 + 1] += weight[:, :, row, column]
    return rearranged.flatten(3, 5)


def rearranged(model, weights, styles):
    """The network with less to move about, of what `files.read_exported` gives."""
    weights = dict(weights)
    size = model.graph.name.removeprefix("impasto-")
    channels = SIZES[size].half
    stem = weights["stem.conv.weight"]
    weights["stem.conv.bias"] = weights["stem.conv.bias"] - stem.sum((1, 2, 3))
    weights["stem.conv.weight"] = stem / HALF_RANGE
    weights["fuse.conv.weight"] = of_undoubled(weights["fuse.conv.weight"])
    weights["fuse.conv.bias"] = weights["fuse.conv.bias"].repeat_interleave(4)
    # DepthToSpace by 2 of the head's results and then of the four is one by 4: rows of both, columns of both.
    head = of_fours(weights["head.weight"] * HALF_RANGE).unflatten(0, (3, 2, 2))
    weights["head.weight"] = head.permute(0, 3, 1, 4, 2, 5, 6, 7).flatten(0, 4)
    bias = (weights["head.bias"] * HALF_RANGE + HALF_RANGE).view(3, 1, 2, 1, 2)
    weights["head.bias"] = bias.expand(3, 2, 2, 2, 2).flatten()

    graph = Graph(weights)
    quarter = graph.stem_on(graph.node("SpaceToDepth", ["image"], blocksize=4))
    x = graph.trunk(quarter, SIZES[size])
    x = graph.conv(x, "fuse.conv", mode="edge")
    joined = graph.constant("joined", np.array([0, channels, -1, 0], np.int64))
    fours = graph.constant("fours", np.array([0, 4 * channels, -1, 0], np.int64))
    x = graph.relu(graph.norm(graph.node("Reshape", [x, joined]), "fuse"))
    x = graph.conv(graph.node("Reshape", [x, fours]), "head", mode="edge")
    x = graph.node("DepthToSpace", [x], blocksize=4, mode="CRD")
    graph.clipped(x)
    return model_of(graph, size, styles, {p.key: p.value for p in model.metadata_props})


def quantize(network, output, photos):
    """Writes the rounded form of `network`; `photos` are files, of which the first ones are looked at."""
    files.check_writable(output)
    model, weights, styles = files.read_exported(network)
    if model.graph.name.removeprefix("impasto-") not in SIZES:
        raise ValueError(f"'{network}' is of no known size (expected {' or '.join(SIZES)}): its graph is called '{model.graph.name}'")
    with tempfile.TemporaryDirectory() as folder:
        plain, rounded = str(Path(folder) / "rearranged.onnx"), str(Path(folder) / "rounded.onnx")
        onnx.save(rearranged(model, weights, styles), plain)
        round_convolutions(plain, rounded, Pictures(photos[:PHOTOS], len(styles)))
        written = onnx.load(rounded)
    onnx.helper.set_model_props(written, {p.key: p.value for p in model.metadata_props})
    files.write_whole(output, lambda path: onnx.save(written, path))


def round_convolutions(network, output, pictures):
    """Writes `network` with its convolutions rounded, by what they meet in `pictures`."""
    quantize_static(
        network,
        output,
        pictures,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.Percentile,
        extra_options={"CalibPercentile": PERCENTILE},
    )
