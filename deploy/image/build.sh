#!/usr/bin/env bash
# Builds the command `tracemap` as an image has it: static and without paths of this machine.
#
# In: this tree, a directory to build in, a target (default: this machine's), a profile (default: dist). Out: the program's path,
# on standard output.
# Left out on purpose: musl, whose name resolution and allocator are others; glibc is linked in instead. For another processor
# than this one the target's `gcc` and C library must be there, as in the Dockerfile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

into=${1:?"a directory to build in"}
target=${2:-$(rustc -vV | sed -n 's/^host: //p')}
profile=${3:-dist}
case $profile in dev) dir=debug ;; *) dir=$profile ;; esac

# What a build would otherwise say of where it was: this tree, and where cargo keeps the crates. C has it in `__FILE__`.
registry=${CARGO_HOME:-$HOME/.cargo}
export CARGO_TARGET_DIR=$into
export CFLAGS="${CFLAGS:-} -ffile-prefix-map=$PWD=/tracemap -ffile-prefix-map=$registry=/cargo -ffile-prefix-map=$into=/target"
export RUSTFLAGS="-C target-feature=+crt-static --remap-path-prefix=$PWD=/tracemap --remap-path-prefix=$registry=/cargo"
RUSTFLAGS+=" --remap-path-prefix=$into=/target"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

# A target that is named keeps these flags from build scripts and macros, which cannot be static.
cargo build --locked --package tracemap --bin tracemap --profile "$profile" --target "$target" >&2
printf '%s\n' "$into/$target/$dir/tracemap"
