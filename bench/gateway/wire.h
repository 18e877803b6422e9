/* What the load generator and the stub upstream share: sockets, time, and just enough HTTP/1.1. Loopback only. */
#ifndef WIRE_H
#define WIRE_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

/* In every streamed chunk, followed by 16 hexadecimal digits of CLOCK_MONOTONIC in ns, '-', and 8 of its number. */
#define STAMP "\"at\":\""
#define STAMP_DIGITS 25
#define EVENTS_AT_ONCE 512

static inline int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static inline void no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return to;
}

/* A timer that fires every `period` ns, for an epoll loop. */
static inline int ticking(int64_t period) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct timespec each = {.tv_sec = period / 1000000000, .tv_nsec = period % 1000000000};
    struct itimerspec spec = {.it_interval = each, .it_value = each};
    if (fd < 0 || timerfd_settime(fd, 0, &spec, NULL)) die("timerfd");
    return fd;
}

/* How often it has fired since it was last asked. */
static inline uint64_t ticks_of(int fd) {
    uint64_t count = 0;
    return read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

/* Where the body begins, or 0. */
static inline size_t head_end(const char *data, size_t size) {
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    return end ? (size_t)(end - data) + 4 : 0;
}

/* The value of a header of a whole head, or NULL. `name` is written as "\r\nname:". */
static inline const char *header(const char *head, size_t size, const char *name) {
    size_t length = strlen(name);
    for (const char *at = head; at + length < head + size; at++) {
        if (*at == '\r' && !strncasecmp(at, name, length)) {
            at += length;
            while (*at == ' ') at++;
            return at;
        }
    }
    return NULL;
}
#endif
