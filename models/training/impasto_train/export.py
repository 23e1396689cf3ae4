"""Writes the network as ONNX: the same graph as `network.py`, built node by node.

Where the styles are: every normalization `X` reads `X.norm.gamma` and `X.norm.beta`, `[styles, channels]`, mixes them by
`style` (MatMul, Squeeze), and gives them to InstanceNormalization as its scale and bias. Nothing else depends on the style, so that a new style
is a new row in each of these matrices.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import files
from .network import EPSILON, MULTIPLE, SIZES

OPSET, IR_VERSION = 17, 9
# Levels are 0–255, what convolutions meet −1 to 1.
HALF_RANGE = 127.5


class Graph:
    """Collects nodes and constants; every method returns the name of what it computes."""

    def __init__(self, weights):
        self.weights, self.nodes, self.constants = weights, [], {}

    def constant(self, name, value):
        self.constants[name] = np.ascontiguousarray(value)
        return name

    def node(self, kind, inputs, output=None, **attributes):
        output = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def weight(self, name):
        return self.constant(name, self.weights[name].detach().cpu().float().numpy())

    def conv(self, x, name, stride=1, mode="reflect"):
        weight = self.weights[f"{name}.weight"]
        pad = weight.shape[2] // 2
        pads = self.constant(f"pads{pad}", np.array([0, 0, pad, pad] * 2, np.int64))
        x = self.node("Pad", [x, pads], mode=mode)
        return self.node(
            "Conv",
            [x, self.weight(f"{name}.weight"), self.weight(f"{name}.bias")],
            kernel_shape=list(weight.shape[2:]),
            pads=[0] * 4,
            strides=[stride] * 2,
        )

    def conv_norm(self, x, name, stride=1):
        return self.norm(self.conv(x, f"{name}.conv", stride), name)

    def norm(self, x, name):
        axis = self.constant("axis0", np.array([0], np.int64))
        scale, shift = (
            self.node("Squeeze", [self.node("MatMul", ["style", self.weight(f"{name}.norm.{part}")]), axis])
            for part in ("gamma", "beta")
        )
        return self.node("InstanceNormalization", [x, scale, shift], epsilon=EPSILON)

    def relu(self, x):
        return self.node("Relu", [x])

    def residual(self, x, name):
        branch = self.conv_norm(self.relu(self.conv_norm(x, f"{name}.a")), f"{name}.b")
        return self.node("Add", [x, branch])

    def doubled(self, x):
        scales = self.constant("scales", np.array([1, 1, 2, 2], np.float32))
        return self.node(
            "Resize",
            [x, "", scales],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def stem_on(self, x):
        return self.relu(self.conv_norm(x, "stem"))

    def trunk(self, quarter, shape):
        """From what the stem sees to what is doubled last."""
        x = self.relu(self.conv_norm(quarter, "down", stride=2))
        for index in range(shape.eighth_blocks):
            x = self.residual(x, f"coarse.{index}")
        x = self.node("Add", [self.doubled(self.relu(self.conv_norm(x, "up"))), quarter])
        for index in range(shape.quarter_blocks):
            x = self.residual(x, f"fine.{index}")
        return x

    def clipped(self, x):
        low, high = self.constant("low", np.array(0, np.float32)), self.constant("high", np.array(255, np.float32))
        return self.node("Clip", [x, low, high], output="stylized")


def build(size, weights, style_names, metadata):
    """The ONNX model of a network of `size` with the given weights (names as in `StyleNetwork.state_dict`)."""
    graph, shape = Graph(weights), SIZES[size]
    half = graph.constant("half", np.array([HALF_RANGE], np.float32))
    one = graph.constant("one", np.array([1], np.float32))
    # A convolution reads what pixel_unshuffle made, channel by channel; SpaceToDepth puts the channels last.
    stem = weights["stem.conv.weight"]
    channels, kernel = stem.shape[0], stem.shape[2]
    weights = dict(weights)
    weights["stem.conv.weight"] = (
        stem.view(channels, 3, 16, kernel, kernel).transpose(1, 2).reshape(channels, 48, kernel, kernel)
    )
    graph.weights = weights
    x = graph.node("Sub", [graph.node("Div", ["image", half]), one])
    x = graph.node("SpaceToDepth", [x], blocksize=4)
    x = graph.trunk(graph.stem_on(x), shape)
    x = graph.relu(graph.conv_norm(graph.doubled(x), "fuse"))
    x = graph.node("DepthToSpace", [graph.conv(x, "head")], blocksize=2, mode="CRD")
    x = graph.node("Add", [graph.node("Mul", [x, half]), half])
    graph.clipped(x)
    contract = {
        "styles": ",".join(style_names),
        "layout": "NCHW",
        "channels": "RGB",
        "range": "0-255",
        "multiple": str(MULTIPLE),
        "minimum": str(2 * MULTIPLE),
    }
    properties = {f"impasto.{key}": value for key, value in contract.items()} | metadata
    return model_of(graph, size, style_names, properties)


def model_of(graph, size, style_names, properties):
    """The model of a finished graph."""
    picture = [1, 3, "height", "width"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"impasto-{size}",
            [
                helper.make_tensor_value_info("image", TensorProto.FLOAT, picture),
                helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, len(style_names)]),
            ],
            [helper.make_tensor_value_info("stylized", TensorProto.FLOAT, picture)],
            [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="impasto_train",
    )
    model.ir_version = IR_VERSION
    helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    return model


def with_half_weights(model):
    """The same model with the convolutions' weights and biases as float16, each behind a Cast to float: half the bytes.

    What reads them, and the tables of styles, stay as they were.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    graph = halved.graph
    names = [name for node in graph.node if node.op_type == "Conv" for name in node.input[1:]]
    casts = []
    for initializer in graph.initializer:
        if initializer.name in names:
            half = numpy_helper.to_array(initializer).astype(np.float16)
            if not np.isfinite(half).all():
                raise ValueError(f"'{initializer.name}' is too large for half precision")
            casts.append(helper.make_node("Cast", [f"{initializer.name}.half"], [initializer.name], to=TensorProto.FLOAT))
            initializer.CopyFrom(numpy_helper.from_array(half, f"{initializer.name}.half"))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(halved)
    return halved


def export(state_path, output_path, half=False):
    """Writes the averaged weights of a training's state as ONNX, in half precision if asked for."""
    files.check_writable(output_path)
    state = files.read_state(state_path)
    totals = state["totals"]
    metadata = {
        "impasto.training": f"steps {totals['steps']}, pictures {totals['pictures']}, "
        f"work {totals['work_seconds'] / 60:.0f} min, progress {totals['progress']:.3f}, seed {state['options']['seed']}"
    }
    model = build(state["options"]["size"], state["average"], state["styles"], metadata)
    model = with_half_weights(model) if half else model
    files.write_whole(output_path, lambda path: onnx.save(model, path))
