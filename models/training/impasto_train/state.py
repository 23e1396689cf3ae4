"""A smaller state: weights as they are, optimizer moments in half the bits, for the repository."""

import torch


def halved(value):
    """Floating-point tensors of more than one number as bfloat16, everything below dictionaries and lists too."""
    if isinstance(value, torch.Tensor):
        return value.bfloat16() if value.is_floating_point() and value.numel() > 1 else value
    if isinstance(value, dict):
        return {key: halved(item) for key, item in value.items()}
    if isinstance(value, list):
        return [halved(item) for item in value]
    return value


def compact(source, output):
    """Writes the state of `source` with its optimizers in bfloat16; loading converts them back."""
    state = torch.load(source, map_location="cpu", weights_only=True)
    state["optimizers"] = halved(state["optimizers"])
    torch.save(state, output)
