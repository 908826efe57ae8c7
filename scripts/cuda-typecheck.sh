#!/bin/sh
# Checks the code of the feature `cuda` where there is no CUDA: clippy over all targets, with an nvcc that writes empty
# kernels (scripts/cuda-nvcc-stub.sh). Needs the Rust toolchain and nothing else; links nothing.
#
#   scripts/cuda-typecheck.sh
#
# candle's build script does not notice when nvcc changes, so its empty kernels must never lie where a real build looks.
# A level of optimisation that nothing else uses gives them a folder of their own; all else is shared with other builds.
set -eu
cd "$(dirname "$0")/.."
NVCC=$PWD/scripts/cuda-nvcc-stub.sh
CUDA_COMPUTE_CAP=90
CUDARC_CUDA_VERSION=13000
export NVCC CUDA_COMPUTE_CAP CUDARC_CUDA_VERSION
exec cargo clippy --config 'profile.dev.package.candle-kernels.opt-level="z"' --all-targets --features cuda -- -D warnings
