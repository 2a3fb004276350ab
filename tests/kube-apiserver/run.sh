#!/bin/bash
# Runs etcd and kube-apiserver on loopback, on free ports and in a folder of their own, for as long as standard input
# stays open: whoever started it may end in any way, even by a crash, and nothing is left behind.
#
# Usage: run.sh [more flags for kube-apiserver]      By hand: run.sh, and Ctrl-D to end it.
#
# Says `ready KUBECONFIG` on standard output once it answers. Commands on standard input, a line each:
#   stop    kills kube-apiserver (etcd stays);   says `stopped`
#   start   starts it again, at the same port;   says `ready KUBECONFIG`
#   suspend and resume: it hangs, and goes on;   says `suspended`, `resumed`
# Needs openssl and curl, and the binaries (build.sh finds or builds them).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() { echo "kube-apiserver: $*" >&2; exit 1; }
for tool in openssl curl; do
  command -v "$tool" >/dev/null || fail "$tool is missing: run 'make tools'"
done
assets=$("$here/build.sh")

umask 077
run=$(mktemp -d)
etcd_pid='' apiserver_pid=''
end() { # a process of ours
  [ -n "$1" ] && kill "$1" 2>/dev/null || return 0
  kill -CONT "$1" 2>/dev/null || true
  for _ in $(seq 100); do
    kill -0 "$1" 2>/dev/null || break
    sleep 0.05
  done
  kill -9 "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}
trap 'end "$apiserver_pid"; end "$etcd_pid"; rm -rf "$run"' EXIT
trap 'exit 0' INT TERM HUP

# Where there is setpriv, the servers end with this script even if it is killed outright.
with_parent=()
setpriv --pdeathsig TERM true 2>/dev/null && with_parent=(setpriv --pdeathsig TERM)

free_port() { # below the range that the system gives out itself
  local port
  for _ in $(seq 100); do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  fail "no free port found"
}

certificates() {
  cd "$run"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=test-ca -keyout ca.key -out ca.crt
  certificate() { # name, subject, extensions
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out "$1.crt" -extfile <(printf '%s\n' "$3")
  }
  certificate server /CN=kube-apiserver $'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:10.0.0.1\nextendedKeyUsage=serverAuth'
  certificate admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
  openssl genrsa -out accounts.key 2048
  openssl rsa -in accounts.key -pubout -out accounts.pub
}
(certificates) >"$run/openssl.log" 2>&1 || { tail -5 "$run/openssl.log" >&2; fail "openssl failed"; }

start_etcd() {
  local client peer
  client=$(free_port) peer=$(free_port)
  etcd_url=http://127.0.0.1:$client
  "${with_parent[@]}" "$assets/etcd" --name test --data-dir "$run/etcd" --unsafe-no-fsync \
    --listen-client-urls "$etcd_url" --advertise-client-urls "$etcd_url" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "test=http://127.0.0.1:$peer" >"$run/etcd.log" 2>&1 </dev/null &
  etcd_pid=$!
}

start_apiserver() { # more flags
  "${with_parent[@]}" "$assets/kube-apiserver" --etcd-servers="$etcd_url" \
    --bind-address=127.0.0.1 --secure-port="$port" --advertise-address=127.0.0.1 --endpoint-reconciler-type=none \
    --tls-cert-file="$run/server.crt" --tls-private-key-file="$run/server.key" --client-ca-file="$run/ca.crt" \
    --anonymous-auth=false --authorization-mode=RBAC \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$run/accounts.pub" --service-account-signing-key-file="$run/accounts.key" \
    --service-cluster-ip-range=10.0.0.0/24 --allow-privileged=true \
    --disable-admission-plugins=ServiceAccount \
    "$@" >"$run/apiserver.log" 2>&1 </dev/null &
  apiserver_pid=$!
}

answers() { # path
  curl --silent --fail --cacert "$run/ca.crt" --cert "$run/admin.crt" --key "$run/admin.key" \
    "https://127.0.0.1:$port$1" >/dev/null
}

# 0: it answers; 1: one of the two died, most likely because somebody took the port first.
wait_until_ready() {
  for _ in $(seq 1200); do
    kill -0 "$etcd_pid" 2>/dev/null && kill -0 "$apiserver_pid" 2>/dev/null || return 1
    if answers /readyz && answers /api/v1/namespaces/default; then return 0; fi
    sleep 0.05
  done
  tail -20 "$run/apiserver.log" >&2
  fail "not ready after 60 s"
}

for attempt in 1 2 3; do
  port=$(free_port)
  start_etcd
  start_apiserver "$@"
  wait_until_ready && break
  end "$apiserver_pid"
  end "$etcd_pid"
  if [ "$attempt" = 3 ]; then
    tail -20 "$run/etcd.log" "$run/apiserver.log" >&2
    fail "etcd or kube-apiserver died three times"
  fi
  rm -rf "$run/etcd"
done

cat >"$run/kubeconfig" <<Y
apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: https://127.0.0.1:$port
    certificate-authority-data: $(base64 -w0 "$run/ca.crt")
users:
- name: admin
  user:
    client-certificate-data: $(base64 -w0 "$run/admin.crt")
    client-key-data: $(base64 -w0 "$run/admin.key")
contexts:
- name: test
  context: {cluster: test, user: admin, namespace: default}
current-context: test
Y
echo "ready $run/kubeconfig"

while read -r command; do
  case $command in
  stop)
    end "$apiserver_pid"
    echo stopped
    ;;
  start)
    start_apiserver "$@"
    wait_until_ready || { tail -20 "$run/apiserver.log" >&2; fail "kube-apiserver did not start again"; }
    echo "ready $run/kubeconfig"
    ;;
  suspend)
    kill -STOP "$apiserver_pid"
    echo suspended
    ;;
  resume)
    kill -CONT "$apiserver_pid"
    echo resumed
    ;;
  *) fail "unknown command '$command': stop, start, suspend or resume" ;;
  esac
done
