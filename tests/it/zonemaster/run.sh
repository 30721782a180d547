# Run in a network namespace of its own, in a directory of its own: `sh run.sh PORTOLAN`. Starts the
# root and its zones in NSD and the example zone in two Portolan servers, and prints what
# zonemaster says, as JSON.
set -eu
PATH=$PATH:/usr/sbin:/sbin

ip link set lo up
for address in 198.51.100.1/32 198.51.100.53/32 203.0.113.53/32 \
  2001:db8::1/128 2001:db8:1::53/128 2001:db8:2::53/128; do
  ip address add "$address" dev lo
done

started=
trap 'kill $started 2>/dev/null; wait' EXIT
nsd -d -c nsd.conf >nsd.log 2>&1 &
started="$started $!"
for server in ns1 ns2; do
  "$1" serve --config "$server/portolan.toml" >"$server.log" 2>&1 &
  started="$started $!"
done

answers() { [ -n "$(dig +short +tries=1 +time=1 "@$1" "$2" SOA 2>/dev/null | grep -v '^;')" ]; }
tries=300
until answers 198.51.100.1 com && answers 198.51.100.53 example.com && answers 203.0.113.53 example.com; do
  tries=$((tries - 1))
  [ "$tries" -gt 0 ] || { echo "the servers do not answer" >&2; cat ./*.log >&2; exit 1; }
  sleep 0.1
done

timeout 300 zonemaster-cli --hints hints --profile profile.json \
  --ns ns1.example.com/198.51.100.53 --ns ns1.example.com/2001:db8:1::53 \
  --ns ns2.example.com/203.0.113.53 --ns ns2.example.com/2001:db8:2::53 \
  --level INFO --json --raw --no-progress example.com
