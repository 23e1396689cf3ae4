"""VGG-16 up to relu4_3, the eye of the losses: features at relu1_2, relu2_2, relu3_3 and relu4_3.

The weights are those of the Keras model (Caffe's training): BGR, 0–255 minus the mean. They come from an ONNX file that
carries the unchanged convolutions of `block1_conv1` … `block4_conv3`; README.md names the package.
"""

import torch
import torch.nn.functional as F
from torch import nn

from . import files

MEAN_BGR = (103.939, 116.779, 123.68)
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512))
# First weight and bias of block1_conv1 in the published model: what is loaded must start with them.
FIRST_WEIGHT, FIRST_BIAS = 0.42947057, 0.73429835


class Vgg16(nn.Module):
    """`forward(image, blocks)`: image `[B, 3, H, W]` RGB 0–255; a list of the last ReLU of the first `blocks` blocks."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList()
        channels = 3
        for block in BLOCKS:
            for out_channels in block:
                self.convs.append(nn.Conv2d(channels, out_channels, 3, padding=1))
                channels = out_channels
        self.register_buffer("mean", torch.tensor(MEAN_BGR).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, image, blocks=4):
        dtype = self.convs[0].weight.dtype
        x = (image.flip(1) - self.mean).to(dtype, memory_format=torch.channels_last)
        features, index = [], 0
        for number, block in enumerate(BLOCKS[:blocks]):
            if number:
                x = F.max_pool2d(x, 2)
            for _ in block:
                x = F.relu_(self.convs[index](x))
                index += 1
            features.append(x)
        return features


def load(path):
    """Reads the convolutions out of an ONNX file, or out of the `.pt` that `pack` wrote; checks that they are the published ones."""
    network = Vgg16()
    weights = of_pack(path) if str(path).endswith(".pt") else of_onnx(path, len(network.convs))
    shapes = {name: getattr(value, "shape", None) for name, value in weights.items()}
    if shapes != {name: value.shape for name, value in network.state_dict().items()}:
        raise ValueError(f"'{path}' is no VGG-16 of the form that README.md names or that `pack` writes")
    network.load_state_dict(weights)
    found = (network.convs[0].weight.flatten()[0].item(), network.convs[0].bias[0].item())
    if max(abs(found[0] - FIRST_WEIGHT), abs(found[1] - FIRST_BIAS)) > 1e-3:
        raise ValueError(f"'{path}' is not the published VGG-16: starts with {found}")
    return network


def of_pack(path):
    """The weights by name that `pack` wrote."""
    weights = files.read_torch(path, "the vgg16.pt that `pack` wrote")
    return weights if isinstance(weights, dict) else {}


def of_onnx(path, count):
    """Weights and biases of the first `count` convolutions of the graph in the file, under the names that they have here; `None` where there is none."""
    from onnx import numpy_helper

    graph = files.read_onnx(path).graph
    stored = {i.name: i for i in graph.initializer}
    weights = {}
    for index, node in enumerate([node for node in graph.node if node.op_type == "Conv"][:count]):
        for part, name in zip(("weight", "bias"), node.input[1:3]):
            array = numpy_helper.to_array(stored[name]).copy() if name in stored else None
            weights[f"convs.{index}.{part}"] = None if array is None else torch.from_numpy(array)
    return weights
