# redis-server under redis-benchmark, and a digest of a data set built by a script
# needs: redis-server redis-benchmark redis-cli awk
case $1 in
prepare)
    awk -v n=$((3000 * $2)) 'BEGIN {
        srand(3)
        for (i = 0; i < n; i++) {
            k = int(rand() * n / 4)
            printf "SET s:%d %0*d\n", k, 1 + rand() * 2000, i
            printf "HSET h:%d f%d %d\n", k % 100, i, i
            printf "RPUSH l:%d %d\n", k % 50, i
            printf "ZADD z %d m%d\n", i, k
            if (i % 5 == 0) printf "DEL s:%d\n", k
            if (i % 7 == 0) printf "APPEND s:%d %0*d\n", k + 1, 1 + rand() * 500, i
        }
    }' >commands ;;
run)
    # A socket's path is short; the scratch directory's may not be.
    directory=$(mktemp -d) || exit
    socket=$directory/socket
    redis-server --port 0 --unixsocket "$socket" --save '' --dir "$directory" \
        --enable-debug-command yes --daemonize no >log 2>&1 &
    server=$!
    trap 'kill "$server" 2>/dev/null; wait "$server"; rm -rf "$directory"' EXIT
    tries=0
    until [ "$(redis-cli -s "$socket" ping 2>/dev/null)" = PONG ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 2000 ] || ! kill -0 "$server"; then cat log; exit 1; fi
        sleep 0.05
    done
    redis-cli -s "$socket" <commands | awk 'END { print NR " replies" }'
    redis-cli -s "$socket" debug digest
    redis-cli -s "$socket" dbsize
    redis-cli -s "$socket" flushall
    redis-benchmark -s "$socket" -n $((20000 * $2)) -c 20 -P 8 -d 512 -r 10000 -q --csv \
        -t set,get,incr,lpush,rpush,lpop,sadd,hset,zadd,mset | cut -d, -f1
    redis-cli -s "$socket" memory purge
    redis-cli -s "$socket" shutdown nosave
    wait "$server"
    echo "redis-server ended with $?" ;;
esac
