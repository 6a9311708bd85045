# cc -O2 of a large generated file
# needs: cc awk cksum
case $1 in
prepare)
    awk -v n=$((250 * $2)) 'BEGIN {
        print "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>"
        for (i = 0; i < n; i++) {
            printf "struct s%d { int a[%d]; char *name; struct s%d *next; };\n", i, i % 17 + 1, i
            printf "int f%d(struct s%d *p, int n) {\n  int sum = %d;\n", i, i, i
            printf "  for (int i = 0; i < n; i++) {\n    switch ((p->a[i %% %d] + i) %% 5) {\n", i % 17 + 1
            for (k = 0; k < 5; k++) printf "    case %d: sum = sum * %d + p->a[0]; break;\n", k, i + k
            printf "    }\n    if (p->next && sum %% 3) sum += p->next->a[0] + (int)strlen(p->name);\n  }\n"
            printf "  return sum;\n}\n"
        }
        print "int main(void) { return 0; }"
    }' >large.c ;;
run)
    cc -O2 -g -c large.c -o large.o && cksum <large.o
    cc large.o -o large && ./large && echo linked ;;
esac
