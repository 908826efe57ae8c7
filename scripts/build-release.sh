#!/usr/bin/env bash
# Builds the program for a release: an archive with the command, completions, manual pages and licences, and its checksum.
#
#   scripts/build-release.sh [FOLDER]           the archive goes into FOLDER, by default target/release-archive
#
# TARGET chooses another target, as in TARGET=x86_64-unknown-linux-musl for a program that needs no library of the system:
# `rustup target add x86_64-unknown-linux-musl` first. Without it the program needs the glibc of this machine or a newer one,
# which the script prints. For musl, `ldd` finds no library and the script says so; an archive has 7 MB.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-target/release-archive}
host=$(rustc -vV | sed -n 's/^host: //p')
target=${TARGET:-$host}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=bpmc-$version-$target

cargo build --release --locked --target "$target"
program=target/$target/release/bpmc
folder=$out/$name
rm -rf "$folder"
mkdir -p "$folder/completions" "$folder/man"
cp "$program" "$folder/"
strip "$folder/bpmc" 2>/dev/null || echo "no strip: the program keeps its symbols"
cp README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$folder/"
if [ "$target" = "$host" ] || [[ "$target" == *-linux-musl && "$host" == "${target%-musl}"* ]]; then
  for shell in bash zsh fish; do "$folder/bpmc" completions "$shell" > "$folder/completions/bpmc.$shell"; done
  "$folder/bpmc" man "$folder/man" > /dev/null
fi
# The same files give the same archive.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct)" \
  -C "$out" -cf - "$name" | gzip -n9 > "$out/$name.tar.gz"
(cd "$out" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256" && cat "$name.tar.gz.sha256")
if command -v objdump > /dev/null; then
  glibc=$(objdump -T "$folder/bpmc" 2>/dev/null | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -1 || true)
  echo "needs ${glibc:-no library of the system}"
fi
