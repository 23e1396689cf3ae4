# What scripts that paint the public clips share; they source it from the folder of the checkout. Sets $impasto, the program
# ($IMPASTO, or target/release/impasto), and $clips, their folder ($IMPASTO_SHARED/data/clips, ../shared unless set), or ends the script.
impasto=${IMPASTO:-target/release/impasto}
clips=${IMPASTO_SHARED:-../shared}/data/clips
if [ ! -d "$clips" ]; then
    echo "error: there are no clips in '$clips' (set IMPASTO_SHARED to the folder of extra test material)" >&2
    exit 1
fi
if [ ! -x "$impasto" ]; then
    echo "error: there is no '$impasto' (run: cargo build --release)" >&2
    exit 1
fi

quiet_ffmpeg() {
    ffmpeg -nostdin -v error -y "$@"
}
