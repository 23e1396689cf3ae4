#!/bin/sh
# Trains on a GPU for MINUTES, then exports, evaluates and paints sheets into $OUT. Needs no network.
#
# usage: OUT=folder [MINUTES=7] [SIZE=lite|full] [INIT=network.onnx] [STATE=state.pt] [REWIND=0..1] [STOP_AT=0..1] gpu.sh MATERIAL [OPTION…]
# Options go to `train`, as --stability 14 --lr 1e-3. MATERIAL is what `python -m impasto_train pack` wrote. A training in parts: STOP_AT=0.4 first, which stops after the
# training; then STATE=$OUT/state/state.pt of the part before, copied out of $OUT where that is emptied.
# PYTHON and DEVICE choose the interpreter [python3] and the device [cuda].
set -eu
material=$(realpath "$1")
shift
mkdir -p "${OUT:?set OUT to a folder}"
OUT=$(realpath "$OUT")
state=${STATE:+$(realpath "$STATE")}
init=${INIT:+$(realpath "$INIT")}
cd "$(dirname "$0")"
python=${PYTHON:-python3}
size=${SIZE:-lite}
stop_at=${STOP_AT:-1}
mkdir -p "$OUT/state"
set -- --state "$OUT/state" --budget "${MINUTES:-7}" --stop-at "$stop_at" --size "$size" --device "${DEVICE:-cuda}" --threads 8 "$@"
if [ -n "$state" ]; then
    cp "$state" "$OUT/state/state.pt"
    set -- "$@" --resume ${REWIND:+--rewind "$REWIND"}
elif [ -n "$init" ]; then
    set -- "$@" --init "$init"
fi
"$python" -m impasto_train train "$@" --vgg "$material/vgg16.pt" --photos "$material/photos" --paintings "$material/paintings"
[ "$stop_at" = 1 ] || exit 0
half=
[ "$size" = full ] && half=--half
"$python" -m impasto_train export "$OUT/state/state.pt" "$OUT/impasto-$size.onnx" $half
held_out=$(sed -n 's/^    "\(.*\)",$/\1/p' styles.toml | head -n 6)
set --
for stem in $held_out; do
    set -- "$@" "$material/photos/$stem.jpg"
done
"$python" -m impasto_train sheet "$OUT/impasto-$size.onnx" "$OUT/sheet-$size.jpg" --photos "$@" --height 360
"$python" -m impasto_train evaluate "$OUT/impasto-$size.onnx" --threads 8 --json "$OUT/losses-$size.json" \
    --vgg "$material/vgg16.pt" --photos "$material/photos" --paintings "$material/paintings"
