#!/usr/bin/env python3
"""Compiles a CUDA source with NVRTC, as bpmc does when it runs, and prints what NVRTC says. Needs no GPU.

    source target/cuda-env/env.sh                       # puts libnvrtc on LD_LIBRARY_PATH
    scripts/nvrtc-check.py kernel.cu                    # exit status 1 where it does not compile
    scripts/nvrtc-check.py kernel.cu --arch sm_90 -o kernel.cubin
    scripts/nvrtc-check.py --version

`compute_90` gives PTX, `sm_90` machine code; for the latter registers and spilled bytes are printed. NVRTC finds no headers
but its own: `--option=--include-path=FOLDER` names others. `-` reads standard input.
"""

import argparse
import ctypes
import re
import sys
import time
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from pathlib import Path

# Newest first: a system's own may be older than what LD_LIBRARY_PATH names.
NAMES = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]


class Nvrtc:
    """The functions of libnvrtc that are used here."""

    def __init__(self):
        problems = []
        for name in NAMES:
            try:
                self.library = ctypes.CDLL(name)
                break
            except OSError as problem:
                problems.append(str(problem))
        else:
            sys.exit("no libnvrtc; source the env.sh of scripts/cuda-env.sh first\n  " + "\n  ".join(problems))
        self.library.nvrtcGetErrorString.restype = c_char_p
        self.library.nvrtcCreateProgram.argtypes = [
            POINTER(c_void_p), c_char_p, c_char_p, c_int, POINTER(c_char_p), POINTER(c_char_p),
        ]  # fmt: skip
        self.library.nvrtcCompileProgram.argtypes = [c_void_p, c_int, POINTER(c_char_p)]

    def call(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code != 0:
            sys.exit(f"{name}: {self.library.nvrtcGetErrorString(code).decode()}")

    def version(self):
        major, minor = c_int(), c_int()
        self.call("nvrtcVersion", byref(major), byref(minor))
        return f"{major.value}.{minor.value}"

    def bytes(self, program, what):
        """What nvrtcGetWHAT gives: the log, PTX or machine code."""
        size = c_size_t()
        self.call(f"nvrtcGet{what}Size", program, byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.call(f"nvrtcGet{what}", program, buffer)
        return buffer.raw

    def compile(self, source, name, options):
        """Whether it compiled, the log, and what came out."""
        program = c_void_p()
        self.call("nvrtcCreateProgram", byref(program), source, name.encode(), 0, None, None)
        array = (c_char_p * len(options))(*(option.encode() for option in options))
        code = self.library.nvrtcCompileProgram(program, len(options), array)
        log = self.bytes(program, "ProgramLog").rstrip(b"\0").decode(errors="replace").strip()
        if code != 0:
            return False, log or self.library.nvrtcGetErrorString(code).decode(), b""
        machine_code = any("sm_" in option for option in options if "arch" in option)
        return True, log, self.bytes(program, "CUBIN") if machine_code else self.bytes(program, "PTX").rstrip(b"\0")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", help="CUDA source, or - for standard input")
    parser.add_argument("--arch", default="compute_90", help="compute_90 unless given")
    parser.add_argument("--option", action="append", default=[], metavar="TEXT", help="a further option of NVRTC")
    parser.add_argument("-o", type=Path, metavar="FILE", help="where PTX or machine code goes")
    parser.add_argument("--version", action="store_true", help="print that of libnvrtc and stop")
    arguments = parser.parse_args()
    nvrtc = Nvrtc()
    if arguments.version:
        print("NVRTC", nvrtc.version())
        return 0
    if arguments.file is None:
        parser.error("a file, or --version")

    source = sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes()
    options = [f"--gpu-architecture={arguments.arch}", *arguments.option]
    if arguments.arch.startswith("sm_"):
        options.append("--ptxas-options=-v")
    start = time.perf_counter()
    good, log, out = nvrtc.compile(source, arguments.file, options)
    seconds = time.perf_counter() - start
    if log:
        print(log)
    if not good:
        print(f"{arguments.file}: does not compile for {arguments.arch} (NVRTC {nvrtc.version()})")
        return 1
    if arguments.o:
        arguments.o.write_bytes(out)
    entries = b"" if arguments.arch.startswith("sm_") else b", ".join(re.findall(rb"\.entry (\w+)", out))
    named = f": {entries.decode()}" if entries else ""
    print(f"{arguments.file}: {len(out)} bytes for {arguments.arch} in {seconds:.2f} s (NVRTC {nvrtc.version()}){named}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
