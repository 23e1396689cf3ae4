#!/bin/sh
# Measures temporal smoothing on public clips, as docs/benchmarks.md has it: each clip is painted frame by frame and smoothed, and
# `impasto measure` compares the two; beside it stands the moving average that other tools offer (0.3 of the weight
# on the frame before, of what was shown).
#
#   scripts/measure-smoothing.sh [STYLE...]      (all styles of the catalog unless some are named)
#
# Takes clips from $IMPASTO_SHARED/data/clips (../shared unless set), the program from $IMPASTO (target/release/impasto),
# $FRAMES frames (48) of each at 640 pixels' width, and writes into $OUT (out/smoothing). Needs ffmpeg.
set -eu
cd "$(dirname "$0")/.."

. scripts/material.sh
out=${OUT:-out/smoothing}
frames=${FRAMES:-48}
[ $# -gt 0 ] || set -- $("$impasto" styles | cut -d' ' -f1)
mkdir -p "$out"

prepare() { # NAME, then ffmpeg's arguments for the input
    name=$1
    shift
    quiet_ffmpeg "$@" -frames:v "$frames" -vf scale=640:-2:flags=area+accurate_rnd+full_chroma_int \
        -c:v ffv1 -pix_fmt yuv420p "$out/$name.mkv"
}
prepare bunny -i "$clips/bigbuckbunny_1280x720_25fps_aac51.mp4"
prepare bikes -i "$clips/bikes_640x272_25fps.mp4"
prepare car-detection -i "$clips/car-detection_768x432_12p5fps_aac.mp4"
prepare carphone -i "$clips/carphone_176x144_2997.mp4"
for folder in "$clips"/davis_*; do
    prepare "$(basename "$folder")" -framerate 24 -i "$folder/%05d.jpg"
done

field() { # FIELD FILE.json: a number of the summary, which stands two spaces in
    sed -n "s/^  \"$1\": \([-0-9.e]*\),*$/\1/p" "$2"
}
printf 'style,clip,warping_error,sharpness,flicker,average_warping_error,average_sharpness\n' >"$out/figures.csv"
for style in "$@"; do
    for clip in "$out"/*.mkv; do
        name=$(basename "$clip" .mkv)
        folder=$out/$style/$name
        mkdir -p "$folder"
        "$impasto" video "$clip" -o "$folder/each.mkv" --style "$style" --codec ffv1 --smooth 0 -q -y
        "$impasto" video "$clip" -o "$folder/smoothed.mkv" --style "$style" --codec ffv1 -q -y
        # 0.7 · 0.3^k, oldest first: six frames hold all but a thousandth of it.
        quiet_ffmpeg -i "$folder/each.mkv" -c:v ffv1 \
            -vf "tmix=frames=6:weights=0.00170 0.00567 0.0189 0.063 0.21 0.7" "$folder/average.mkv"
        for way in smoothed average; do
            "$impasto" measure "$clip" "$folder/$way.mkv" --reference "$folder/each.mkv" --json -q >"$folder/$way.json"
        done
        printf '%s,%s,%.3f,%.3f,%.3f,%.3f,%.3f\n' "$style" "$name" \
            "$(field warping_error_over_reference "$folder/smoothed.json")" \
            "$(field sharpness_ratio "$folder/smoothed.json")" \
            "$(field flicker_over_reference "$folder/smoothed.json")" \
            "$(field warping_error_over_reference "$folder/average.json")" \
            "$(field sharpness_ratio "$folder/average.json")" | tee -a "$out/figures.csv"
    done
done
awk -F, 'NR > 1 {
    count++; error += $3; sharp += $4; flicker += $5
    if ($3 > most) most = $3
    if (least == 0 || $4 < least) least = $4
    if ($3 >= $6 || $4 <= $7) worse++
} END {
    printf "%d clips: warping error mean %.3f, most %.3f; sharpness mean %.3f, least %.3f; flicker mean %.3f; ", \
        count, error / count, most, sharp / count, least, flicker / count
    printf "%d not better than the moving average in both\n", worse
}' "$out/figures.csv"
