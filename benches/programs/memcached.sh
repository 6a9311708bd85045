# memcached: values of mixed sizes set, overwritten, evicted and read back by eight connections
# needs: memcached python3
case $1 in
prepare) ;;
run)
    directory=$(mktemp -d) || exit
    memcached -u "$(id -un)" -s "$directory/socket" -a 0777 -m 64 -t 4 2>log &
    server=$!
    trap 'kill "$server" 2>/dev/null; wait "$server"; rm -rf "$directory"' EXIT
    python3 - "$directory/socket" "$2" <<'PYTHON' || { cat log; exit 1; }
import random, socket, sys, threading, time

def connect():
    for _ in range(2000):
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(sys.argv[1])
            return s.makefile("rwb")
        except OSError:
            time.sleep(0.05)
    sys.exit("no server")

scale, wrong = int(sys.argv[2]), []
def client(number):
    rng, stream = random.Random(number), connect()
    for step in range(800 * scale):
        key = b"k%d-%d" % (number, rng.randrange(400))
        size = int(2 ** rng.uniform(0, 15))
        value = bytes([65 + (step + number) % 26]) * size
        stream.write(b"set %s 0 0 %d\r\n%s\r\nget %s\r\n" % (key, size, value, key))
        stream.flush()
        if stream.readline() != b"STORED\r\n":
            wrong.append(key)
            return
        line = stream.readline()
        if line != b"END\r\n":
            data = stream.read(size + 2)[:-2]
            stream.readline()
            if data != value:
                wrong.append(key)
        if step % 5 == 0:
            stream.write(b"delete %s\r\n" % key)
            stream.flush()
            stream.readline()
threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
stream = connect()
stream.write(b"stats\r\n")
stream.flush()
stats = {}
while (line := stream.readline()) != b"END\r\n":
    _, name, value = line.decode().split(None, 2)
    stats[name] = value.strip()
print("wrong:", len(wrong), "sets:", stats["cmd_set"], "gets:", stats["cmd_get"])
PYTHON
    kill -TERM "$server"
    wait "$server"
    echo "memcached ended with $?" ;;
esac
exit 0
