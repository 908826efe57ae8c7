#!/usr/bin/env bash
# Checks and measures bpmc on a machine with an NVIDIA GPU; takes some five minutes. Prints a short table last.
#
#   scripts/gpu-check.sh [PROGRAM]     a bpmc built with --features cuda; target/release/bpmc if none is named
#
# The peers need PyTorch with CUDA and are left out without it. Logs go to $OUT, else to target/gpu-check.
set -u
cd "$(dirname "$0")/.."
bpmc=$(realpath "${1:-target/release/bpmc}")
out=${OUT:-target/gpu-check}
mkdir -p "$out"
export PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
start=$(date +%s)
say() { echo "### [$(($(date +%s) - start)) s] $*"; }
libraries=$(find / \( -name 'libnvrtc.so.13*' -o -name 'libcublas.so.13*' -o -name 'libcurand.so.10*' \) \
  -not -path '/proc/*' 2>/dev/null | xargs -r -n1 dirname | sort -u | paste -sd:)
export LD_LIBRARY_PATH=$libraries:${LD_LIBRARY_PATH:-}
failed=0
check() { timeout -k 2 90 "$bpmc" verify "$@" --device cuda || failed=1; }
bench() {
  timeout -k 2 60 "$bpmc" bench "$@" --device cuda --seconds 1 --no-floors 2>&1 |
    tee -a "$out/bench.txt" | grep -E 'bpm|forward|backward|error'
}
peer() { (cd benches/peers && timeout 90 python3 torch_gpu.py --iterations 20 --mode compile-graphs "$@" 2>/dev/null); }
maze=(specs/paper/maze/simple_fanout.bpm --set task.observation=run --set train.clip_norm=4)
cue=(specs/paper/cue_reward/retroactive.bpm --set task.steps=120 --set train.clip_norm=2)

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader || exit 1
say "the numbers of the reference (short episodes: the reference interpreter is slow)"
for blocks in 0 1 2 4 8; do
  BPMC_CLUSTER=$blocks check specs/paper/maze/simple_fanout.bpm --lanes 3 --set task.steps=15 --set N=33
done
check specs/paper/maze/*.bpm --lanes 2 --set task.steps=25 --set N=33
check specs/paper/cue_reward/{simple,retroactive,plastic}.bpm --lanes 2 --set task.steps=25 --set N=41
check specs/paper/ptb_small/{lstm,simple,retroactive}.bpm --set E=11 --set N=19 --set task.words=40 --set task.steps=9

if command -v compute-sanitizer >/dev/null; then
  say "NVIDIA's memory and race checkers"
  small=(--lanes 2 --device cuda --set task.steps=4 --set N=19)
  timeout 90 compute-sanitizer --tool memcheck "$bpmc" verify specs/paper/maze/simple_fanout.bpm "${small[@]}" 2>&1 | tail -1
  timeout 90 compute-sanitizer --tool racecheck "$bpmc" verify specs/paper/maze/retroactive.bpm "${small[@]}" 2>&1 | tail -1
fi

say "an iteration, and peers in turn"
bench "${maze[@]}"
peer --workload maze --batch 30
bench "${maze[@]}"
for blocks in 0 1 2 8; do
  echo "clusters of $blocks:"
  BPMC_CLUSTER=$blocks bench "${maze[@]}"
done
bench "${cue[@]}"
peer --workload cue-retroactive --batch 30
bench "${cue[@]}"
bench "${maze[@]}" --set train.batch=4096
bench "${cue[@]}" --set train.batch=4096
for spec in ptb_small/simple ptb_small/retroactive ptb_small/lstm ptb_large/simple; do
  bench "specs/paper/$spec.bpm"
done

if command -v ncu >/dev/null; then
  say "profile"
  timeout 90 ncu --clock-control none --set full -k 'regex:forward|backward' --launch-skip 4 -c 2 \
    "$bpmc" bench "${maze[@]}" --device cuda --iterations 5 --no-floors >"$out/ncu.txt" 2>&1
  grep -E 'Duration|Registers Per|Achieved Occ|No Eligible' "$out/ncu.txt"
fi
say "end"
exit $failed
