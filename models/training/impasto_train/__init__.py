"""Trains impasto's style networks."""

import os

# Asked when ONNX Runtime is loaded: it would tell its maker who runs it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
