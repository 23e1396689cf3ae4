#!/bin/sh
# Makes the pictures of hard cases in docs/temporal.md: rows of the clip, painted frame by frame, and smoothed.
#
#   scripts/pictures-of-smoothing.sh [STYLE]      (starry-night)
#
# Takes clips from $IMPASTO_SHARED/data/clips (../shared unless set), the program from $IMPASTO (target/release/impasto), and writes into
# docs/pictures; $OUT (out/hard-cases) is for the clips on the way. Needs ffmpeg.
set -eu
cd "$(dirname "$0")/.."

. scripts/material.sh
out=${OUT:-out/hard-cases}
style=${1:-starry-night}
mkdir -p "$out"

clip() { # NAME, then ffmpeg's arguments for the input and its filters
    name=$1
    shift
    quiet_ffmpeg "$@" -c:v ffv1 -pix_fmt bgr0 "$out/$name.mkv"
}
picture() { # NAME CROP FRAME...
    name=$1 crop=$2
    shift 2
    "$impasto" video "$out/$name.mkv" -o "$out/$name-each.mkv" --style "$style" --codec ffv1 --pixel-format bgr0 --smooth 0 -q -y
    "$impasto" video "$out/$name.mkv" -o "$out/$name-smoothed.mkv" --style "$style" --codec ffv1 --pixel-format bgr0 -q -y
    wanted=$(printf '+eq(n,%s)' "$@")
    quiet_ffmpeg -i "$out/$name.mkv" -i "$out/$name-each.mkv" -i "$out/$name-smoothed.mkv" -filter_complex \
        "[0]$crop[a];[1]$crop[b];[2]$crop[c];[a][b][c]hstack=3,select='0$wanted',tile=1x$#" -frames:v 1 -q:v 4 \
        -bitexact -map_metadata -1 -pix_fmt yuvj420p "docs/pictures/smoothing-$name.jpg"
}

clip fast -i "$clips/bigbuckbunny_1280x720_25fps_aac51.mp4" -frames:v 60 -vf scale=640:-2:flags=area
picture fast crop=300:240:90:60 22 34
clip cut -i "$clips/bikes_640x272_25fps.mp4" -frames:v 160 -vf null
cut=$(ffmpeg -nostdin -i "$out/cut.mkv" -vf "select='gt(scene,0.3)',showinfo" -f null - 2>&1 |
    sed -n 's/.*pts_time:\([0-9.]*\).*/\1/p' | awk 'NR == 1 { printf "%d", $1 * 25 + 0.5 }')
picture cut scale=352:-2:flags=area $((cut - 1)) "$cut" $((cut + 3)) $((cut + 9))
clip zoom -loop 1 -framerate 25 -i samples/castle.jpg -frames:v 30 -vf \
    "scale=2048:-2,zoompan=z='pow(1.015,in)':x='iw/2-iw/zoom/2':y='ih/2-ih/zoom/2':d=1:s=640x360:fps=25"
picture zoom scale=320:-2:flags=area 10 27
clip fog -loop 1 -framerate 25 -i samples/castle.jpg -f lavfi -i "nullsrc=s=18x6:r=25,geq=lum='random(1)*255':cb=128:cr=128" -frames:v 40 \
    -filter_complex "[1]trim=end_frame=1,loop=-1:1,setpts=N/25/TB,scale=1280:360:flags=bicubic,crop=640:360:x='600-4*n':y=0,format=gray,
        lut=y='clip((val-70)*0.8\,0\,150)'[density];color=white:s=640x360:r=25,format=rgb24[white];[white][density]alphamerge[fog];
        [0]scale=640:360:flags=area[still];[still][fog]overlay=format=rgb"
picture fog scale=320:-2:flags=area 14 36
clip thin -loop 1 -framerate 25 -i samples/shipwreck.jpg -frames:v 40 -vf "crop=640:360:x='4*n':y=140,setpts=N/25/TB"
picture thin crop=336:240:80:60 14 28
