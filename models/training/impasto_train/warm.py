"""Starts a network from the weights of an exported one, so that minutes of training are not spent on learning to see.

A block that the file does not have begins as the identity; a style that the file does not have begins as the mean of those that it has.
A wider network begins as the file's (Net2Net, Chen et al. 2016): its first channels are those of the file, and read nothing from the others yet.
"""

import torch

from . import files


def check_fits(network, found, path):
    """Fails where a weight of the file is larger than the network's; the rows of styles are told apart by name."""
    for name, parameter in network.named_parameters():
        if (value := found.get(name)) is None:
            continue
        first = 1 if parameter.ndim == 2 else 0
        has, room = value.shape[first:], parameter.shape[first:]
        if len(has) != len(room) or any(h > r for h, r in zip(has, room)) or has[2:] != room[2:]:
            raise ValueError(f"'{path}' does not fit a network of size {network.size}: '{name}' is {list(has)} (expected at most {list(room)})")


def start_from(network, path, style_names):
    """Fills `network`; returns the names of what the file did not have."""
    _, found, known = files.read_exported(path)
    check_fits(network, found, path)
    # pixel_unshuffle puts the color first, SpaceToDepth the place.
    stem = found["stem.conv.weight"]
    found["stem.conv.weight"] = stem.unflatten(1, (16, 3)).transpose(1, 2).flatten(1, 2)
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
                channels = value.shape[1]
                for row, style in enumerate(style_names):
                    parameter[row, :channels] = value[known.index(style)] if style in known else value.mean(0)
            elif parameter.ndim == 4:
                outs, ins = value.shape[:2]
                parameter[:outs, :ins] = value
                parameter[:outs, ins:] = 0
            else:
                parameter[: len(value)] = value
    return missing
