#!/usr/bin/env bash
# Lays out the root file system of the image.
#
# In: the program `tracemap`, the directory to lay it out in, and the list of crates in the program (SBOM) where there is one. Out:
# everything that the image has, and nothing else: no shell, no package manager, nothing that anybody but root may write to but the
# state directory.
# Left out on purpose: owners, which whoever packs it gives; see the Dockerfile and oci.sh.
set -euo pipefail

program=${1:?"the program"}
into=${2:?"a directory"}
sbom=${3:-}
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

umask 022
rm -rf "$into"
mkdir -p "$into/usr/bin" "$into/etc/ssl/certs" "$into/usr/share/doc/tracemap" "$into/var/lib/tracemap/generated"
install -m 0755 "$program" "$into/usr/bin/tracemap"
# One program: by these names it is the part that they name.
ln -s tracemap "$into/usr/bin/tracemap-agent"
ln -s tracemap "$into/usr/bin/tracemap-collector"

# The authorities that Debian's package brings, and none that somebody added to this machine.
authorities=(/usr/share/ca-certificates/mozilla/*.crt)
if [ ! -e "${authorities[0]}" ]; then
  echo "there are no authorities below /usr/share/ca-certificates: install Debian's package ca-certificates" >&2
  exit 2
fi
(export LC_ALL=C && cat /usr/share/ca-certificates/mozilla/*.crt) >"$into/etc/ssl/certs/ca-certificates.crt"

printf 'root:x:0:0::/:/nonexistent\ntracemap:x:65532:65532::/var/lib/tracemap:/nonexistent\n' >"$into/etc/passwd"
printf 'root:x:0:\ntracemap:x:65532:\n' >"$into/etc/group"
# What a static glibc can do by itself; another name here would be a library that is not there.
printf 'hosts: files dns\n' >"$into/etc/nsswitch.conf"
install -m 0644 "$tree/LICENSE" "$tree/NOTICE" "$into/usr/share/doc/tracemap/"
if [ -n "$sbom" ]; then
  install -D -m 0644 "$sbom" "$into/usr/share/sbom/tracemap.cdx.json"
fi

# A program that is not static gets the libraries that it names, from this machine: the tests pack what they have built anyway.
if readelf -lW "$program" | grep -q INTERP; then
  ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
    install -D -m 0755 "$library" "$into$library"
  done
fi
