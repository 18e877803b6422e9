/* The stub upstream: answers like an engine, without computing. `upstream PORT ANSWER_BYTES`

   POST with "stream":true begins an event stream: one chunk of about 250 bytes in each period of 20 ms, at the phase
   that the stream was given (20 phases, one each ms), max_tokens of them; max_tokens 1 is a stream that is held: one
   chunk, then silence. Any other POST gets a JSON answer of ANSWER_BYTES. GET says that it is well. */
#include "wire.h"

#define PHASES 20
#define TICK_NS 1000000
#define ENDLESS 900000
#define IN_LIMIT 65536
#define CHUNK_BYTES 250

struct conn {
    int fd;
    uint32_t held;             /* bytes of the request that have come */
    char *in;
    int phase;                 /* -1: not streaming */
    uint32_t place;            /* among its phase's streams */
    uint32_t sent, wanted;     /* chunks */
    char *rest;                /* what the socket did not take */
    size_t rest_size;
};

struct phase {
    struct conn **streams;
    uint32_t count, room;
};

static int poller;
static struct phase phases[PHASES];
static int next_phase;
static char *answer;
static size_t answer_size;
static const char models[] =
    "{\"object\":\"list\",\"status\":\"ok\",\"model_path\":\"bench\",\"served_model_name\":\"bench\",\"data\":[{\"id\":"
    "\"bench\",\"object\":\"model\",\"created\":1700000000,\"owned_by\":\"bench\",\"max_model_len\":32768}]}";

static void forget(struct conn *c) {
    if (c->phase >= 0) {
        struct phase *p = &phases[c->phase];
        p->streams[c->place] = p->streams[--p->count];
        p->streams[c->place]->place = c->place;
        c->phase = -1;
    }
}

static void drop(struct conn *c) {
    forget(c);
    close(c->fd);
    free(c->in);
    free(c->rest);
    free(c);
}

/* 0: gone. What the socket does not take is kept and goes first. */
static int put(struct conn *c, const char *data, size_t size) {
    ssize_t took = send(c->fd, data, size, MSG_NOSIGNAL);
    if (took < 0 && errno != EAGAIN) return 0;
    if (took < 0) took = 0;
    if ((size_t)took < size) {
        c->rest_size = size - took;
        c->rest = realloc(c->rest, c->rest_size);
        memcpy(c->rest, data + took, c->rest_size);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    }
    return 1;
}

static size_t chunk(char *out, uint32_t number) {
    char event[CHUNK_BYTES + 64];
    int size = snprintf(event, sizeof event,
                        "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"
                        "\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},"
                        "\"finish_reason\":null}]," STAMP "%016llx-%08x\"}\n\n",
                        (unsigned long long)now_ns(), number);
    return sprintf(out, "%x\r\n%s\r\n", size, event);
}

/* One chunk; 0: the connection is gone. A stream whose client does not read misses its turn. */
static int emit(struct conn *c) {
    char out[CHUNK_BYTES + 512];
    size_t size = 0;
    if (c->rest_size) return 1;
    if (!c->sent)
        size = sprintf(out, "HTTP/1.1 200 OK\r\ndate: Mon, 02 Nov 2026 10:00:00 GMT\r\nserver: uvicorn\r\n"
                            "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n");
    size += chunk(out + size, c->sent++);
    if (c->sent >= c->wanted && c->wanted > 1) {
        forget(c);
        size += sprintf(out + size, "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n");
    }
    if (c->wanted == 1) forget(c);
    return put(c, out, size);
}

static void begin_stream(struct conn *c, uint32_t wanted) {
    c->phase = next_phase++ % PHASES;
    c->sent = 0;
    c->wanted = wanted;
    struct phase *p = &phases[c->phase];
    if (p->count == p->room) {
        p->room = p->room ? 2 * p->room : 64;
        p->streams = realloc(p->streams, p->room * sizeof *p->streams);
    }
    c->place = p->count;
    p->streams[p->count++] = c;
}

