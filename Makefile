# Two commands for a fresh machine: `make demo` stylizes a clip, `make test` runs every check.

export PATH := $(HOME)/.cargo/bin:$(PATH)
export RUSTDOCFLAGS ?= -D warnings

# The checks run with one known Rust, so that the new lints of a newer one fail nobody. The program builds
# with any that is new enough (`rust-version` in Cargo.toml).
rust_tested := 1.95.0

clip := samples/bunny.mp4
painted := out/demo.mp4
impasto = $(or $(CARGO_TARGET_DIR),target)/release/impasto

# A binary that is built outside the checkout does not find .runtime/ by itself.
ifdef CARGO_TARGET_DIR
export ORT_DYLIB_PATH ?= $(CURDIR)/.runtime/libonnxruntime.so
endif

.PHONY: help setup gpu demo test clean

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

setup: ## install what is missing: packages, Rust, ONNX Runtime
	@scripts/setup.sh

gpu: setup ## put ONNX Runtime for NVIDIA GPUs and the CUDA libraries into .runtime/ (1.9 GB)
	@scripts/get-onnxruntime-gpu.sh

demo: setup ## build, and stylize the bundled clip
	cargo build --release --locked
	@mkdir -p $(dir $(painted))
	$(impasto) video $(clip) -o $(painted) -y
	@echo "The stylized clip lies at $(abspath $(painted))"

test: export RUSTUP_TOOLCHAIN := $(rust_tested)
test: setup ## format, lints, documentation, benches and all tests
	scripts/check-tree.sh
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo doc --no-deps --locked
	cargo build --benches --locked
	cargo test --locked

clean: ## remove what was built and painted
	cargo clean
	rm -rf out
