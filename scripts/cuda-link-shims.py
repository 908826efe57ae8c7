#!/usr/bin/env python3
"""Libraries to link with instead of those of CUDA, so that one program starts with or without a driver.

candle links libcuda, libcublas, libcublasLt, libcurand and libnvrtc, and a program linked to them does not start where one
is missing. This writes a small static library for each. Every function is a jump through a table. The first call opens the
real library and fills in the entry; where there is none, the call returns an error code, and candle an error.

    scripts/cuda-link-shims.py FOLDER                    # writes FOLDER/libcuda.a and the others
    scripts/cuda-link-shims.py FOLDER --cudarc DIRECTORY # with the names in that source of cudarc

Needs a C compiler and ar, and x86-64 Linux. A library is looked for where the system looks (LD_LIBRARY_PATH too), then in
$CUDA_HOME/lib64, $CUDA_HOME/lib and the usual places. A missing one is told on standard error, once, but for the driver's: no
driver is no fault.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Library:
    """`link` is its name for the linker, `module` cudarc's, `error` what its functions return where it is missing."""

    link: str
    module: str
    file: str
    error: int
    # Opened first, from the same folder: the library finds it only where the system looks.
    companion: str = ""


LIBRARIES = [
    Library("cuda", "driver", "libcuda.so.1", 100),  # NO_DEVICE
    Library("cublas", "cublas", "libcublas.so.13", 1, "libcublasLt.so.13"),  # NOT_INITIALIZED
    Library("cublasLt", "cublaslt", "libcublasLt.so.13", 1),
    Library("curand", "curand", "libcurand.so.10", 203),  # INITIALIZATION_FAILED
    Library("nvrtc", "nvrtc", "libnvrtc.so.13", 11, "libnvrtc-builtins.so.13.0"),  # INTERNAL_ERROR
]
# A function of cudarc's bindings, with its result.
DECLARED = re.compile(r'extern "C" \{\s*fn (\w+)\([^;]*?\)(?: -> ([^;]+))?;')
C = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "@file@"
static const char *const names[] = {@names@};
/* Those whose result is a text. */
static const char *const texts[] = {@texts@ 0};
extern void *@link@_shim_table[];

static long missing(void) { return @error@; }
static const char *missing_text(void) { return FILE_NAME " not found"; }
/* cuGetErrorName and cuGetErrorString. */
static long missing_driver_text(int code, const char **text) {
    (void)code;
    if (text) *text = FILE_NAME " not found: no driver of NVIDIA on this machine";
    return 0;
}

static void *open_in(const char *folder, const char *below) {
    char path[4096];
    const char *companion = "@companion@";
    if (!folder || !*folder) return 0;
    if (*companion) {
        snprintf(path, sizeof path, "%s%s/%s", folder, below, companion);
        dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    }
    snprintf(path, sizeof path, "%s%s/%s", folder, below, FILE_NAME);
    return dlopen(path, RTLD_NOW | RTLD_GLOBAL);
}

static void *open_library(void) {
    static void *library;
    static int told;
    void *found = __atomic_load_n(&library, __ATOMIC_ACQUIRE);
    if (found) return found;
    found = dlopen(FILE_NAME, RTLD_NOW | RTLD_GLOBAL);
    if (!found) found = open_in(getenv("CUDA_HOME"), "/lib64");
    if (!found) found = open_in(getenv("CUDA_HOME"), "/lib");
    if (!found) found = open_in("/usr/local/cuda", "/lib64");
    if (!found) found = open_in("/usr/local/nvidia", "/lib64");
    if (!found && @tell@ && !__atomic_exchange_n(&told, 1, __ATOMIC_ACQ_REL))
        fprintf(stderr, "%s is not found; name its folder in LD_LIBRARY_PATH\n", FILE_NAME);
    __atomic_store_n(&library, found, __ATOMIC_RELEASE);
    return found;
}

__attribute__((visibility("hidden"))) void *@link@_shim_resolve(unsigned long index) {
    const char *name = names[index];
    void *library = open_library();
    void *function = library ? dlsym(library, name) : 0;
    if (!function) {
        function = (void *)missing;
        if (!strcmp(name, "cuGetErrorName") || !strcmp(name, "cuGetErrorString"))
            function = (void *)missing_driver_text;
        for (const char *const *text = texts; *text; text++)
            if (!strcmp(name, *text)) function = (void *)missing_text;
    }
    __atomic_store_n(&@link@_shim_table[index], function, __ATOMIC_RELEASE);
    return function;
}
"""
# Entered with the index of the function on the stack above the return address; keeps all registers that hold arguments.
RESOLVE = """
    .text
