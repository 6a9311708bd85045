#!/usr/bin/env bash
# Records the traces beside this file anew: record.sh STRATA, the command of `cargo xtask dist`.
#
# Each program does a small piece of its usual work, so that its trace has some tens of thousands of calls.
set -euo pipefail
strata=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

record() { # NAME COMMAND…
  local name=$1
  shift
  "$strata" record -o "$work/trace" -- "$@" >/dev/null
  gzip -9n <trace >"$here/$name.trace.gz"
  echo "$name: $(stat -c %s trace) bytes, $(stat -c %s "$here/$name.trace.gz") compressed"
}

# A C compiler on a dozen functions.
for n in $(seq 1 12); do
  echo "struct s$n { int a[$n + 1]; double b; char c[$n * 3 + 1]; };"
  echo "static int f$n(int x, struct s$n *p) { int t = 0; for (int i = 0; i <= $n; i++) { t += p->a[i] * x;"
  echo "  if (t % 3 == 0) t ^= i; switch (t & 7) { case 0: t++; break; case 1: t += p->c[i]; break; default: t -= x; } }"
  echo "  return t; } int g$n(struct s$n *p) { return f$n($n, p) + f$n(2, p); }"
done >source.c
record cc1 "$(gcc -print-prog-name=cc1)" -quiet -O1 source.c -o out.s

# Interpreters that build, change and drop what they have.
python() { PYTHONMALLOC=malloc record "$1" "$(python3 -c 'import sys; print(sys.executable)')" -S -c "$2"; }
python python-json '
import json
for size in (200, 500, 100):
    tree = [{"id": i, "name": "n%d" % i, "tags": ["t"] * (i % 7), "x": i / 3} for i in range(size)]
    text = json.dumps(tree)
    back = [json.loads(text) for _ in range(2)]
    del back[1]'
python python-objects '
class Node:
    def __init__(self, n): self.n, self.next, self.data = n, None, bytearray(n % 3000)
live = {}
for i in range(5000):
    live[i * 7919 % 2500] = Node(i)
    if i % 2000 == 1999: live.clear()'
record perl perl -e 'for $r (1 .. 4) { for $i (1 .. 4000) { $h{$i * $r} = "x" x ($i % 900); push @{$l{$i % 50}}, $i; }
  delete $h{$_} for grep { $_ % 3 } keys %h; %l = () if $r % 2 }'
record lua lua -e 'local t = {} for r = 1, 2 do for i = 1, 3000 do t[i] = { name = "k" .. i * r, list = { i, i + 1 } } end
  for i = 1, 3000, 2 do t[i] = nil end collectgarbage() end'
record ruby ruby --disable-gems -e '3.times { |r| a = (1..4000).map { |i| { i => "v" * (i % 700) } }; a.select! { |h| h.keys[0] % 3 == r }; GC.start }'

# A database in memory: inserts, an index, deletes, a sort.
record sqlite sqlite3 :memory: 'create table t(a integer primary key, b text, c real);
  with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000)
  insert into t select i, hex(randomblob(40 + i % 300)), i / 7.0 from n; create index x on t(b);
  delete from t where a % 3 = 0; select count(*) from (select b from t order by c desc, b); drop table t;'

# Text tools.
seq 1 9000 | sed 's/.*/{"n": &, "list": [&, "&", {"deep": "&&&"}]}/' >lines
record jq jq -s 'map(select(.n % 2 == 0)) | group_by(.n % 100) | map(length)' lines
record awk awk '{ for (i = 1; i <= NF; i++) { a[$i] = a[$i] $i; n++ } if (NR % 2000 == 0) delete a }' lines
record bc bc -l <<<'scale=100; x=4*a(1); for (i = 1; i < 12; i++) { x = sqrt(x * i) + e(i / 50) }; x'
git init -q repository
(cd repository && for n in $(seq 1 300); do seq $n $((n * 5)) >"f$n"; done && git add . &&
  git -c user.name=x -c user.email=x commit -qm x && for n in $(seq 1 300); do seq 1 $((n * 3)) >"f$n"; done)
record git git -C repository diff --stat

# A server under load: values of many sizes, half of them deleted.
port=$((20000 + $$ % 20000))
"$strata" record -o "$work/trace" -- redis-server --port $port --save '' --daemonize no --activedefrag no >/dev/null &
server=$!
until redis-cli -p $port ping >/dev/null 2>&1; do sleep 0.1; done
awk 'BEGIN { for (i = 1; i <= 6000; i++) { v = sprintf("%*s", i * 37 % 2000 + 1, "x"); gsub(" ", "y", v); print "SET k" i * 7 % 4000 " " v;
  if (i % 3 == 0) print "DEL k" i % 4000; if (i % 5 == 0) print "LPUSH l" i % 40 " " i } }' | redis-cli -p $port >/dev/null
redis-cli -p $port shutdown nosave >/dev/null 2>&1 || true
wait $server || true
gzip -9n <trace >"$here/redis.trace.gz"
echo "redis: $(stat -c %s trace) bytes, $(stat -c %s "$here/redis.trace.gz") compressed"
