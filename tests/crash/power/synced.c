/* Keeps what a disk would keep: preloaded, it copies what is synced.
 *
 * SYNCED_FROM names a folder, SYNCED_TO another one. Before a file below the first
 * is synced, its content is copied to SYNCED_TO/<inode>; a line in SYNCED_TO/log
 * says so. A folder that is synced has a line with all its entries. What was never
 * synced is not there. `image.py` makes a folder of it again.
 *
 *   F inode path  inode-of-each-folder-on-the-way …
 *   D inode path  inode-of-each-folder-on-the-way … | name inode kind …
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *from, *to;

__attribute__((constructor)) static void begin(void) {
    from = getenv("SYNCED_FROM");
    to = getenv("SYNCED_TO");
}

static void say(const char *line, size_t size) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/log", to);
    int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0 || write(log, line, size) != (ssize_t)size) abort();
    close(log);
}

static void copy(const char *path, unsigned long inode) {
    static __thread char block[1 << 16];
    char made[PATH_MAX], kept[PATH_MAX];
    long thread = syscall(SYS_gettid);
    snprintf(kept, sizeof kept, "%s/%lu", to, inode);
    snprintf(made, sizeof made, "%s/%lu.%ld", to, inode, thread);
    int in = open(path, O_RDONLY | O_CLOEXEC);
    if (in < 0) return; /* removed meanwhile */
    int out = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0) abort();
    ssize_t size;
    while ((size = read(in, block, sizeof block)) > 0)
        if (write(out, block, size) != size) abort();
    close(in);
    close(out);
    if (rename(made, kept)) abort();
}

static void keep(int fd) {
    static __thread char line[1 << 20];
    char link[64], path[PATH_MAX], part[PATH_MAX];
    struct stat found, folder;
    if (!from || !to) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return;
    path[length] = 0;
    size_t root = strlen(from);
    if (strncmp(path, from, root) || (path[root] && path[root] != '/')) return;
    if (fstat(fd, &found) || stat(path, &folder) || folder.st_ino != found.st_ino)
        return;
    int is_folder = S_ISDIR(found.st_mode);
    if (!is_folder) copy(path, found.st_ino);
    size_t at = 0;
    at += snprintf(line, sizeof line, "%c %lu %s ", is_folder ? 'D' : 'F',
                   (unsigned long)found.st_ino, path[root] ? path + root + 1 : ".");
    for (char *end = path + root; end; end = strchr(end + 1, '/')) {
        memcpy(part, path, end - path);
        part[end - path] = 0;
        if (stat(part, &folder) || !S_ISDIR(folder.st_mode)) return;
        at += snprintf(line + at, sizeof line - at, " %lu",
                       (unsigned long)folder.st_ino);
        if (!*end) break;
    }
    if (is_folder) {
        at += snprintf(line + at, sizeof line - at, " |");
        DIR *entries = opendir(path);
        struct dirent *entry;
        while (entries && (entry = readdir(entries))) {
            if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
            at += snprintf(line + at, sizeof line - at, " %s %lu %c", entry->d_name,
                           (unsigned long)entry->d_ino,
                           entry->d_type == DT_DIR ? 'D' : 'F');
        }
        if (entries) closedir(entries);
    }
    line[at++] = '\n';
    say(line, at);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "fsync");
    keep(fd);
    return real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "fdatasync");
    keep(fd);
    return real(fd);
}
