/* Programs that give up their rights one call after the other, as daemons and setpriv do. As another user than root they do nothing. */
#define _GNU_SOURCE
#include "cases.h"
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOBODY = 65534, MANY = 96 << 20 };

static int threads(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[200];
    int count = -1;
    while (file != NULL && count < 0 && fgets(line, sizeof(line), file) != NULL) sscanf(line, "Threads: %d", &count);
    CHECK(count > 0);
    fclose(file);
    return count;
}

/* So much that a heap gets a thread of its own. */
static void grow(void) {
    for (int i = 0; i < 8; i++) {
        char *block = malloc(MANY / 8);
        CHECK(block != NULL);
        memset(block, 1, MANY / 8);
        free(malloc(100));
        if (i % 2 != 0) free(block);
    }
}

static void give_up_rights(void) {
    if (geteuid() != 0) return;
    CHECK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
    CHECK(threads() == 1);
    CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{0, 0, 0}, {0, 0, 0}};
    CHECK(syscall(SYS_capget, &header, data) == 0);
    data[0].effective = data[0].permitted;
    CHECK(syscall(SYS_capset, &header, data) == 0);
    /* A thread that could not follow would end the program here. */
    CHECK(setresgid(NOBODY, NOBODY, NOBODY) == 0);
    CHECK(setgroups(0, NULL) == 0);
    CHECK(geteuid() == NOBODY && getegid() == NOBODY);
}

static void rights_go_step_by_step(void) {
    give_up_rights();
    grow();
    if (geteuid() != 0 && getegid() == NOBODY) CHECK(threads() == 1);
}

static void rights_go_in_a_large_program(void) {
    grow();
    give_up_rights();
    grow();
    malloc_trim(0);
}

static void rights_are_kept_for_a_moment(void) {
    grow();
    CHECK(prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0);
    CHECK(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0) == 0);
    errno = 0;
    CHECK(prctl(PR_SET_KEEPCAPS, 7, 0, 0, 0) == -1 && errno == EINVAL);
    CHECK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0) == 1);
    CHECK(prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0);
    grow();
}

static const struct test_case cases[] = {
    ON_BOTH(rights_go_step_by_step),
    ON_BOTH(rights_go_in_a_large_program),
    ON_BOTH(rights_are_kept_for_a_moment),
};

MAIN(cases)
