# 64 threads in C that free each other's blocks, and 2048 that live shortly
# needs: cc
case $1 in
prepare) cc -O2 -pthread -o threads "${0%.sh}.c" ;;
run) ./threads 64 $((4000 * $2)) ;;
esac
