#!/bin/bash
# Makes a mapper with `mapper new` and goes on as its README says, with the commands that stand there: tests it, builds it, makes it a
# component, checks it, maps an object with it, and packages it for a cluster. Ends with the first that is not as said.
#
# Usage: new-mapper.sh PATH-OF-lighthouse-telemetry
set -euo pipefail

fail() { echo "new-mapper: $*" >&2; exit 1; }
[ $# = 1 ] && [ -x "$1" ] || fail "usage: $0 PATH-OF-lighthouse-telemetry"
program=$(realpath "$1")
libraries=$(rustc --print target-libdir --target wasm32-unknown-unknown)
[ -d "$libraries" ] || fail "the target is missing: rustup target add wasm32-unknown-unknown"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
ln -s "$program" "$work/bin/lighthouse-telemetry"
export PATH=$work/bin:$PATH
# The mapper's author has no settings of this workspace.
unset CARGO_TARGET_DIR RUSTFLAGS
cd "$work"
lighthouse-telemetry mapper new shop-build --kind example.com/v1/Build
cd shop-build

# The commands of the README that begin so, as they stand there.
commands() { sed -n '/^```sh$/,/^```$/p' README.md | grep "^$1" || fail "the README has no command '$1 …'"; }
# Runs one, shows it and what it says, and keeps that.
follow() {
  [ -n "$1" ] || exit 1 # what is missing was said
  echo "> $1"
  said=$(eval "$1" 2>&1) || { echo "$said"; fail "failed: $1"; }
  echo "$said"
}
says() { grep --quiet --fixed-strings -- "$1" <<<"$said" || fail "does not say: $1"; }

follow "$(commands 'cargo test')"
says '3 passed'
follow "$(commands 'cargo build')"
follow "$(commands 'lighthouse-telemetry mapper component')"
follow "$(commands 'lighthouse-telemetry mapper check')"
says 'builds'
python3 - "$(lighthouse-telemetry mapper check --json shop-build.wasm)" <<'EOF' || fail "mapper check --json does not say that it fits a ConfigMap, with nothing to note"
import json, sys
[checked] = json.loads(sys.argv[1])
sys.exit(not (checked["fitsConfigMap"] is True and checked["notes"] == [] and checked["rules"][0]["resources"] == ["builds"]))
EOF

# `make` is the same in short.
before=$(sha256sum shop-build.wasm)
follow 'make'
[ "$(sha256sum shop-build.wasm)" = "$before" ] || fail "make makes another mapper than the commands do"

# What is no component yet is refused with what to do.
core=target/wasm32-unknown-unknown/release/shop_build_mapper.wasm
if said=$(lighthouse-telemetry mapper check "$core"); then fail "a core module is taken for a mapper"; fi
says 'mapper component'

cat >objects.yaml <<'EOF'
apiVersion: example.com/v1
kind: Build
metadata: {name: a, namespace: jx, uid: u, creationTimestamp: "2026-01-01T00:00:00Z"}
status: {startTime: "2026-01-01T00:00:02Z", completionTime: "2026-01-01T00:01:00Z"}
EOF
follow "$(commands 'lighthouse-telemetry map ')"
says 'queue'

package=$(commands 'lighthouse-telemetry mapper package')
follow "${package%% | kubectl*}"
says '"shop-build.wasm": "'
echo "new-mapper: all is as its README says"
