/* Does nothing, and says how much memory that took: VmHWM in KiB, read without allocating. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(void) {
    static char status[8192];
    int file = open("/proc/self/status", O_RDONLY);
    ssize_t length = read(file, status, sizeof status - 1);
    char *field = length > 0 ? strstr(status, "VmHWM:") : NULL;
    char *end = field ? strchr(field, '\n') : NULL;
    if (!end)
        return 1;
    field += strspn(field, "VmHWM: \t");
    return write(STDOUT_FILENO, field, (size_t)(end - field)) < 0;
}
