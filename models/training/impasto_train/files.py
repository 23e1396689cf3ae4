"""Files of others and of one's own: errors name the file, and what is written under a name is there as a whole or not at all."""

import os
from pathlib import Path


def check_writable(path):
    """Fails where `path` cannot become a file, so that no work is lost at its end."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"'{path}' is a folder (expected the name of a file to write)")
    if not path.parent.is_dir():
        raise ValueError(f"'{path}' cannot be written: there is no folder '{path.parent}' (make it first)")


def write_whole(path, write):
    """Lets `write` fill a temporary file beside `path`, and renames it; what is no ordinary file, as /dev/null, is written to."""
    path = Path(path).resolve()
    if path.exists() and not path.is_file():
        return write(path)
    temporary = Path(f"{path}.part")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_torch(path, expected, device="cpu"):
    """What PyTorch saved in `path`; `expected` says in words what it should be."""
    import torch

    try:
        return torch.load(path, map_location=device, weights_only=True)
    except OSError:
        raise
    # Bytes that PyTorch did not write end in errors of every kind.
    except Exception as error:
        raise ValueError(f"'{path}' cannot be read (expected {expected})") from error


def read_state(path, device="cpu"):
    """The state that a training saved."""
    expected = "the state.pt of a training"
    state = read_torch(path, expected, device)
    if not isinstance(state, dict) or state.get("version") != 1:
        raise ValueError(f"'{path}' holds something else (expected {expected})")
    return state


def read_onnx(path):
    """The model in an ONNX file."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(path, format="protobuf")
    except DecodeError as error:
        raise ValueError(f"'{path}' is no ONNX file: {error}") from error


def read_exported(path):
    """Model, weights and styles of a network that `export` wrote: weights by name as float32 tensors, also of half precision."""
    import torch
    from onnx import numpy_helper

    model = read_onnx(path)
    metadata = {p.key: p.value for p in model.metadata_props}
    if "impasto.styles" in metadata and any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        raise ValueError(f"'{path}' is in integers already (expected the network that `export` wrote, before `quantize`)")
    # `export --half` stores weights under other names.
    weights = {
        i.name.removesuffix(".half"): torch.from_numpy(numpy_helper.to_array(i).astype("float32"))
        for i in model.graph.initializer
    }
    if "impasto.styles" not in metadata or "stem.conv.weight" not in weights:
        raise ValueError(f"'{path}' is no network of impasto (expected one that `export` wrote)")
    return model, weights, metadata["impasto.styles"].split(",")
