#!/usr/bin/env bash
# Gets what tests/deploy.rs needs: helm, kubeconform and kustomize, and what Kubernetes and the Prometheus operator say of
# their objects. Runs again at no cost.
#
# In: the Go module proxy. Out: target/deploy/bin and target/deploy/openapi.
# Left out on purpose: a cluster.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

helm=v3.21.4
kubeconform=v0.7.0
kustomize=v5.8.1
kubernetes=v1.34.4
operator=v0.85.0

into=$PWD/target/deploy
stamp="$helm $kubeconform $kustomize $kubernetes $operator"
if [ "$(cat "$into/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi
# From 1.21 on go fetches the newer one that a module asks for. Debian 12 has such a go in its backports only.
if ! command -v go >/dev/null || [ -z "$(go env GOTOOLCHAIN)" ]; then
  echo "go 1.21 or later is not on the PATH: install it to build helm, kubeconform and kustomize" >&2
  exit 2
fi
mkdir -p "$into/bin" "$into/openapi/crds"

# Built as they are published, whatever workspace or module this is run in.
cd "$into"
export GOBIN="$into/bin" GOWORK=off GOFLAGS="${GOFLAGS:-} -buildvcs=false"
go install "helm.sh/helm/v3/cmd/helm@$helm"
go install "github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform"
go install "sigs.k8s.io/kustomize/kustomize/v5@$kustomize"

# The place of a module's files.
fetch() {
  go mod download -json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])'
}
dir=$(fetch "k8s.io/kubernetes@$kubernetes")
install -m 0644 "$dir/api/openapi-spec/swagger.json" "$into/openapi/swagger.json"
dir=$(fetch "github.com/prometheus-operator/prometheus-operator@$operator")
install -m 0644 "$dir"/jsonnet/prometheus-operator/*-crd.json "$into/openapi/crds/"
printf '%s\n' "$stamp" >"$into/stamp"
