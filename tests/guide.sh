#!/bin/bash
# Follows docs/mappers.md: runs its blocks of commands of one class as they stand there, each from a folder with a copy of what
# this checkout has of mappers, and the guide itself. A stand-in takes what kubectl is to apply.
#
# Usage: guide.sh rust|javascript PATH-OF-lighthouse-telemetry
set -euo pipefail

fail() { echo "guide: $*" >&2; exit 1; }
[ $# = 2 ] && [ -x "$2" ] || fail "usage: $0 rust|javascript PATH-OF-lighthouse-telemetry"
class=$1
program=$(realpath "$2")
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" "$work/home"
ln -s "$program" "$work/bin/lighthouse-telemetry"
cat >"$work/bin/kubectl" <<'EOF'
#!/bin/sh
[ "$*" = "apply --server-side -f -" ] && exec grep --count '^kind: ConfigMap$' # reads to the end
echo "kubectl is not told what to do: $*" >&2
exit 1
EOF
chmod +x "$work/bin/kubectl"
awk -v class="$class" -v to="$work/block-" '
  $0 == "```sh " class { file = sprintf("%s%02d", to, ++blocks); next }
  /^```$/ { file = "" }
  file { print > file }
' docs/mappers.md
git ls-files -z mappers wit LICENSE docs/mappers.md | xargs -0 cp --parents --target-directory="$work/home"

export PATH=$work/bin:$PATH
# Whoever follows the guide has no settings of this workspace.
unset CARGO_TARGET_DIR RUSTFLAGS
run=0
for block in "$work"/block-*; do
  [ -f "$block" ] || fail "the guide has no block of '$class'"
  echo "::: a block of the guide:"
  (cd "$work/home" && bash -euxo pipefail "$block")
  run=$((run + 1))
done
echo "guide: all $run blocks of '$class' do what they say"
