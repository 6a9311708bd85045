# PostgreSQL: initdb, pgbench's transactions from eight clients, queries that sort, hash and aggregate
# needs: pgbench psql setpriv
case $1 in
prepare) ;;
run)
    # Debian keeps the server's programs off the path.
    for bin in /usr/lib/postgresql/*/bin; do PATH=$bin:$PATH; done
    export PGTZ=UTC LC_ALL=C.UTF-8 PGDATABASE=postgres PGCTLTIMEOUT=600
    directory=$(mktemp -d) || exit
    export PGDATA="$directory/data" PGHOST="$directory"
    as=
    user=$(id -un)
    if [ "$(id -u)" = 0 ]; then
        # The server refuses to run as root.
        user=nobody
        chown "$user" "$directory"
        as="setpriv --reuid=$user --regid=$(id -g $user) --clear-groups"
    fi
    cd "$directory" || exit
    trap '$as pg_ctl stop -m immediate >/dev/null 2>&1; rm -rf "$directory"' EXIT
    $as initdb -A trust -U bench --no-sync >log 2>&1 || { tail -n 5 log; exit 1; }
    $as pg_ctl start -w -l server.log \
        -o "-k $directory -c listen_addresses='' -c fsync=off -c shared_buffers=64MB -c jit=off" >log 2>&1 ||
        { cat log server.log; exit 1; }
    export PGUSER=bench
    pgbench -i -s "$2" -q >log 2>&1 || { cat log; exit 1; }
    pgbench -n -c 8 -j 2 -t $((250 * $2)) 2>&1 | grep -E 'actually processed|failed'
    # A connection for each, which is a fork of the server's.
    pgbench -n -c 8 -j 2 -t 500 -S -C 2>&1 | grep -E 'actually processed|failed'
    psql -qAt <<SQL
SET work_mem = '64MB';
SELECT count(*), sum(abalance) = (SELECT sum(bbalance) FROM pgbench_branches) FROM pgbench_accounts;
CREATE TABLE t AS SELECT i, md5(i::text) AS h, i % 997 AS g FROM generate_series(1, 50000 * $2) i;
SELECT g, count(*), max(h) FROM t GROUP BY g ORDER BY 3 LIMIT 5;
SELECT count(*) FROM t a JOIN t b ON a.h = b.h WHERE a.g < 500;
SELECT md5(string_agg(h, ',' ORDER BY h)) FROM t;
SELECT length(jsonb_agg(to_jsonb(t))::text) FROM t WHERE i < 20000;
CREATE INDEX ON t (h, g);
SELECT array_length(array_agg(DISTINCT substr(h, 1, 4)), 1) FROM t;
VACUUM ANALYZE t;
SQL
    $as pg_ctl stop -m fast -w >log 2>&1
    echo "pg_ctl stop ended with $?"
    # Who just left, or cleans up, is told, if the server comes first.
    grep -E 'PANIC|FATAL|terminated by signal' server.log | grep -v 'due to administrator command' ;;
esac
exit 0
