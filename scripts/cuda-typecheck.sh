#!/bin/sh
# Checks the code of the feature `cuda` where there is no CUDA: clippy over all targets, with an nvcc that writes empty
# kernels (scripts/cuda-nvcc-stub.sh). Needs the Rust toolchain and nothing else; links nothing.
#
#   scripts/cuda-typecheck.sh [ARGUMENT OF CARGO CLIPPY ...]      such as --release, which shares its dependencies
#
# candle's build script does not notice when nvcc changes, so its empty kernels must never lie where a real build looks.
# A level of optimisation that nothing else uses gives them a folder of their own; all else is shared with other builds.
set -eu
cd "$(dirname "$0")/.."
# candle's build looks for nvcc on the path, and for cuda.h in $CUDA_PATH/include.
CUDA_PATH=$PWD/target/cuda-stub
mkdir -p "$CUDA_PATH/bin" "$CUDA_PATH/include"
ln -sf "$PWD/scripts/cuda-nvcc-stub.sh" "$CUDA_PATH/bin/nvcc"
: >"$CUDA_PATH/include/cuda.h"
PATH=$CUDA_PATH/bin:$PATH
CUDA_COMPUTE_CAP=90
CUDARC_CUDA_VERSION=13000
export PATH CUDA_PATH CUDA_COMPUTE_CAP CUDARC_CUDA_VERSION
exec cargo clippy \
  --config 'profile.dev.package.candle-kernels.opt-level="z"' \
  --config 'profile.release.package.candle-kernels.opt-level="z"' \
  --all-targets --features cuda "$@" -- -D warnings
