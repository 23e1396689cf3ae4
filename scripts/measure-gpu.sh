#!/bin/sh
# Takes the figures that docs/benchmarks.md has of GPUs, all in one go, for machines that are lent for minutes only.
#
#   scripts/measure-gpu.sh [OUT]      (out/gpu unless given)
#
# Takes the program from $IMPASTO (target/release/impasto), $DEVICE (cuda), frames of $SIZE (1920x1080), $FRAMES of them (60), $MINUTES (1) to
# learn a style in, and at most $LIMIT seconds (150) for each step; steps whose names do not match $ONLY (a regular expression) are left
# out. Needs no compiler and no ffmpeg; with a $PYTHON (python3) that has PyTorch the same networks are measured there as well. What a step
# prints goes into a file of its name, and to the terminal.
set -u
cd "$(dirname "$0")/.."

impasto=${IMPASTO:-target/release/impasto}
device=${DEVICE:-cuda}
size=${SIZE:-1920x1080}
frames=${FRAMES:-60}
minutes=${MINUTES:-1}
limit=${LIMIT:-150}
only=${ONLY:-.}
python=${PYTHON:-python3}
out=${1:-out/gpu}
if [ ! -x "$impasto" ]; then
    echo "error: there is no '$impasto' (set IMPASTO, or run: cargo build --release)" >&2
    exit 1
fi
mkdir -p "$out"
failed=0

step() { # NAME COMMAND...: into a file; a step that fails or takes too long does not keep the others
    name=$1
    shift
    echo "$name" | grep -qE "$only" || return 0
    printf '\n== %s: %s\n' "$name" "$*" | sed "s|$impasto|impasto|" | tee "$out/$name.txt"
    timeout -k 5 "$limit" "$@" >>"$out/$name.txt" 2>&1
    code=$?
    sed 1,2d "$out/$name.txt"
    if [ $code -ne 0 ]; then
        echo "-- $name ended with $code" | tee -a "$out/$name.txt"
        failed=$((failed + 1))
    fi
}
bench() { # NAME ARGUMENTS...
    name=$1
    shift
    step "bench-$name" "$impasto" bench --size "$size" --frames "$frames" --style great-wave --device "$device" "$@"
}

step doctor "$impasto" doctor
for parallel in 1 2 3 4; do
    bench "lite-$parallel" --network lite --smooth 0 --parallel $parallel
done
bench lite-smoothed --network lite
bench lite-fp32 --network lite --smooth 0 --precision fp32
for parallel in 1 2 3; do
    bench "full-$parallel" --network full --smooth 0 --parallel $parallel
done
bench full-smoothed --network full
if "$python" -c 'import torch' 2>/dev/null; then
    for network in lite full; do
        step "pytorch-$network" env PYTHONPATH=models/training "$python" -m impasto_train speed --size $network --frame "$size"
    done
fi

# The same pictures from the device and from the processor, to be looked at side by side.
for network in lite full; do
    for where in "$device" cpu; do
        step "image-$network-$where" "$impasto" image samples/castle.jpg -o "$out/castle-$network-$where.png" -y \
            --style starry-night --network $network --device "$where" --work-size 480 -v
    done
done
for where in "$device" cpu; do
    step "video-$where" "$impasto" video samples/bunny.mp4 -o "$out/bunny-$where.mp4" -y --style starry-night --network lite \
        --device "$where" --stats
done
step measure "$impasto" measure samples/bunny.mp4 "$out/bunny-$device.mp4" --reference "$out/bunny-cpu.mp4"

step learn "$impasto" learn samples/starry-night.jpg -o "$out/learnt.style" -y --device "$device" --minutes "$minutes" \
    --preview "$out/learnt.png"
step learn-full "$impasto" learn samples/starry-night.jpg -o "$out/learnt-full.style" -y --device "$device" --network full \
    --minutes "$minutes" --preview "$out/learnt-full.png"
step paint "$impasto" paint samples/castle.jpg --style samples/starry-night.jpg -o "$out/painted.png" -y --device "$device" \
    --size 512 --iterations 100
if [ "$device" = cuda ] && grep -q 'TensorRT  *its libraries are there' "$out/doctor.txt"; then
    step bench-tensorrt "$impasto" bench --size "$size" --frames "$frames" --style great-wave --device tensorrt --smooth 0
fi

printf '\n%d steps failed; everything is in %s\n' "$failed" "$out"
[ "$failed" -eq 0 ]
