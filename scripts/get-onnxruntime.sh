#!/bin/sh
# Puts the ONNX Runtime library (CPU) and its licence into .runtime/, where impasto looks for it.
#
# pip fetches the wheel and checks it against the hashes of scripts/onnxruntime.txt; nothing is installed
# into any Python. The library is moved into place last and in one step: where it is, it is whole. A library
# without a version file beside it was put there by hand, and stays.
set -eu
cd "$(dirname "$0")/.."

stop() { printf 'error: %s\n' "$*" >&2; exit 1; }

requirement=$(grep -o '^onnxruntime==[0-9.]*' scripts/onnxruntime.txt)
version=${requirement#*==}

case "$(uname -s)" in
    Darwin) library=libonnxruntime.dylib member=onnxruntime/capi/libonnxruntime.$version.dylib ;;
    *) library=libonnxruntime.so member=onnxruntime/capi/libonnxruntime.so.$version ;;
esac

if [ -s ".runtime/$library" ]; then
    installed=$(cat .runtime/version 2>/dev/null || true)
    if [ -z "$installed" ] || [ "$installed" = "$requirement" ]; then
        exit 0
    fi
    # Whoever has run `make gpu` keeps what that brings.
    case $installed in onnxruntime-gpu==*) exec scripts/get-onnxruntime-gpu.sh ;; esac
fi

case "$(uname -s) $(uname -m)" in
    "Linux x86_64") platform=manylinux_2_28_x86_64 ;;
    "Linux aarch64") platform=manylinux_2_28_aarch64 ;;
    "Darwin arm64") platform=macosx_14_0_arm64 ;;
    *) stop "no ONNX Runtime is pinned for $(uname -s) on $(uname -m): put one into .runtime/$library by hand" ;;
esac

mkdir -p .runtime
partial=$(mktemp -d .runtime/partial.XXXXXX)
trap 'rm -rf "$partial"' EXIT
trap 'exit 1' HUP INT TERM

printf 'setup: fetching ONNX Runtime %s\n' "$version" >&2
# Any Python will do: the options, not the interpreter, say which wheel is wanted.
python3 -m pip download --quiet --no-deps --only-binary=:all: --require-hashes \
    --python-version 3.12 --implementation cp --abi cp312 --platform "$platform" \
    --dest "$partial" --requirement scripts/onnxruntime.txt

python3 - "$partial"/onnxruntime-*.whl "$partial" "$member" "$library" <<'EOF'
import shutil, sys, zipfile

wheel, folder, member, library = sys.argv[1:]
names = {member: library, "onnxruntime/LICENSE": "LICENSE", "onnxruntime/ThirdPartyNotices.txt": "ThirdPartyNotices.txt"}
with zipfile.ZipFile(wheel) as archive:
    for source, name in names.items():
        with archive.open(source) as packed, open(f"{folder}/{name}", "wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
EOF
printf '%s\n' "$requirement" >"$partial/version"

rm -f ".runtime/$library"
mv -f "$partial/LICENSE" "$partial/ThirdPartyNotices.txt" "$partial/version" .runtime/
mv "$partial/$library" .runtime/