@link@_shim_first:
    pushq %rdi
    pushq %rsi
    pushq %rdx
    pushq %rcx
    pushq %r8
    pushq %r9
    pushq %rax
    subq $136, %rsp
@save@
    movq 192(%rsp), %rdi
    call @link@_shim_resolve
    movq %rax, %r11
@restore@
    addq $136, %rsp
    popq %rax
    popq %r9
    popq %r8
    popq %rcx
    popq %rdx
    popq %rsi
    popq %rdi
    addq $8, %rsp
    jmp *%r11
"""
FUNCTION = """
    .globl @name@
    .type @name@, @function
@name@:
    jmp *@link@_shim_table+@offset@(%rip)
@link@_shim_@index@:
    pushq $@index@
    jmp @link@_shim_first
"""


def filled(template, **values):
    """The template with each @key@ replaced."""
    for key, value in values.items():
        template = template.replace(f"@{key}@", str(value))
    return template


def quoted(names):
    return "".join(f'"{name}", ' for name in names)


def assembly(link, names):
    """The functions, and the table they jump through."""
    text = filled(
        RESOLVE,
        link=link,
        save="\n".join(f"    movups %xmm{i}, {16 * i}(%rsp)" for i in range(8)),
        restore="\n".join(f"    movups {16 * i}(%rsp), %xmm{i}" for i in range(8)),
    )
    for index, name in enumerate(names):
        text += filled(FUNCTION, link=link, name=name, index=index, offset=8 * index)
    text += "\n    .section .data.rel, \"aw\", @progbits\n    .balign 8\n"
    text += filled("    .globl @link@_shim_table\n    .hidden @link@_shim_table\n@link@_shim_table:\n", link=link)
    text += "".join(f"    .quad {link}_shim_{index}\n" for index in range(len(names)))
    return text + '\n    .section .note.GNU-stack, "", @progbits\n'


def write(library, cudarc, folder):
    """Writes the library and returns how many functions it has."""
    source = cudarc / "src" / library.module / "sys" / "mod.rs"
    declared = dict(DECLARED.findall(source.read_text()))
    if not declared:
        sys.exit(f"{source}: no functions found; this script knows cudarc 0.19")
    names = sorted(declared)
    c = filled(
        C,
        file=library.file,
        link=library.link,
        error=library.error,
        companion=library.companion,
        names=quoted(names),
        texts=quoted(name for name in names if declared[name].endswith("c_char")),
        tell=int(library.link != "cuda"),
    )
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "open.c").write_text(c)
        Path(scratch, "table.S").write_text(assembly(library.link, names))
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-Wall", "-fPIC", "-c", "open.c", "table.S"], cwd=scratch, check=True)
        archive = folder / f"lib{library.link}.a"
        archive.unlink(missing_ok=True)
        subprocess.run(["ar", "crs", archive, "open.o", "table.o"], cwd=scratch, check=True)
    return len(names)


def find_cudarc():
    """The folder of cudarc's source, which cargo downloads where it is missing."""
    command = ["cargo", "metadata", "--format-version", "1", "--features", "cuda"]
    command += ["--filter-platform", "x86_64-unknown-linux-gnu"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    for package in json.loads(done.stdout)["packages"]:
        if package["name"] == "cudarc" and package["version"].startswith("0.19."):
            return Path(package["manifest_path"]).parent
    sys.exit("cargo metadata names no package cudarc 0.19")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the libraries go")
    parser.add_argument("--cudarc", type=Path, metavar="DIRECTORY", help="the source of cudarc")
    arguments = parser.parse_args()
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        sys.exit("the shims are assembly of x86-64 Linux")
    cudarc = arguments.cudarc or find_cudarc()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    counts = [f"{library.link} {write(library, cudarc, folder)}" for library in LIBRARIES]
    print(f"functions of {cudarc.name}:", ", ".join(counts))


if __name__ == "__main__":
    main()
