# clang++ -O2 of generated templates
# needs: clang++ awk cksum
case $1 in
prepare)
    awk -v n=$((40 * $2)) 'BEGIN {
        print "#include <algorithm>\n#include <map>\n#include <memory>\n#include <string>\n#include <vector>"
        print "template <int N, class T> struct Node { T value; std::unique_ptr<Node<N, T>> next; std::map<std::string, std::vector<T>> table; };"
        for (i = 0; i < n; i++) {
            printf "template struct Node<%d, double>;\n", i
            printf "int f%d(std::vector<std::string> &v) {\n  Node<%d, std::string> node;\n", i, i
            printf "  for (auto &s : v) node.table[s + \"%d\"].push_back(s);\n", i
            printf "  std::sort(v.begin(), v.end(), [](const auto &a, const auto &b) { return a.size() * %d < b.size(); });\n", i + 1
            print "  return static_cast<int>(node.table.size() + v.size());\n}"
        }
    }' >large.cc ;;
run)
    clang++ -std=c++17 -O2 -c large.cc -o large.o && cksum <large.o
    clang++ -std=c++17 -O0 -g -S -emit-llvm large.cc -o large.ll && cksum <large.ll ;;
esac
