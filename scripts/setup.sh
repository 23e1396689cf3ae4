#!/bin/sh
# Makes a fresh machine ready to build: system packages, Rust, the ONNX Runtime library.
#
# Everything is probed before anything is installed: where nothing is missing, no package manager is
# called and this takes a moment. Packages are installed on Debian, Ubuntu and their kin only; elsewhere
# the missing ones are named and this stops.
set -eu
cd "$(dirname "$0")/.."
PATH="$HOME/.cargo/bin:$PATH"

say() { printf 'setup: %s\n' "$*" >&2; }
stop() { printf 'error: %s\n' "$*" >&2; exit 1; }

apt_install() {
    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif command -v sudo >/dev/null; then
        as_root=sudo
    else
        stop "root rights are needed, and there is no sudo; run as root: apt-get install $*"
    fi
    say "installing $*"
    # A stale list of some third party must not stop the packages that are there.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q \
        || say "apt-get update failed; trying with the lists at hand"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends --no-remove "$@"
}

# --- System packages -------------------------------------------------------------------------------------

c_compiles() { printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' | cc -x c - -o /dev/null; }
tls_roots() { [ -e /etc/ssl/certs/ca-certificates.crt ] || [ "$(uname -s)" != Linux ] || [ -d /etc/pki/tls ]; }

videotestsrc() { ls /usr/lib/*/gstreamer-1.0/libgstvideotestsrc.so /usr/lib*/gstreamer-1.0/libgstvideotestsrc.so 2>/dev/null | grep -q .; }

need() { # need PACKAGE COMMAND...: the package is missing where the command fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

# Debian's names, each with what is looked for. The library versions are FFmpeg 5.1's, the oldest supported.
probe_packages() {
    missing=
    need ca-certificates tls_roots
    need git             command -v git
    need "gcc libc6-dev" c_compiles
    need clang           clang -print-resource-dir # bindgen needs its library and headers
    need pkg-config      command -v pkg-config
    need libavutil-dev   pkg-config --exists 'libavutil >= 57.28'
    need libavcodec-dev  pkg-config --exists 'libavcodec >= 59.37'
    need libavformat-dev pkg-config --exists 'libavformat >= 59.27'
    need libavfilter-dev pkg-config --exists 'libavfilter >= 8.44'
    need libswscale-dev  pkg-config --exists 'libswscale >= 6.7'
    need libopencv-dev   pkg-config --exists 'opencv4 >= 4.6'
    need libswresample-dev pkg-config --exists 'libswresample >= 4.7'
    need ffmpeg          command -v ffmpeg # the tests make their clips with it
    need gstreamer1.0-plugins-base videotestsrc # cameras by GStreamer, which the tests try
    need xvfb            command -v Xvfb # the tests open their windows there,
    need xdotool         command -v xdotool # press keys in them,
    need openbox         command -v openbox # and make one fill the screen
    need python3         command -v python3
    need python3-pip     python3 -m pip --version
    missing=${missing# }
}

install_packages() {
    probe_packages
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null \
        || stop "missing (Debian's names; install what this system calls them): $missing"
    # shellcheck disable=SC2086 # a list of words
    apt_install $missing
    probe_packages
    [ -z "$missing" ] || stop "missing or too old after installing: $missing (FFmpeg 5.1 or newer is needed)"
}

# --- Rust ------------------------------------------------------------------------------------------------

rust_wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
rust_tested=$(sed -n 's/^rust_tested := //p' Makefile) # installed where there is none, or none new enough

rust_is_new_enough() {
    rust_found=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
    [ -n "$rust_found" ] && printf '%s\n%s\n' "$rust_wanted" "$rust_found" | sort -V -C
}

install_rust() {
    if ! rust_is_new_enough; then
        say "Rust ${rust_found:-is not there}; $rust_wanted or newer is needed"
        # Debian 12 has no such package, and it conflicts with Debian's own cargo.
        if ! command -v rustup >/dev/null && apt-get install --simulate --no-remove rustup >/dev/null 2>&1; then
            apt_install rustup
        fi
        command -v rustup >/dev/null || stop "install Rust $rust_wanted or newer with rustup, as https://rustup.rs says, then run this again"
        rustup toolchain install "$rust_tested" --profile minimal --component clippy,rustfmt
        # An older default stays the default everywhere but in this folder.
        rust_is_new_enough || rustup override set "$rust_tested"
        rust_is_new_enough || stop "cargo is still ${rust_found:-missing}: is an older one first on the PATH?"
    fi
    if command -v rustup >/dev/null && ! { cargo clippy --version && cargo fmt --version; } >/dev/null 2>&1; then
        rustup component add clippy rustfmt
    fi
}

install_packages
install_rust
scripts/get-onnxruntime.sh
