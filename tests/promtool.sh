#!/bin/bash
# Has promtool check the alerts of the chart and the queries of its dashboard.
#
# PROMTOOL takes precedence, then one on the path. Else it is that of Debian's package prometheus: a download of 20 MB, once, into
# the target directory. Nothing is installed on the system.
set -euo pipefail

fail() { echo "promtool: $*" >&2; exit 1; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=${CARGO_TARGET_DIR:-$root/target}/tools
mkdir -p "$tools"
work=$(mktemp -d --tmpdir="$tools")
trap 'rm -rf "$work"' EXIT

# Fetches Debian's, with lists of packages of its own: those of the system may be old, or missing.
fetch() (
  command -v apt-get >/dev/null || fail "there is none: install Prometheus, or set PROMTOOL to the path of promtool"
  mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
  cd "$work"
  apt() { apt-get -qq -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@" >&2; }
  apt update && apt download prometheus || fail "apt-get does not give the package prometheus: set PROMTOOL to the path of promtool"
  dpkg-deb -x prometheus_*.deb unpacked
  mv unpacked/usr/bin/promtool "$tools/promtool"
)
promtool=${PROMTOOL:-$(command -v promtool || echo "$tools/promtool")}
[ -n "${PROMTOOL:-}" ] || [ -x "$promtool" ] || fetch
"$promtool" --version >/dev/null 2>&1 || fail "$promtool cannot be run"

helm=$("$root/tests/cluster-tool.sh" helm)
"$helm" template lighthouse-telemetry "$root/charts/lighthouse-telemetry" --set exporter.endpoint=http://localhost:4317 \
  --set metrics.prometheusRule.enabled=true --api-versions monitoring.coreos.com/v1 |
  python3 -c '
import sys, textwrap
manifests = sys.stdin.read().split("\n---")
[rule] = [manifest for manifest in manifests if "\nkind: PrometheusRule\n" in manifest]
print(textwrap.dedent(rule.split("\nspec:\n")[1]))' >"$work/alerts.yaml"
# What Grafana puts in place of its variables is any duration and any text.
python3 - "$root/charts/lighthouse-telemetry/dashboards/lighthouse-telemetry.json" >"$work/dashboard.yaml" <<'P'
import json, re, sys

panels = json.load(open(sys.argv[1]))["panels"]
queries = [target["expr"] for panel in panels for target in panel.get("targets", [])]
filled = [re.sub(r"\$\{?\w+\}?", "any", re.sub(r"\$__\w+", "5m", query)) for query in queries]
rules = [{"record": f"dashboard:query{number}", "expr": query} for number, query in enumerate(filled)]
json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout)
P
for file in alerts dashboard; do
  said=$("$promtool" check rules "$work/$file.yaml" 2>&1) || fail "$file: $said"
  echo "promtool: $file: $(grep -o '[0-9]* rules found' <<<"$said")"
done
