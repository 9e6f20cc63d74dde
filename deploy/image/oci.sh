#!/usr/bin/env bash
# Packs the image as an OCI archive, without a container engine: the same bytes each time from the same files.
#
# In: the program, the archive to write, the SBOM where there is one; umoci and GNU tar. Out: the archive, and on standard output
# the manifest's digest. `podman load`, `skopeo copy oci-archive:FILE docker://…` and engines with containerd's store take it.
# Left out on purpose: compiling (build.sh), what is in the image (rootfs.sh), pushing.
#
# umoci, of the Open Container Initiative, and Debian's: it writes layouts by the specification's own library, takes a layer as it
# is (`raw add-layer`), so that GNU tar can say every owner and time, and needs neither root nor a daemon. buildah would run
# containers, and crane speaks with registries.
set -euo pipefail

program=${1:?"the program"}
archive=$(realpath -m "${2:?"an archive"}")
sbom=${3:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(cd "$here/../.." && pwd)

for tool in umoci jq readelf; do
  if ! command -v "$tool" >/dev/null; then
    echo "$tool is not on the PATH: on Debian it is in the package ${tool/readelf/binutils}" >&2
    exit 2
  fi
done

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$tree/Cargo.toml" | head -n 1)
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$tree" log -1 --format=%ct)}
revision=${TRACEMAP_REVISION:-$(git -C "$tree" rev-parse HEAD)}
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)
# The processor as OCI names it, from the program and not from this machine.
case $(readelf -hW "$program" | sed -n 's/^ *Machine: *//p') in
*X86-64*) architecture=amd64 ;;
AArch64*) architecture=arm64 ;;
*)
  echo "\`$program\` is for a processor that the image is not made for" >&2
  exit 2
  ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bash "$here/rootfs.sh" "$program" "$work/root" "$sbom"

# Names in order, one time, owners by number: root's but for the state directory.
pack=(tar --format=ustar --sort=name "--mtime=@$epoch" --numeric-owner --directory "$work/root")
"${pack[@]}" --owner=0 --group=0 --exclude=./var/lib/tracemap -cf "$work/layer.tar" .
"${pack[@]}" --owner=65532 --group=65532 -rf "$work/layer.tar" ./var/lib/tracemap

image="$work/layout:$version"
history=(--history.created "$created" --history.author "tracemap")
umoci init --layout "$work/layout"
umoci new --image "$image"
umoci raw add-layer --image "$image" "${history[@]}" --history.created_by deploy/image/rootfs.sh "$work/layer.tar"
labels=(
  "org.opencontainers.image.title=tracemap"
  "org.opencontainers.image.description=From requests to a dependency map, and from the map to dashboards and alerts"
  "org.opencontainers.image.licenses=Apache-2.0"
  "org.opencontainers.image.version=$version"
  "org.opencontainers.image.revision=$revision"
  "org.opencontainers.image.created=$created"
)
config=(--image "$image" "${history[@]}" --history.created_by deploy/image/oci.sh)
config+=(--created "$created" --os linux --architecture "$architecture")
config+=(--config.user 65532:65532 --config.workingdir /var/lib/tracemap --config.entrypoint /usr/bin/tracemap)
config+=(--config.env PATH=/usr/bin --config.stopsignal SIGTERM)
for port in 4317 4318 7070 7071; do config+=(--config.exposedports "$port/tcp"); done
for label in "${labels[@]}"; do config+=(--config.label "$label" --manifest.annotation "$label"); done
umoci config "${config[@]}"
umoci gc --layout "$work/layout"

tar --format=ustar --sort=name "--mtime=@$epoch" --numeric-owner --owner=0 --group=0 --mode=u+rw,go+r,go-w \
  --directory "$work/layout" -cf "$archive" .
jq -r '.manifests[0].digest' "$work/layout/index.json"
