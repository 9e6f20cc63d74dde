#!/usr/bin/env bash
# Gets what tests/deploy.rs needs: helm, kubeconform and kustomize, an API server with its database, and what
# Kubernetes and the Prometheus operator say of their objects; for tests/image the loader of `docker compose`; and for the fragments of
# `instrumentation` what Istio, the Gateway API and Envoy say of theirs. Runs again at no cost.
#
# In: the Go module proxy. Out: target/deploy/bin and target/deploy/openapi.
# Left out on purpose: what runs pods: controllers, a scheduler, a kubelet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

helm=v3.21.4
kubeconform=v0.7.0
kustomize=v5.8.1
compose=v2.16.2
kubernetes=v1.34.4
etcd=v3.6.4
operator=v0.85.0
istio=v1.31.1
# The newest that the go above builds.
gateway=v1.6.3

into=$PWD/target/deploy
toolchain=go1.26.0
mesh=$PWD/tests/deploy/mesh
stamp="$helm $kubeconform $kustomize $compose $kubernetes $etcd $operator $istio $gateway $(cat "$mesh"/* | sha256sum)"
if [ "$(cat "$into/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi
if ! command -v go >/dev/null; then
  echo "go is not on the PATH: install it to build helm, kubeconform, kustomize and kube-apiserver" >&2
  exit 2
fi
mkdir -p "$into/bin" "$into/openapi/crds"

# The place of a module's files.
fetch() {
  go mod download -json "$1" | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])'
}

# From 1.21 on go fetches the newer one that a module asks for. That of Debian 12 is older, and is told to, from the same proxy: as a
# module, whose files are all plain.
if [ -z "$(go env GOTOOLCHAIN)" ]; then
  dir=$(cd "$into" && fetch "golang.org/toolchain@v0.0.1-$toolchain.$(go env GOOS)-$(go env GOARCH)")
  rm -rf "$into/go" && cp -r "$dir" "$into/go" && chmod -R u+w "$into/go"
  chmod +x "$into"/go/bin/* "$into"/go/pkg/tool/*/*
  export PATH="$into/go/bin:$PATH" GOROOT="$into/go" GOTOOLCHAIN=local
fi

# Built as they are published, whatever workspace or module this is run in.
cd "$into"
export GOBIN="$into/bin" GOWORK=off GOFLAGS="${GOFLAGS:-} -buildvcs=false"
go install "helm.sh/helm/v3/cmd/helm@$helm"
go install "github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform"
go install "sigs.k8s.io/kustomize/kustomize/v5@$kustomize"
# Its program is called after its directory.
go install "github.com/compose-spec/compose-go/v2/cmd@$compose"
mv "$into/bin/cmd" "$into/bin/compose-spec"

dir=$(fetch "k8s.io/kubernetes@$kubernetes")
install -m 0644 "$dir/api/openapi-spec/swagger.json" "$into/openapi/swagger.json"

# `go install` builds no module that replaces others, and Kubernetes replaces its own parts by directories beside it. They are
# published as well, as v0 of the same number: this module has them from there, and the sums from the checksum database.
apiserver() {
  local module=$into/apiserver staging=v0.${kubernetes#v1.}
  rm -rf "$module" && mkdir "$module"
  {
    printf 'module apiserver\n\ngo 1.24.0\n\nrequire (\n\tk8s.io/kubernetes %s\n\tgo.etcd.io/etcd/server/v3 %s\n)\n\n' "$kubernetes" "$etcd"
    sed -n 's|^[[:space:]]*\(k8s\.io/[a-z-]*\) => \./staging/.*|replace \1 => \1 '"$staging"'|p' "$dir/go.mod"
  } >"$module/go.mod"
  local name=k8s.io/component-base/version
  local flags="-s -w -X $name.gitVersion=$kubernetes -X $name.gitMajor=1 -X $name.gitMinor=34"
  (
    cd "$module"
    go build -mod=mod -trimpath -ldflags "$flags" -o "$into/bin/etcd" go.etcd.io/etcd/server/v3
    go build -mod=mod -trimpath -ldflags "$flags" -o "$into/bin/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
  )
}
apiserver
dir=$(fetch "github.com/prometheus-operator/prometheus-operator@$operator")
install -m 0644 "$dir"/jsonnet/prometheus-operator/*-crd.json "$into/openapi/crds/"

# Envoy's definitions are compiled in; those of the others are YAML.
(cd "$mesh" && go build -mod=readonly -o "$into/bin/mesh" .)
istio_dir=$(fetch "istio.io/api@$istio")
gateway_dir=$(fetch "sigs.k8s.io/gateway-api@$gateway")
"$into/bin/mesh" crds "$into/openapi/crds" "$istio_dir/kubernetes/customresourcedefinitions.gen.yaml" \
  "$gateway_dir/config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"
printf '%s\n' "$stamp" >"$into/stamp"
