#!/usr/bin/env bash
# Builds the peers of the tests in this folder and prints the path of the binary:
#
#   build.sh collector    an OpenTelemetry Collector of the version and parts in builder.yaml
#   build.sh webhook      the admission webhook in webhook/
#
# Everything lands under cargo's target folder. What is there already is not built again; another
# version, manifest or source gets a folder of its own.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CARGO_TARGET_DIR:-$here/../../target}/go-peers
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

# Only the toolchain that is installed, and only the settings that this script states: flags or a
# workspace of the caller (`-mod=vendor`, a go.work above) would apply to modules they do not know.
export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false GOWORK=off CGO_ENABLED=0

# build NAME STAMP: leaves NAME's binary at $binary, which `compile_NAME` makes in an empty folder.
build() {
    local work
    binary=$cache/$1-$2/$1
    if [[ -x $binary ]]; then
        return
    fi
    # A folder of its own and a rename at the end: an interrupted build leaves nothing that looks
    # complete, and two at the same time, or a build and a test that runs the binary, do not meet.
    work=$(mktemp -d "$cache/work.XXXXXX")
    # shellcheck disable=SC2064 # the folder of now, as `work` is gone when the trap runs
    trap "rm -rf '$work'" EXIT
    "compile_$1" "$work" >&2
    mkdir -p "$(dirname "$binary")"
    mv -f "$work/$1" "$binary"
}

compile_collector() {
    echo "building OpenTelemetry Collector $version, once; this takes minutes"
    GOBIN=$1 go install "go.opentelemetry.io/collector/cmd/builder@v$version"
    sed "s|^dist:\$|&\n  output_path: $1/sources|" "$here/builder.yaml" >"$1/builder.yaml"
    (cd "$1" && ./builder --config builder.yaml)
    mv "$1/sources/otelcol" "$1/collector"
}

compile_webhook() {
    (cd "$here/webhook" && go build -trimpath -o "$1/webhook" .)
}

# A number that changes with any of the files.
stamp() {
    cat "$@" | cksum | cut -d' ' -f1
}

case ${1:-collector} in
collector)
    version=$(sed -n 's/^  version: *//p' "$here/builder.yaml")
    build collector "$version-$(stamp "$here/builder.yaml")"
    ;;
webhook)
    build webhook "$(stamp "$here"/webhook/*)"
    ;;
*)
    echo "usage: build.sh [collector|webhook]" >&2
    exit 2
    ;;
esac
echo "$binary"