/* A whole request; 0: the connection is gone. */
static int respond(struct conn *c, const char *body, size_t size) {
    if (!memcmp(c->in, "GET ", 4) || !memcmp(c->in, "HEAD ", 5)) {
        char out[1024];
        return put(c, out, snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                                    "content-length: %zu\r\n\r\n%s", sizeof models - 1, models));
    }
    if (!memmem(body, size, "\"stream\":true", 13)) return put(c, answer, answer_size);
    const char *wanted = memmem(body, size, "\"max_tokens\":", 13);
    begin_stream(c, wanted ? (uint32_t)atoi(wanted + 13) : ENDLESS);
    return 1;
}

/* Everything that has come; 0: the connection is gone. */
static int heard(struct conn *c) {
    for (;;) {
        ssize_t got = recv(c->fd, c->in + c->held, IN_LIMIT - c->held, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)) return 0;
        if (got < 0) return 1;
        c->held += got;
        size_t at;
        while ((at = head_end(c->in, c->held))) {
            const char *length = header(c->in, at, "\r\ncontent-length:");
            size_t whole = at + (length ? (size_t)atol(length) : 0);
            if (header(c->in, at, "\r\ntransfer-encoding:") || whole > IN_LIMIT) return 0;
            if (c->held < whole) break;
            if (!respond(c, c->in + at, whole - at)) return 0;
            c->held -= whole;
            memmove(c->in, c->in + whole, c->held);
        }
        if (c->held == IN_LIMIT) return 0;
        if (c->held == 0 && got < 4096) return 1;
    }
}

static void make_answer(size_t size) {
    static const char begins[] =
        "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"bench\","
        "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"";
    static const char ends[] = "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":480,"
                               "\"completion_tokens\":420,\"total_tokens\":900}}";
    answer = malloc(size + 512);
    answer_size = sprintf(answer, "HTTP/1.1 200 OK\r\ndate: Mon, 02 Nov 2026 10:00:00 GMT\r\nserver: uvicorn\r\n"
                                  "content-length: %zu\r\ncontent-type: application/json\r\n\r\n%s", size, begins);
    size_t filler = size - (sizeof begins - 1) - (sizeof ends - 1);
    for (size_t i = 0; i < filler; i++) answer[answer_size++] = i % 6 == 5 ? ' ' : 'a' + (char)(i % 23);
    memcpy(answer + answer_size, ends, sizeof ends - 1);
    answer_size += sizeof ends - 1;
}

static void let_in(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        no_delay(fd);
        struct conn *c = calloc(1, sizeof *c);
        c->fd = fd;
        c->phase = -1;
        c->in = malloc(IN_LIMIT);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

int main(int argc, char **argv) {
    if (argc != 3 || atoi(argv[2]) < 512) return fprintf(stderr, "upstream PORT ANSWER_BYTES\n"), 2;
    make_answer(atoi(argv[2]));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, tick = 0;
    struct sockaddr_in at = loopback(atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096)) die("listen");
    socklen_t size = sizeof at;
    getsockname(listener, (struct sockaddr *)&at, &size);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    int timer = ticking(TICK_NS);
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &timer;
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
    event.data.ptr = NULL; /* whoever started us is gone */
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
    struct epoll_event events[EVENTS_AT_ONCE];
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS_AT_ONCE, -1);
        uint64_t fired = 0;
        for (int i = 0; i < count; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c) return 0;
            if ((void *)c == &listener) let_in(listener);
            else if ((void *)c == &timer) fired = ticks_of(timer);
            else {
                int there = 1;
                if (events[i].events & EPOLLOUT && c->rest_size) {
                    char *rest = c->rest;
                    size_t left = c->rest_size;
                    struct epoll_event reads = {.events = EPOLLIN, .data.ptr = c};
                    c->rest = NULL;
                    c->rest_size = 0;
                    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &reads);
                    there = put(c, rest, left);
                    free(rest);
                }
                if (there && events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) there = heard(c);
                if (!there) drop(c);
            }
        }
        /* After the others, so that no connection of this round is gone when its event is looked at. */
        while (fired--) {
            struct phase *p = &phases[tick++ % PHASES];
            for (uint32_t i = p->count; i-- > 0;) {
                struct conn *c = p->streams[i];
                if (!emit(c)) drop(c);
            }
        }
    }
}
