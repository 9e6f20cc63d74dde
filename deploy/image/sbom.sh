#!/usr/bin/env bash
# Lists the crates of the program, as a CycloneDX 1.5 document: the same bytes each time.
#
# In: this tree with Cargo.lock, the file to write, a target (default: this machine's); cargo-cyclonedx, which is OWASP's own:
# `cargo install cargo-cyclonedx --version 0.5.9 --locked`. Out: the file: crates by version, licence and checksum, without those
# that only tests or builds use.
# Left out on purpose: the compiler's standard library, and glibc, which are linked in as well; the tags of the builder's image
# say which.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

into=$(realpath -m "${1:?"a file"}")
target=${2:-$(rustc -vV | sed -n 's/^host: //p')}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

if ! command -v cargo-cyclonedx >/dev/null; then
  echo "cargo-cyclonedx is not on the PATH: install it with \`cargo install cargo-cyclonedx --version 0.5.9 --locked\`" >&2
  exit 2
fi
# It writes beside every Cargo.toml, so it has a copy.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar --exclude=./target --exclude=./.git --exclude=./generated --exclude=./tracemap-data -cf - . | tar -C "$copy" -xf -
cargo cyclonedx --quiet --manifest-path "$copy/Cargo.toml" --format json --spec-version 1.5 --target "$target" --no-build-deps \
  --override-filename sbom
# Crates of this workspace are named by where they lie; that is this machine's business.
sed "s|file://$copy|file:///tracemap|g; s|$copy|/tracemap|g" "$copy/sbom.json" >"$into"
