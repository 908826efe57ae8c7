#!/bin/sh
# Stands in for nvcc where the feature `cuda` is only checked: answers what candle's build asks and writes empty kernels.
# What is built with it must never run; scripts/cuda-typecheck.sh keeps it in a folder of its own.
set -eu
what='' folder='' out='' source=''
while [ $# -gt 0 ]; do
    case $1 in
        --version)
            printf 'nvcc: stub\n-\n-\nCuda compilation tools, release 13.0, V13.0.88\n'
            exit ;;
        --list-gpu-code) echo sm_90; exit ;;
        --ptx | --lib | -c) what=$1 ;;
        --output-directory) folder=$2; shift ;;
        -o) out=$2; shift ;;
        *.cu) source=$1 ;;
    esac
    shift
done
case $what in
    --ptx) name=${source##*/}; echo '// empty' > "$folder/${name%.cu}.ptx" ;;
    -c) : > "$out" ;;
    --lib) printf '!<arch>\n' > "$out" ;;
    *) echo "cuda-nvcc-stub.sh: only --ptx, -c and --lib are known" >&2; exit 1 ;;
esac
