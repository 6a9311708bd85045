# stress-ng: its malloc stressors, which check what they wrote
# needs: stress-ng
case $1 in
prepare) ;;
run)
    directory=$(mktemp -d) || exit
    trap 'rm -rf "$directory"' EXIT
    # A stressor ends at its number of operations, or at its time if the machine is slow.
    try() {
        stress-ng --temp-path "$directory" --oomable --no-rand-seed --verify --metrics-brief --timeout 120s "$@" >log 2>&1
        echo "$* ended with $?"
        grep -E 'fail|corrupt|unexpected' log | grep -v 'failed: 0'
    }
    try --malloc 4 --malloc-ops $((40000 * $2)) --malloc-bytes 64M
    try --malloc 2 --malloc-ops $((20000 * $2)) --malloc-bytes 16M --malloc-pthreads 4
    try --malloc 2 --malloc-ops $((10000 * $2)) --malloc-max 65536 --malloc-touch
    try --list 2 --list-ops $((20 * $2))
    try --tree 2 --tree-ops $((4 * $2))
    try --hsearch 2 --hsearch-ops $((100 * $2))
    try --tsearch 2 --tsearch-ops $((4 * $2)) ;;
esac
exit 0
