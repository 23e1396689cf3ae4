"""Starts a network from the weights of an exported one, so that minutes of training are not spent on learning to see.

Takes this program's files and the seed's (whose names are shorter and whose residual blocks are all at 1/8). A block that the file does not
have begins as the identity; a smaller kernel sits in the middle of a larger one; a style that the file does not have begins as the mean of
those that it has.
"""

import onnx
import torch
from onnx import numpy_helper


def renamed(name):
    """The name that this program gives to a weight of the seed."""
    name = name.replace(".c.", ".conv.").replace(".n.", ".norm.")
    return name.replace("blocks.", "coarse.")


def centered(weight, kernel):
    """`weight` in the middle of zeros."""
    margin = (kernel - weight.shape[-1]) // 2
    return torch.nn.functional.pad(weight, [margin] * 4)


def start_from(network, path, style_names):
    """Fills `network`; returns the names of what the file did not have."""
    model = onnx.load(path)
    found = {renamed(i.name): torch.from_numpy(numpy_helper.to_array(i).copy()) for i in model.graph.initializer}
    metadata = {p.key: p.value for p in model.metadata_props}
    known = metadata["impasto.styles"].split(",")
    # pixel_unshuffle puts the color first, SpaceToDepth the place.
    stem = found["stem.conv.weight"]
    found["stem.conv.weight"] = stem.unflatten(1, (16, 3)).transpose(1, 2).flatten(1, 2)
    if "gain" in found:  # the seed's factor from the head to levels
        for part in ("head.weight", "head.bias"):
            found[part] = found[part] * found["gain"] / 127.5
    missing = []
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            value = found.get(name)
            if value is None:
                missing.append(name)
                if name.endswith("b.norm.gamma"):
                    parameter.mul_(0).add_(0.01)
                elif name.endswith("b.norm.beta"):
                    parameter.zero_()
            elif parameter.ndim == 2:
                mean = value.mean(0)
                for row, style in enumerate(style_names):
                    parameter[row] = value[known.index(style)] if style in known else mean
            elif parameter.ndim == 4:
                parameter.copy_(centered(value, parameter.shape[-1]))
            else:
                parameter.copy_(value)
    return missing
