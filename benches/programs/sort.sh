# sort of a large generated file, in two threads and with other memory bounds
# needs: sort awk cksum
case $1 in
prepare)
    awk -v n=$((200000 * $2)) 'BEGIN {
        srand(1); for (i = 0; i < n; i++) printf "%09d line %d %s\n", rand() * 1e9, i, substr("abcdefghijklmnopqrstuvwxyz", 1 + rand() * 26)
    }' >lines ;;
run)
    export LC_ALL=C
    sort --parallel=2 lines | cksum
    sort --parallel=2 -S 2M -T . -k3 -n lines | cksum
    sort -u -k2,2 lines | cksum ;;
esac
