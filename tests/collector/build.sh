#!/usr/bin/env bash
# Builds the peers of the tests in this folder and prints the path of the binary:
#
#   build.sh collector    an OpenTelemetry Collector of the version and parts in builder.yaml
#   build.sh webhook      the admission webhook in webhook/
#
# Everything lands under cargo's target folder. A Collector that is there already is not built
# again; a new version or manifest gets a folder of its own.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CARGO_TARGET_DIR:-$here/../../target}/go-peers
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)

# Only the toolchain that is installed, and only the settings that this script states: flags or a
# workspace of the caller (`-mod=vendor`, a go.work above) would apply to modules they do not know.
export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false GOWORK=off CGO_ENABLED=0

collector() {
    local manifest=$here/builder.yaml version stamp binary work
    version=$(sed -n 's/^  version: *//p' "$manifest")
    stamp=$(cksum <"$manifest" | cut -d' ' -f1)
    binary=$cache/collector-$version-$stamp/otelcol
    if [[ ! -x $binary ]]; then
        echo "building OpenTelemetry Collector $version, once; this takes minutes" >&2
        # A folder of its own and a rename at the end: an interrupted build leaves nothing that
        # looks complete, and two at the same time do not meet.
        work=$(mktemp -d "$cache/work.XXXXXX")
        # shellcheck disable=SC2064 # the folder of now, as `work` is gone when the trap runs
        trap "rm -rf '$work'" EXIT
        GOBIN=$work go install "go.opentelemetry.io/collector/cmd/builder@v$version" >&2
        sed "s|^dist:\$|&\n  output_path: $work/collector|" "$manifest" >"$work/builder.yaml"
        (cd "$work" && ./builder --config builder.yaml) >&2
        mkdir -p "$(dirname "$binary")"
        mv -f "$work/collector/otelcol" "$binary"
    fi
    echo "$binary"
}

webhook() {
    # Go's own build cache makes this quick when nothing has changed.
    (cd "$here/webhook" && go build -trimpath -o "$cache/webhook-go" .) >&2
    echo "$cache/webhook-go"
}

case ${1:-collector} in
collector | webhook) "${1:-collector}" ;;
*)
    echo "usage: build.sh [collector|webhook]" >&2
    exit 2
    ;;
esac
