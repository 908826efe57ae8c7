#!/usr/bin/env bash
# Sets up a build of bpmc with the feature `cuda` on a machine without CUDA.
#
#   scripts/cuda-env.sh [--libraries] [FOLDER]      FOLDER is target/cuda-env unless given
#   source target/cuda-env/env.sh
#   cargo build --release --features cuda
#
# Gets nvcc, its headers and NVRTC from PyPI, writes the libraries to link with (scripts/cuda-link-shims.py) and FOLDER/env.sh,
# which sets the variables of a build. No driver and no GPU is needed, nor root. The program that is built starts anywhere,
# and looks for the driver, cuBLAS, cuRAND and NVRTC when it wants them.
#
# --libraries also gets cuBLAS and cuRAND, for a machine that is to run it and has nothing but the driver.
#
# A second call gets nothing again and writes the rest anew. Needs Linux on x86-64, python3 with pip or venv, gcc, g++, ar
# and cargo.
set -euo pipefail

# CUDA 13.0: what a newer nvcc writes, a driver of CUDA 13.0 does not read.
PACKAGES=(nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96
  nvidia-cuda-cccl==13.0.85 nvidia-cuda-nvrtc==13.0.88)
LIBRARIES=(nvidia-cublas==13.1.0.3 nvidia-curand==10.4.0.35)

fail() {
  printf 'cuda-env.sh: %s\n' "$*" >&2
  exit 1
}

say() {
  printf '+ %s\n' "$*"
}

folder=
for argument; do
  case $argument in
    -h | --help)
      sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
      exit
      ;;
    --libraries) PACKAGES+=("${LIBRARIES[@]}") ;;
    -*) fail "no option $argument; --help says what there is" ;;
    *)
      [[ -z $folder ]] || fail "one folder, not also $argument"
      folder=$argument
      ;;
  esac
done
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${folder:-$root/target/cuda-env}

[[ $(uname -sm) == 'Linux x86_64' ]] || fail "this is $(uname -sm); the packages are for Linux on x86-64"
command -v python3 >/dev/null || fail 'no python3 (Debian: apt-get install python3 python3-venv)'
for tool in cc gcc g++ ar; do
  command -v "$tool" >/dev/null || fail "no $tool (Debian: apt-get install build-essential)"
done
command -v cargo >/dev/null || fail 'no cargo; see README.md'
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
home=$folder/toolkit/nvidia/cu13

# Packages. The list of what is unpacked is written last, so that a broken-off call starts again; one with more packages
# than are asked for stays.
installed=$folder/packages.txt
wanted=$(printf '%s\n' "${PACKAGES[@]}" | sort)
if [[ ! -f $installed ]] || [[ -n $(comm -23 <(echo "$wanted") "$installed") ]]; then
  python=python3
  if ! python3 -m pip --version >/dev/null 2>&1; then
    say "python3 -m venv $folder/venv"
    python3 -m venv "$folder/venv" || fail 'python3 has neither pip nor venv (Debian: apt-get install python3-venv)'
    python=$folder/venv/bin/python
  fi
  say "pip install ${PACKAGES[*]}"
  rm -rf "$folder/toolkit" "$folder/toolkit.new" "$installed"
  PIP_ROOT_USER_ACTION=ignore "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile \
    --only-binary=:all: --target "$folder/toolkit.new" "${PACKAGES[@]}" ||
    fail 'pip cannot get the packages (its message is above): is there a network, and an index that has them?'
  # A second NVRTC, which nothing here loads.
  rm -f "$folder"/toolkit.new/nvidia/cu13/lib/libnvrtc*.alt.so*
  mv "$folder/toolkit.new" "$folder/toolkit"
  echo "$wanted" >"$installed"
fi

# What the linker finds. libcudart is linked whole.
say "scripts/cuda-link-shims.py $folder/link"
python3 "$root/scripts/cuda-link-shims.py" "$folder/link"
cp "$home/lib/libcudart_static.a" "$folder/link/libcudart.a"

mkdir -p "$folder/bin"
ln -sf "$root/scripts/cuda-nvcc-lean.sh" "$folder/bin/nvcc"
cat >"$folder/env.sh" <<END
# Written by scripts/cuda-env.sh; to be sourced before cargo build --features cuda.
export CUDA_HOME='$home'
# Where candle's build looks for cuda.h.
export CUDA_PATH="\$CUDA_HOME"
# The first nvcc leaves out the kernels that bpmc does not use; \$CUDA_HOME/bin/nvcc builds them all.
export PATH="$folder/bin:\$CUDA_HOME/bin:\$PATH"
# The kind of GPU: 90 is Hopper. Set it before sourcing this for another.
export CUDA_COMPUTE_CAP="\${CUDA_COMPUTE_CAP:-90}"
export CUDARC_CUDA_VERSION=13000
export CUDA_LINK_DIR='$folder/link'
# NVRTC, where programs and tests look for it.
export LD_LIBRARY_PATH="\$CUDA_HOME/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
END

# That nvcc and the compiler of this machine get on with each other is best learnt now.
say 'nvcc --ptx, on an empty kernel'
(
  # shellcheck disable=SC1091
  source "$folder/env.sh"
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  echo 'extern "C" __global__ void nothing() {}' >"$scratch/nothing.cu"
  "$CUDA_HOME/bin/nvcc" --ptx -arch=compute_90 --output-directory "$scratch" "$scratch/nothing.cu"
) || fail 'nvcc does not work here (its message is above)'

cat <<END

Ready: $(du -sh "$folder" | cut -f1) in $folder. Now:

  source $folder/env.sh
  cargo build --release --features cuda
END
