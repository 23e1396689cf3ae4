"""What 8-bit integers would give on the processor: the bundled network with its convolutions quantized after training.

    python benches/int8.py [NETWORK.onnx]        (needs onnx, onnxruntime, numpy, pillow)

Each convolution's weights (8 bit, a scale for each output channel) and its input and output (8 bit, a scale for each tensor,
from the 99.99th percentile over eight of the bundled photos in every style) are rounded; everything else, the instance
normalization first of all, stays in 32-bit floats. Printed are the time against float32, measured in turns in the same run,
and the mean difference of the pictures in levels of 0-255 for each style, on photos that nothing was fitted on: with all
convolutions quantized, and with the most sensitive ones left as they are, one more each time. Nothing in the build runs this.
"""

import contextlib
import io
import pathlib
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
THREADS = 2
ROUNDS = 20


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def picture(path, size):
    """A photo as `[1, 3, H, W]`, RGB 0-255."""
    return np.asarray(Image.open(path).convert("RGB").resize(size), np.float32).transpose(2, 0, 1)[None]


class Photos(CalibrationDataReader):
    def __init__(self, inputs):
        self.inputs = iter(inputs)

    def get_next(self):
        return next(self.inputs, None)


def main():
    bundled = next(path for path in sorted((ROOT / "models").glob("*.onnx")) if not path.name.startswith("vgg"))
    network = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else bundled
    float32 = session_of(network)
    image, style = (port.name for port in float32.get_inputs())
    styles = np.eye(float32.get_inputs()[1].shape[-1], dtype=np.float32)
    photos = sorted((ROOT / "models/photos").glob("*.jpg"))
    inputs = lambda paths, size: [{image: picture(path, size), style: row[None]} for path in paths for row in styles]
    calibration, unseen = inputs(photos[:8], (320, 192)), inputs(photos[-6:], (640, 360))
    paint = lambda session, feed: np.clip(session.run(None, feed)[0], 0, 255)
    wanted = [paint(float32, feed) for feed in unseen]

    def quantized(convolutions):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            path = pathlib.Path(folder) / "int8.onnx"
            quantize_static(
                network, path, Photos(calibration), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"],
                nodes_to_quantize=convolutions, per_channel=True, activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.Percentile,
                extra_options={"CalibPercentile": 99.99},
            )
            return session_of(path)

    def levels(session):
        """Mean difference for each style."""
        each = [np.abs(paint(session, feed) - picture).mean() for feed, picture in zip(unseen, wanted)]
        return np.reshape(each, (-1, len(styles))).mean(0)

    def speed_up(session):
        times = np.empty((ROUNDS, 2))
        for row in times:
            for index, one in enumerate((float32, session)):
                start = time.perf_counter()
                one.run(None, unseen[0])
                row[index] = time.perf_counter() - start
        before, after = np.median(times, 0)
        return before / after

    names = [node.name for node in onnx.load(network).graph.node if node.op_type == "Conv"]
    sensitivity = {name: levels(quantized([name])).max() for name in names}
    by_sensitivity = sorted(names, key=lambda name: -sensitivity[name])
    for kept in range(5):
        session = quantized([name for name in names if name not in by_sensitivity[:kept]])
        differences = ", ".join(f"{value:.1f}" for value in levels(session))
        left = ", ".join(by_sensitivity[:kept]) or "none"
        print(f"{speed_up(session):.2f} times as fast, {differences} levels; left in float32: {left}", flush=True)


if __name__ == "__main__":
    main()
