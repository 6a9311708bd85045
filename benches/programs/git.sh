# git: log, diff statistics, packing and checking of a generated repository
# needs: git awk cksum
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 LC_ALL=C
case $1 in
prepare)
    git init -q --bare -b main repository
    awk -v n=$((300 * $2)) 'BEGIN {
        srand(2)
        for (c = 1; c <= n; c++) {
            printf "commit refs/heads/main\ncommitter A <a@example.org> %d +0000\ndata <<END\nchange %d\nEND\n", 1700000000 + c, c
            for (f = 0; f < 8; f++) {
                printf "M 100644 inline d%d/f%d\ndata <<END\n", rand() * 10, rand() * 20
                for (l = 0; l < 60; l++) print "line", l, int(rand() * 4)
                print "END"
            }
        }
    }' | git -C repository fast-import --quiet ;;
run)
    rm -rf copy && cp -r repository copy && cd copy || exit
    git log --stat main | cksum
    git log -p --format=%H main -- d1 d2 | cksum
    git -c pack.threads=2 -c gc.auto=0 repack -q -a -d -f
    git gc -q --prune=now
    git fsck --full --no-dangling --no-progress
    git rev-list --objects main | cksum
    cd .. && rm -rf copy ;;
esac
