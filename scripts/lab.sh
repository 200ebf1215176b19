# What scripts/control-plane and scripts/cluster share: processes that are ended by their recorded ids,
# etcd, the API server. They source it, with everything that they write below $dir.
#
# The settings are for speed and are no example for a cluster that anybody depends on.
bin=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.tools/bin
ready_within=90 # seconds; 4 is usual, a busy build machine takes several times that
end_within=10   # seconds between SIGTERM and SIGKILL

fail() {
  printf 'scripts/%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# A recorded process id may belong to another program by now: it is ours only if it is a child of this
# very script, or that program with $dir in its arguments. A zombie has none, so it counts as ended.
is_ours() { # PID COMMAND: what the command line begins with
  local parent arguments
  read -r parent arguments < <(ps -ww -o ppid= -o args= -p "$1") || return 1
  [[ $parent == "$$" || $arguments == "$2 "*"$dir/"* ]]
}

end() { # PID COMMAND
  local tenths
  is_ours "$1" "$2" || return 0
  kill "$1" 2>/dev/null || true
  for ((tenths = 0; tenths < end_within * 10; tenths++)); do
    is_ours "$1" "$2" || return 0
    sleep 0.1
  done
  kill -KILL "$1" 2>/dev/null || true
  for ((tenths = 0; tenths < 20; tenths++)); do
    is_ours "$1" "$2" || return 0
    sleep 0.1
  done
  fail "$2 (process $1) does not end"
}

start() { # PROGRAM ARGUMENT...: of $bin or a path; no terminal, no pipe of the caller's stays open
  local program=$1
  [[ $program == /* ]] || program=$bin/$program
  shift
  "$program" "$@" </dev/null >>"$dir/${program##*/}.log" 2>&1 &
  printf '%s %s\n' "$!" "$program" >>"$dir/pids"
  disown # or bash reports how it ended
}

random_token() {
  od -An -v -tx1 -N16 /dev/urandom | tr -d ' \n'
}

# It listens on sockets in DIR: no port to find, and nobody else's to reach. Their names are relative,
# since the path of a socket may have no more than about 100 bytes, and look like host and port, since
# etcd checks that. The current folder must be $dir, also for the API server.
start_etcd() {
  start etcd --name lab --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls unix://client:0 --advertise-client-urls unix://client:0 \
    --listen-peer-urls unix://peer:0 --initial-advertise-peer-urls unix://peer:0 \
    --initial-cluster lab=unix://peer:0
}

make_service_account_key() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$dir/service-accounts.key" 2>/dev/null
}

# It makes its own certificate, for this address and that of the service "kubernetes".
start_api_server() { # ADDRESS PORT ARGUMENT...
  local address=$1 port=$2
  shift 2
  # What the accounts of the namespace "image-census" ask for, and nothing else.
  mkdir -p "$dir/certs"
  cat >"$dir/certs/audit.yaml" <<END
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts:image-census"]
- level: None
END
  start kube-apiserver --etcd-servers unix://client:0 \
    --audit-policy-file "$dir/certs/audit.yaml" --audit-log-path "$dir/audit.log" \
    --bind-address "$address" --advertise-address "$address" --secure-port "$port" \
    --service-cluster-ip-range 10.96.0.0/16 \
    --cert-dir "$dir/certs" --token-auth-file "$dir/tokens.csv" \
    --service-account-issuer https://kubernetes.default.svc \
    --service-account-key-file "$dir/service-accounts.key" \
    --service-account-signing-key-file "$dir/service-accounts.key" \
    --profiling=false "$@"
}

not_ready() { # MESSAGE: says it after the last lines of those that were started
  local pid program
  while read -r pid program; do
    printf '== last lines of %s\n' "$dir/${program##*/}.log" >&2
    tail -n 20 "$dir/${program##*/}.log" >&2 || true
  done <"$dir/pids"
  fail "$1"
}

# Waits for a command to succeed, as long as all that was started runs.
until_ready() { # WHAT COMMAND...
  local what=$1 pid program deadline=$((SECONDS + ready_within))
  shift
  until "$@"; do
    while read -r pid program; do
      is_ours "$pid" "$program" || not_ready "${program##*/} ended"
    done <"$dir/pids"
    ((SECONDS < deadline)) || not_ready "$what is not ready within $ready_within s"
    sleep 0.2
  done
}

answers() { # ADDRESS:PORT of the API server
  [[ -s $dir/certs/apiserver.crt ]] &&
    curl --silent --fail --max-time 5 --cacert "$dir/certs/apiserver.crt" \
      --output /dev/null "https://$1/readyz" 2>/dev/null
}

# The server signs its certificate with an authority of its own, which it appends to the file.
authority() {
  awk '/BEGIN CERTIFICATE/ { pem = "" } { pem = pem $0 "\n" } END { printf "%s", pem }' \
    "$dir/certs/apiserver.crt"
}

write_kubeconfig() { # FILE ADDRESS:PORT TOKEN
  cat >"$1" <<END
apiVersion: v1
kind: Config
current-context: lab
clusters:
- name: lab
  cluster:
    server: https://$2
    certificate-authority-data: $(authority | base64 | tr -d '\n')
users:
- name: admin
  user:
    token: $3
contexts:
- name: lab
  context:
    cluster: lab
    user: admin
END
}
