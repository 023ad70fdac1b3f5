#!/usr/bin/env bash
# Plays the first half of the story at a token service of its own, with nothing but openssl and curl: alice's token is traded by
# Butler, and what Butler got by Coach. Then what must not work. Everything is made in a temporary folder, on loopback.
#
#	play.sh [WAYPOINT]   the program, by default: waypoint
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
waypoint=${1:-waypoint}
dir=$(mktemp -d)
trap 'kill "$sts" 2>/dev/null || true; rm -rf "$dir"' EXIT
sts=

b64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }

# workload NAME NAMESPACE: a certificate of the mesh, as istiod gives one.
workload() {
  mkdir "$dir/$1"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/$1/key.pem" -subj / -out "$dir/csr.pem" 2>/dev/null
  openssl x509 -req -in "$dir/csr.pem" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -days 1 -out "$dir/$1/cert-chain.pem" -extfile <(
    echo "subjectAltName=critical,URI:spiffe://cluster.local/ns/$2/sa/$1"
    echo "keyUsage=critical,digitalSignature"
    echo "extendedKeyUsage=serverAuth,clientAuth"
  ) 2>/dev/null
  cp "$dir/ca.pem" "$dir/$1/root-cert.pem"
}

# user ACTOR: alice's token, for that agent alone.
user() {
  local now signed
  now=$(date +%s)
  signed=$(printf '{"alg":"RS256","kid":"1"}' | b64).$(printf '{"iss":"https://idp.example.com","sub":"alice","aud":"%s","may_act":{"sub":"%s"},"scope":"training mail","iat":%d,"exp":%d}' \
    "$1" "$1" "$now" $((now + 600)) | b64)
  echo "$signed.$(printf %s "$signed" | openssl dgst -sha256 -sign "$dir/idp.key" | b64)"
}

# trade WHO TOKEN AUDIENCE: the answer of the token service. -k: its certificate names a workload, and curl asks for a host.
trade() {
  curl -sk --cert "$dir/$1/cert-chain.pem" --key "$dir/$1/key.pem" "https://$at/token" \
    -d grant_type=urn:ietf:params:oauth:grant-type:token-exchange -d subject_token_type=urn:ietf:params:oauth:token-type:jwt \
    --data-urlencode "subject_token=$2" --data-urlencode "audience=$3"
}

field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

# claims TOKEN: what it says, without times and identifiers.
claims() {
  local p
  p=$(printf %s "$1" | cut -d. -f2 | tr -- '-_' '+/')
  while [ $((${#p} % 4)) -ne 0 ]; do p=$p=; done
  printf %s "$p" | openssl base64 -d -A | sed -E 's/"(exp|iat|nbf)":[0-9]+,?//g; s/"(jti|chain_sha256)":"[^"]*",?//g; s/,}/}/'
  echo
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/ca.key" -out "$dir/ca.pem" -days 1 -subj /O=cluster.local 2>/dev/null
workload sts identity
for w in agent-butler agent-coach thief; do workload "$w" agents; done

# The company's identity provider: a key.
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$dir/idp.key" 2>/dev/null
n=$(openssl rsa -in "$dir/idp.key" -noout -modulus | cut -d= -f2 | sed 's/../\\x&/g')
mkdir "$dir/config"
cp "$here"/*.yaml "$dir/config"
cat >"$dir/config/users.yaml" <<YAML
apiVersion: waymark.dev/v1alpha1
kind: AgentAuthentication
metadata: {name: users, namespace: identity}
spec:
  targetRefs: [{kind: Service, name: sts}]
  issuers:
    - issuer: https://idp.example.com
      anyAudience: {reason: the token service itself asks whether a token is for the client that shows it}
      algorithms: [RS256]
      jwks:
        inline: '{"keys":[{"kty":"RSA","kid":"1","e":"AQAB","n":"$(printf "$n" | b64)"}]}'
YAML

"$waypoint" sts --config "$dir/config" --certs "$dir/sts" --issuer https://sts.example.com --subjects identity/users \
  --actor-by-account --listen 127.0.0.1:0 --audit "$dir/audit" 2>"$dir/log" &
sts=$!
at=
for _ in $(seq 100); do
  at=$(grep -oE '127\.0\.0\.1:[1-9][0-9]*' "$dir/log" | head -1) && break
  kill -0 "$sts" 2>/dev/null || { cat "$dir/log" >&2; exit 1; }
  sleep 0.1
done

company=http://company-mcp.tools:3000
alice=$(user agent-butler)
echo "alice's token:     $(claims "$alice")"
butler=$(trade agent-butler "$alice" agent-coach | field access_token)
echo "Butler's, traded:  $(claims "$butler")"
coach=$(trade agent-coach "$butler" "$company" | field access_token)
echo "Coach's, traded:   $(claims "$coach")"
echo "Coach skips Butler:         $(trade agent-coach "$alice" "$company" | field error)"
echo "Butler goes past Coach:     $(trade agent-butler "$alice" "$company" | field error)"
echo "a thief has Butler's token: $(trade thief "$butler" "$company" | field error)"
