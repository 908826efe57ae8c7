#!/bin/sh
# nvcc without candle's kernels for quantised weights and mixtures of experts, which bpmc never calls. To lie on the path
# under the name nvcc; the real one is $CUDA_HOME/bin/nvcc.
#
# Each function that candle declares for those kernels becomes one that says so and aborts; the module of kernels for
# quantised weights becomes an empty one.
set -eu
real=${CUDA_HOME:?cuda-nvcc-lean.sh: set CUDA_HOME to the folder of bin/nvcc}/bin/nvcc
what='' folder='' out='' source='' before=''
for argument; do
    case $argument in
        --ptx | --lib | -c) what=$argument ;;
        *.cu) source=${argument##*/} ;;
    esac
    case $before in
        --output-directory) folder=$argument ;;
        -o) out=$argument ;;
    esac
    before=$argument
done
case $what:$source in
    --ptx:quantized.cu | --ptx:moe_*.cu)
        printf '.version 8.0\n.target sm_75\n.address_size 64\n' > "$folder/${source%.cu}.ptx" ;;
    -c:*)
        # The build script runs in the folder of candle-kernels. One of its files stands for all.
        {
            printf '#include <stdio.h>\n#include <stdlib.h>\n'
            if [ "$source" = moe_gguf.cu ]; then
                sed -n 's/^ *pub fn \([A-Za-z0-9_]*\).*/\1/p' src/ffi.rs | sort -u | while read -r name; do
                    printf 'void %s(void) { fputs("%s: this build has no such CUDA kernel\\n", stderr); abort(); }\n' \
                        "$name" "$name"
                done
            fi
        } > "$out.c"
        cc -O1 -fPIC -c "$out.c" -o "$out" ;;
    --lib:)
        for argument; do
            shift
            case $argument in *.o) [ "$argument" = "$out" ] || set -- "$@" "$argument" ;; esac
        done
        rm -f "$out"
        ar crs "$out" "$@" ;;
    *) exec "$real" "$@" ;;
esac
