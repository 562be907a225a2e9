#!/usr/bin/env bash
# Gets ready what a peer of the tests in peers/ runs with, and prints its path:
#
#   build.sh python    the Python of an environment with the packages of python/requirements.txt
#   build.sh node      the node_modules that node/package-lock.json says
#   build.sh go        the program of go/
#
# Everything lands under cargo's target folder, in the versions of the lock files, hashes checked.
# What is there already is not made again; another lock file or source gets a folder of its own.
# PYTHON names another Python than python3.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CARGO_TARGET_DIR:-$here/../../target}/sdk-peers
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
python=${PYTHON:-python3}

# make NAME STAMP: leaves NAME's folder at $made, which `make_NAME` fills.
make() {
    local work parent=$cache/$1-$2
    made=$parent/$1
    if [[ -e $made ]]; then
        return
    fi
    # A folder of its own and a rename at the end: what is interrupted leaves nothing that looks
    # complete. Of two that are made at the same time the second cannot be moved, and is not needed.
    work=$(mktemp -d "$cache/work.XXXXXX")
    # shellcheck disable=SC2064 # the folder of now, as `work` is gone when the trap runs
    trap "rm -rf '$work'" EXIT
    mkdir "$work/$1"
    "make_$1" "$work/$1" >&2
    mkdir -p "$parent"
    mv -f "$work/$1" "$parent/" || [[ -e $made ]]
}

make_python() {
    echo "installing the Python peer's packages, once"
    "$python" -m venv "$1"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --only-binary :all: --require-hashes --requirement "$here/python/requirements.txt"
}

make_node() {
    echo "installing the Node peer's packages, once"
    cp "$here/node/package.json" "$here/node/package-lock.json" "$1"
    (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier)
}

make_go() {
    echo "building the Go peer"
    (
        cd "$here/go"
        # Only the toolchain that is installed, and only the settings that this script states.
        export GOTOOLCHAIN=local GOFLAGS=-buildvcs=false GOWORK=off CGO_ENABLED=0
        go build -trimpath -o "$1/peer" .
    )
}

# A number that changes with what is read.
stamp() {
    cksum | cut -d' ' -f1
}

case ${1:-} in
python)
    # An environment is of one interpreter; another, or a newer one in its place, needs its own.
    interpreter=$("$python" -c 'import sys; print(sys.version, sys.base_prefix)')
    make python "$(cat "$here/python/requirements.txt" - <<<"$interpreter" | stamp)"
    echo "$made/bin/python"
    ;;
node)
    make node "$(cat "$here"/node/package*.json | stamp)"
    echo "$made/node_modules"
    ;;
go)
    make go "$(cat "$here"/go/* | stamp)"
    echo "$made/peer"
    ;;
*)
    echo "usage: build.sh python|node|go" >&2
    exit 2
    ;;
esac
