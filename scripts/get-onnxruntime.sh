#!/bin/sh
# Puts the ONNX Runtime library (CPU) and its licence into .runtime/, where impasto looks for it.
#
# pip fetches the wheel and checks it against the hashes of scripts/onnxruntime.txt; nothing is installed
# into any Python. The version file is written last: without it, or without the library, all is done anew.
set -eu
cd "$(dirname "$0")/.."

stop() { printf 'error: %s\n' "$*" >&2; exit 1; }

requirement=$(grep -o '^onnxruntime==[0-9.]*' scripts/onnxruntime.txt)
version=${requirement#*==}

library=libonnxruntime.so
member=onnxruntime/capi/libonnxruntime.so.$version
case "$(uname -s) $(uname -m)" in
    "Linux x86_64") platform=manylinux_2_28_x86_64 ;;
    "Linux aarch64") platform=manylinux_2_28_aarch64 ;;
    "Darwin arm64")
        platform=macosx_14_0_arm64
        library=libonnxruntime.dylib
        member=onnxruntime/capi/libonnxruntime.$version.dylib
        ;;
    *) stop "no ONNX Runtime is pinned for $(uname -s) on $(uname -m): put its library into .runtime/ yourself" ;;
esac

if [ -s ".runtime/$library" ] && [ "$(cat .runtime/version 2>/dev/null)" = "$requirement" ]; then
    exit 0
fi

mkdir -p .runtime
rm -f .runtime/version
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

mv -f "$partial/LICENSE" "$partial/ThirdPartyNotices.txt" "$partial/$library" .runtime/
printf '%s\n' "$requirement" >"$partial/version"
mv -f "$partial/version" .runtime/version
