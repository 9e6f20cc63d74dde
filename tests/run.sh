#!/usr/bin/env bash
# The test command: everything that must hold before a change goes in. Works from any directory, on a fresh Debian 12.
#
# In: this tree. Out: exit code 0, or the first step that failed with what it said.
# Left out on purpose: installing Rust: rust-toolchain.toml says which.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '\n==> %4d s  %s\n' "$SECONDS" "$*"; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian starts a service as soon as it is installed, and would take the ports of the tests' own peers. A policy that
# forbids it is put in place for the time of the installation, unless the machine has one already.
policy=/usr/sbin/policy-rc.d

install_packages() {
  if [ ! -e "$policy" ]; then
    trap 'as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 0755 "$policy"
  fi
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

if ! command -v cargo >/dev/null; then
  echo "cargo is not on the PATH: install Rust with rustup, rust-toolchain.toml names the version" >&2
  exit 2
fi
missing=()
command -v prometheus >/dev/null && command -v promtool >/dev/null || missing+=(prometheus)
command -v prometheus-alertmanager >/dev/null && command -v amtool >/dev/null || missing+=(prometheus-alertmanager)
# The compression libraries are built from C, and librdkafka with make.
command -v cc >/dev/null && command -v c++ >/dev/null && command -v make >/dev/null || missing+=(build-essential)
# The languages of the SDKs whose clients `tests/sdk` runs.
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
command -v node >/dev/null || missing+=(nodejs)
command -v npm >/dev/null || missing+=(npm)
command -v javac >/dev/null || missing+=(default-jdk-headless)
command -v mvn >/dev/null || missing+=(maven)
command -v go >/dev/null || missing+=(golang-go)
# What the agent's tests in network namespaces and those with real clients call.
command -v iptables >/dev/null || missing+=(iptables)
command -v ip >/dev/null && command -v ss >/dev/null || missing+=(iproute2)
command -v curl >/dev/null || missing+=(curl)
command -v openssl >/dev/null || missing+=(openssl)
command -v sysctl >/dev/null || missing+=(procps)
# What packs the image and runs it as an engine does.
for tool in jq runc skopeo umoci; do command -v "$tool" >/dev/null || missing+=("$tool"); done
# The brokers that the agent stands before; Debian has some of them where only root looks. Kafka comes from Maven Central.
for broker in mosquitto nats-server rabbitmq-server redis-server; do
  command -v "$broker" >/dev/null || [ -x "/usr/sbin/$broker" ] || missing+=("$broker")
done
if [ "${#missing[@]}" -gt 0 ]; then
  step "installing ${missing[*]}"
  # In a shell of its own, so that the policy is gone whether this succeeds or not.
  (install_packages "${missing[@]}")
fi
step "peers: $(promtool --version 2>&1 | head -n 1); $(amtool --version 2>&1 | head -n 1)"

step "cargo fmt"
cargo fmt --all --check

# Beside the build of the tests, which leaves a core idle wherever all wait for one crate.
step "helm, kubeconform, kustomize, kube-apiserver"
bash tests/deploy/tools.sh &
tools=$!

# One profile, that of `cargo run --release`, so that the tree is built once and clippy finds its build scripts done.
step "cargo build"
cargo test --release --workspace --locked --no-run
wait "$tools"

step "cargo test"
cargo test --release --workspace --locked

# Carriers for clients of brokers, which nothing else is built with.
step "cargo test, all carriers"
cargo test --release --package tracemap-propagation --all-features --locked

step "cargo deny"
bash tests/deny.sh

step "cargo clippy"
cargo clippy --release --workspace --all-targets --locked -- -D warnings

step "all passed"
