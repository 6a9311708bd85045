# python3: objects, strings, JSON, sorting, threads
# needs: python3
case $1 in
prepare) ;;
run) python3 - "$2" <<'PYTHON'
import collections, hashlib, json, random, sys, threading, zlib

scale = int(sys.argv[1])
rng = random.Random(7)
rows = [{"id": i, "name": "n%d" % rng.randrange(10**9), "tags": [rng.random() for _ in range(5)]}
        for i in range(20000 * scale)]
text = json.dumps(rows, sort_keys=True)
back = json.loads(text)
assert back == rows
back.sort(key=lambda row: row["name"])
groups = collections.defaultdict(list)
for row in back:
    groups[row["name"][:3]].append(row["id"])
print(len(text), hashlib.sha256(repr(back).encode()).hexdigest())
print(sorted((k, len(v)) for k, v in groups.items())[:5])
print(zlib.crc32(zlib.decompress(zlib.compress(text.encode(), 6))))

sums = [0] * 8
def work(n):
    local = {}
    for i in range(20000 * scale):
        local[i % 997] = bytes(i % 700)
    sums[n] = sum(len(v) for v in local.values())
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
print(sums)
PYTHON
;;
esac
