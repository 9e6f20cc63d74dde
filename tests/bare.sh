#!/usr/bin/env bash
# The README's two commands as somebody new runs them: in a Debian that has nothing but its base, a C compiler, git and Rust.
#
# In: root, debootstrap, this commit, the toolchain that this machine has; a directory for the new root; `first`, `second` or `both`
# (default). Out: 0 where the page of the first command answered and the second passed; times on standard output.
# Left out on purpose: rustup, whose toolchain is mounted read-only in its place; anything that outlives the script but the directory
# itself: mounts are in a namespace of their own, which ends with it.
set -euo pipefail

tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
new=$(realpath -m "${1:?"a directory for the new root"}")
which=${2:-both}

if [ -z "${TRACEMAP_BARE:-}" ]; then
  if [ "$(id -u)" -ne 0 ]; then echo "this mounts and changes roots: run it as root" >&2; exit 2; fi
  toolchain=$(cd "$tree" && rustc --print sysroot)
  # Processes and mounts of the new root end with this script.
  TRACEMAP_BARE=$toolchain exec unshare --mount --pid --fork --kill-child --propagation private bash "$0" "$new" "$which"
fi

step() { printf '\n==> %4d s  %s\n' "$SECONDS" "$*"; }

if [ ! -e "$new/etc/debian_version" ]; then
  step "debootstrap"
  debootstrap --variant=minbase bookworm "$new" >"$new.log" 2>&1 || { tail -n 20 "$new.log" >&2; exit 2; }
fi
# A mount of its own, as a container's root is: `ip netns` changes how it propagates.
mount --bind "$new" "$new"
mkdir -p "$new/opt/rust" "$new/root"
mount --bind "$TRACEMAP_BARE" "$new/opt/rust"
mount -o remount,bind,ro "$new/opt/rust"
mount -t proc proc "$new/proc"
mount --rbind /dev "$new/dev"
mount -t sysfs -o ro sysfs "$new/sys"
cp /etc/resolv.conf "$new/etc/resolv.conf"

inside() {
  chroot "$new" /usr/bin/env -i HOME=/root TERM=dumb LANG=C.UTF-8 PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt bash -euo pipefail -c "$1"
}

step "what somebody who writes Rust has"
inside 'apt-get update -q >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends ca-certificates git gcc libc6-dev >/dev/null'
# The network of this machine may have authorities of its own.
cp /etc/ssl/certs/ca-certificates.crt "$new/etc/ssl/certs/ca-certificates.crt"

step "a clone of $(git -C "$tree" rev-parse --short=12 HEAD)"
rm -rf "$new/root/tracemap"
git clone --quiet --no-hardlinks "$tree" "$new/root/tracemap"

# The commands, as the README has them.
command_of() {
  sed -n '/^```sh$/,/^```$/p' "$tree/README.md" | sed -n "s~^\($1[^#]*[^# ]\) *#.*~\1~p" | head -n 1
}

answers() { (exec 3<>/dev/tcp/127.0.0.1/7070 && printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3 && grep -q ' 200 ' <&3) 2>/dev/null; }

if [ "$which" != second ]; then
  first=$(command_of 'cargo run')
  if answers; then echo "something answers on 7070 already" >&2; exit 2; fi
  step "$first"
  inside "cd ~/tracemap && exec $first" >"$new.first.log" 2>&1 &
  running=$!
  until answers; do
    if ! kill -0 "$running" 2>/dev/null; then tail -n 30 "$new.first.log" >&2; exit 1; fi
    sleep 2
  done
  step "the page answers"
  kill "$running"
  wait "$running" || true
fi
if [ "$which" != first ]; then
  second=$(command_of 'bash tests')
  step "$second"
  inside "cd ~/tracemap && $second"
fi
step "done"
