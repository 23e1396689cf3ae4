#!/bin/sh
# Puts ONNX Runtime for NVIDIA GPUs and the CUDA libraries that it needs into .runtime/, where impasto looks for them; about
# 1.4 GB are fetched and 1.9 GB stay. The one for the processor that lies there is replaced.
#
# pip fetches the wheels and checks them against the hashes of scripts/onnxruntime-gpu.txt; nothing is installed into any
# Python. ONNX Runtime itself is moved into place last and in one step: where it is, everything is. impasto loads the CUDA
# libraries beside it by their paths, so that no LD_LIBRARY_PATH is needed. The driver is the system's: 580 or later.
set -eu
cd "$(dirname "$0")/.."

stop() { printf 'error: %s\n' "$*" >&2; exit 1; }

requirement=$(grep -o '^onnxruntime-gpu==[0-9.]*' scripts/onnxruntime-gpu.txt)
version=${requirement#*==}
# The version of every package: a change of any is a change.
pinned=$(grep -o '^[a-z0-9-]*==[0-9.]*' scripts/onnxruntime-gpu.txt)

if [ -s .runtime/libonnxruntime.so ] && [ "$(cat .runtime/version-gpu 2>/dev/null)" = "$pinned" ] &&
    [ "$(cat .runtime/version 2>/dev/null)" = "$requirement" ]; then
    exit 0
fi
[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || stop "ONNX Runtime for NVIDIA GPUs is pinned for Linux on x86_64 only"
if [ -s .runtime/libonnxruntime.so ] && [ ! -s .runtime/version ]; then
    stop ".runtime/libonnxruntime.so was put there by hand: remove it first"
fi

mkdir -p .runtime
partial=$(mktemp -d .runtime/partial.XXXXXX)
trap 'rm -rf "$partial"' EXIT
trap 'exit 1' HUP INT TERM

printf 'setup: fetching ONNX Runtime %s for NVIDIA GPUs and its CUDA libraries (1.4 GB)\n' "$version" >&2
# Any Python will do: the options, not the interpreter, say which wheels are wanted.
python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes \
    --python-version 3.12 --implementation cp --abi cp312 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux2014_x86_64 \
    --dest "$partial" --requirement scripts/onnxruntime-gpu.txt

python3 - "$partial" "$version" <<'PYTHON'
"""Unpacks the libraries and licences of all wheels, flat; a wheel is removed once it is unpacked, to save room."""
import pathlib, re, shutil, sys, zipfile

folder, version = pathlib.Path(sys.argv[1]), sys.argv[2]
# Beside what is needed, wheels carry other interfaces to the same (BLAS, FFTW) and a second build of NVRTC.
unwanted = re.compile(r"libnvblas|libcufftw|\.alt\.so|pybind11")


def target_of(name: str, package: str) -> str | None:
    file = name.rsplit("/", 1)[-1]
    if re.search(r"\.so(\.|$)", file) and not unwanted.search(file):
        return "libonnxruntime.so" if file == f"libonnxruntime.so.{version}" else file
    if re.fullmatch(r"(?i)(license|thirdpartynotices)(\.txt)?", file):
        return file if package == "onnxruntime_gpu" else f"{package}-{file}"
    return None


for wheel in sorted(folder.glob("*.whl")):
    package = wheel.name.split("-")[0]
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            target = target_of(name, package)
            if target:
                with archive.open(name) as packed, open(folder / target, "wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
    wheel.unlink()
PYTHON
printf '%s\n' "$requirement" >"$partial/version"
printf '%s\n' "$pinned" >"$partial/version-gpu"

library=$partial/../libonnxruntime.so
mv "$partial/libonnxruntime.so" "$partial.so"
rm -f "$library" .runtime/version
mv -f "$partial"/* .runtime/
mv "$partial.so" "$library"
