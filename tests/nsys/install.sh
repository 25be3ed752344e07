#!/usr/bin/env bash
# Puts real nsys into DEST/<version>/bin/nsys, for the tests: no root, no GPU, nothing of the system is changed.
#
#   tests/nsys/install.sh DEST [VERSION...]
#
# Debian has 2022.4.2 (bookworm) and 2024.2.3 (experimental, which may move on: without it the tests run on the other).
# Of 170 MB of packages 130 MB stay: the command line, its reports and rules, CUPTI, and the importer of recordings.
# The software is NVIDIA's, under its own licence.
set -euo pipefail

MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
# What the importer is linked to; a bare container has none of it.
LIBRARIES="libssh-4 libpfm4 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1 libssl3 libelf1 zlib1g"

fail() {
  echo "error: $1" >&2
  exit 3
}

[ $# -ge 1 ] || fail "Say where to: tests/nsys/install.sh DEST [VERSION...]."
mkdir -p "$1"
DEST=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- 2022.4.2 2024.2.3
for tool in apt-get dpkg-deb ldd; do
  command -v "$tool" >/dev/null || fail "$tool is missing: nsys is taken from Debian packages. Install nsys yourself and put it on PATH."
done
[ "$(dpkg --print-architecture)" = amd64 ] || fail "Only packages for amd64 are known. Install nsys yourself and put it on PATH."
[ -r $KEYRING ] || fail "$KEYRING is missing. Install the package debian-archive-keyring, or put an nsys of your own on PATH."

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$WORK"/lists/partial "$WORK"/cache/archives/partial

# An apt of our own: the system's lists and sources stay as they are.
apt() {
  apt-get -qq -o Dir::Etc::sourcelist="$WORK/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::lists="$WORK/lists" -o Dir::Cache="$WORK/cache" -o Dir::State::status=/dev/null \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=3 -o Acquire::http::Timeout=30 "$@"
}

suite_of() {
  case $1 in
    2022.4.2) echo bookworm ;;
    2024.2.3) echo experimental ;;
    *) fail "There is no nsys $1 in Debian. Choose from 2022.4.2 and 2024.2.3." ;;
  esac
}

# $1 version, $2 suite
install() {
  local root=$WORK/$1 out=$DEST/$1.new target host packages=
  mkdir -p "$root/debs"
  [ "$2" = bookworm ] || packages="libarrow500 libparquet500"
  (cd "$root/debs" && apt download -t "$2" "nsight-systems=$1.*" "nsight-systems-target=$1.*" $packages &&
    apt download $LIBRARIES) || return 1
  for deb in "$root"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
  target=$root/usr/lib/x86_64-linux-gnu/nsight-systems/target-linux-x64
  host=$root/usr/lib/nsight-systems/host-linux-x64

  rm -rf "$out"
  # nsys asks for these two names of folders.
  mkdir -p "$out/bin" "$out/lib" "$out/target-linux-x64" "$out/host-linux-x64"
  (cd "$target" && cp -a nsys nsys-launcher launcher lib*Launcher64.so libToolsInjection64.so libToolsInjectionProxy64.so \
    libToolsInjectionMemoryAllocator.so \
    libPreRunProcessInjector.so libnvlog.so nvlog.config.template CudaGpuInfoDumper python reports rules \
    "$(ls -v libcupti.so.* | tail -1)" "$out/target-linux-x64" 2>/dev/null) || true
  [ -x "$out/target-linux-x64/nsys" ] || return 1
  cp -a "$host/QdstrmImporter" "$host/reports" "$host/rules" "$out/host-linux-x64"
  # 2023 and later take the reports beside the importer, which then lack the module that they share.
  mkdir -p "$out/host-linux-x64/python/lib"
  cp "$target"/python/lib/*.py "$out/host-linux-x64/python/lib" 2>/dev/null || true
  LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu ldd "$host/QdstrmImporter" |
    awk -v root="$root" 'index($3, root) == 1 { print $3 }' | xargs cp -L -t "$out/host-linux-x64"
  cp -L "$root"/usr/lib/x86_64-linux-gnu/libelf.so.1 "$root"/lib/x86_64-linux-gnu/libz.so.1 "$out/lib"
  cat >"$out/bin/nsys" <<'WRAPPER'
#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")
nsys=$root/target-linux-x64/nsys
# Only where the system lacks them: the profiled program sees the variable too.
if ldd "$nsys" | grep -q 'not found'; then export LD_LIBRARY_PATH="$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"; fi
exec "$nsys" "$@"
WRAPPER
  chmod +x "$out/bin/nsys"
  "$out/bin/nsys" --version | grep -q "version $1" || return 1
  mv "$out" "$DEST/$1"
}

cat >"$WORK/sources.list" <<SOURCES
deb [signed-by=$KEYRING] $MIRROR bookworm main non-free
deb [signed-by=$KEYRING] $MIRROR experimental main non-free
SOURCES
listed=
for version in "$@"; do
  suite=$(suite_of "$version")
  [ ! -x "$DEST/$version/bin/nsys" ] || continue
  if [ -z "$listed" ]; then
    apt update || fail "$MIRROR cannot be reached. Set DEBIAN_MIRROR, or put an nsys of your own on PATH."
    listed=yes
  fi
  if install "$version" "$suite"; then
    echo "nsys $version: $DEST/$version/bin/nsys"
  elif [ "$suite" = experimental ]; then
    echo "note: Debian no longer has nsys $version; the tests go without it." >&2
  else
    fail "nsys $version could not be had from $MIRROR. Set DEBIAN_MIRROR, or put an nsys of your own on PATH."
  fi
done
