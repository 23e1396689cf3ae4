#!/bin/sh
# Trains on a GPU within MINUTES, then exports, evaluates and paints sheets into $OUT. Needs no network.
#
# usage: OUT=folder [MINUTES=22] [SIZE=lite|full] [INIT=network.onnx] [STATE=state.pt] [DEVICE=cuda] gpu.sh MATERIAL
# MATERIAL is what `python -m impasto_train pack` wrote.
set -eu
material=$(realpath "$1")
OUT=$(realpath "${OUT:?set OUT to a folder}")
cd "$(dirname "$0")"
python=${PYTHON:-python3}
size=${SIZE:-lite}
given="--vgg $material/vgg16.pt --photos $material/photos --paintings $material/paintings"
mkdir -p "$OUT/state"
set -- --state "$OUT/state" --budget "${MINUTES:-22}" --size "$size" --device "${DEVICE:-cuda}" --threads 8
if [ -n "${STATE:-}" ]; then
    cp "$STATE" "$OUT/state/state.pt"
    set -- "$@" --resume --rewind "${REWIND:-0.1}"
elif [ -n "${INIT:-}" ]; then
    set -- "$@" --init "$INIT"
fi
# shellcheck disable=SC2086 # a list of words
"$python" -m impasto_train train "$@" $given
"$python" -m impasto_train export "$OUT/state/state.pt" "$OUT/impasto-$size.onnx"
"$python" -m impasto_train compact "$OUT/state/state.pt" "$OUT/state-$size.pt"
held_out=$(sed -n 's/^    "\(.*\)",$/\1/p' styles.toml | head -n 6)
set --
for stem in $held_out; do
    set -- "$@" "$material/photos/$stem.jpg"
done
"$python" -m impasto_train sheet "$OUT/impasto-$size.onnx" "$OUT/sheet-$size.png" --photos "$@" --height 360
# shellcheck disable=SC2086
"$python" -m impasto_train evaluate "$OUT/impasto-$size.onnx" --threads 8 --json "$OUT/losses-$size.json" $given
