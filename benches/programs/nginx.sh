# nginx: two worker processes under wrk, with compression, and checksums of what they serve
# needs: nginx wrk awk cksum python3
case $1 in
prepare)
    mkdir -p site
    awk -v n=$((20000 * $2)) 'BEGIN { for (i = 0; i < n; i++) print "line", i, i * 7919 % 10007 }' >site/large.txt
    for i in 1 2 3 4 5 6 7 8; do head -c $((i * i * 700)) site/large.txt >site/$i.txt; done ;;
run)
    directory=$(mktemp -d) || exit
    cp -r site "$directory" && chmod -R a+rX "$directory"
    # One that nobody has.
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    cat >"$directory/nginx.conf" <<CONF
worker_processes 2;
daemon off;
pid $directory/pid;
error_log $directory/error.log warn;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path $directory/body;
    proxy_temp_path $directory/proxy;
    fastcgi_temp_path $directory/fastcgi;
    uwsgi_temp_path $directory/uwsgi;
    scgi_temp_path $directory/scgi;
    gzip on;
    gzip_types text/plain;
    gzip_min_length 100;
    default_type text/plain;
    server { listen unix:$directory/socket; listen 127.0.0.1:$port; root $directory/site; location /status { stub_status; } }
}
CONF
    nginx -p "$directory" -c "$directory/nginx.conf" -e "$directory/error.log" &
    server=$!
    trap 'kill "$server" 2>/dev/null; wait "$server"; rm -rf "$directory"' EXIT
    python3 - "$directory/socket" <<'PYTHON' || { cat "$directory/error.log"; exit 1; }
import gzip, hashlib, socket, sys, time
def get(path, packed):
    for _ in range(2000):
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(sys.argv[1])
            break
        except OSError:
            time.sleep(0.05)
    s.sendall(b"GET %s HTTP/1.0\r\nHost: x\r\n%s\r\n" % (path, b"Accept-Encoding: gzip\r\n" if packed else b""))
    data = b""
    while part := s.recv(65536):
        data += part
    head, body = data.split(b"\r\n\r\n", 1)
    if b"Content-Encoding: gzip" in head:
        body = gzip.decompress(body)
    return head.split(b"\r\n")[0], hashlib.sha256(body).hexdigest()
for name in [b"/%d.txt" % i for i in range(1, 9)] + [b"/large.txt", b"/none"]:
    print(name, get(name, False), get(name, True)[1] == get(name, False)[1])
PYTHON
    for path in 1 4 8 large; do
        # On a machine that is busy nothing may come in a second.
        for try in 1 2 3 4 5 6 7 8 9 10; do
            wrk -t2 -c32 -d$((($2 + 1) / 2))s -H 'Accept-Encoding: gzip' "http://127.0.0.1:$port/$path.txt" >wrk.log
            grep -q '^ *0 requests in' wrk.log || break
        done
        awk -v path="$path" '/requests in/ { print path, ($1 > 0 ? "served" : "nothing") } /Socket errors/ && ($4 != "0," || $6 != "0," || $8 != "0,") || /Non-2xx/' wrk.log
    done
    kill -HUP "$server"
    sleep 0.3
    kill -QUIT "$server"
    wait "$server"
    echo "nginx ended with $?"
    grep -E 'alert|emerg|crit' "$directory/error.log" | grep -v 'open socket' ;;
esac
exit 0
