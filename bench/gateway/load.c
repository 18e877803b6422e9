/* The load generator: `load MODE PORT COUNT SECONDS WARM_SECONDS KEY ANSWER_BYTES SEED`, over loopback, in one thread.

   http  COUNT keep-alive connections, each asking again when it is answered
   open  COUNT requests a second at random (exponential) distances, timed from when each was due
   sse   COUNT streams, each chunk timed from the stamp inside it
   hold  COUNT streams of one chunk each, held until stdin ends;  idle  COUNT connections after one answer each

   It warms up, prints "ready" on stdout, measures from the line "go" on stdin on, and prints one JSON object. Every
   answer's status and length is checked, every chunk's number. */
#include "wire.h"
#include <math.h>

#define PROMPTS 64
#define BODY_BYTES 2048
#define REQUEST_ROOM (BODY_BYTES + 1024)
#define IN_BYTES 16384
#define SAMPLES_MAX (16 << 20)
#define OPENING_AT_ONCE 64
#define CONNECTIONS_MAX 16384
#define WARM_ROUNDS 2
#define OPEN_WARM 32
#define SETTLE_NS 500000000LL
#define DRAIN_LIMIT_NS 10000000000LL

enum mode { HTTP, OPEN, SSE, HOLD, IDLE };
enum state { CONNECTING, ASKING, RESTING, STREAMING, DEAD };

struct conn {
    int fd;
    enum state state;
    uint32_t number, asked, chunks;
    int64_t since;
    uint32_t held;
    char *in;
};

static enum mode mode;
static int port, poller, count;
static double seconds;
static size_t answer_bytes;
static char requests[PROMPTS][REQUEST_ROOM];
static size_t request_sizes[PROMPTS];
static struct conn *conns[CONNECTIONS_MAX];
static int made, opening, asking, streaming, resting_count;
static struct conn *resting[CONNECTIONS_MAX];
static uint32_t *samples, sampled;
static int measuring, going;
static int64_t done, errors, reconnects, begun_ns, until_ns, warm_ns;
static char first_error[256];

static void wrong(const char *what, const char *data, size_t size) {
    if (!errors++) {
        size_t n = snprintf(first_error, sizeof first_error, "%s", what);
        for (size_t i = 0; i < size && i < 80 && n + 2 < sizeof first_error; i++)
            first_error[n++] = data[i] < ' ' || data[i] == '"' || data[i] == '\\' || data[i] > '~' ? ' ' : data[i];
        first_error[n] = 0;
    }
}

static void make_requests(const char *key) {
    for (int i = 0; i < PROMPTS; i++) {
        char body[BODY_BYTES + 1];
        int stream = mode == SSE || mode == HOLD;
        int at = sprintf(body, "{\"model\":\"bench\",\"stream\":%s,\"max_tokens\":%d,\"messages\":[{\"role\":\"user\","
                               "\"content\":\"Prompt %02d.", stream ? "true" : "false", mode == HOLD ? 1 : 800000, i);
        for (uint32_t word = i * 7919u + 17; at < BODY_BYTES - 4; at++) {
            word = word * 1664525u + 1013904223u;
            body[at] = word >> 29 ? (char)('a' + (word >> 16) % 26) : ' ';
        }
        memcpy(body + BODY_BYTES - 4, "\"}]}", 5);
        request_sizes[i] = snprintf(requests[i], REQUEST_ROOM,
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: application/json\r\n"
            "Content-Type: application/json\r\nUser-Agent: OpenAI/Python 2.8.0\r\nX-Stainless-Lang: python\r\n"
            "Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", port, key, BODY_BYTES, body);
    }
}

static void start(struct conn *c) {
    struct sockaddr_in to = loopback(port);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    no_delay(c->fd);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) die("connect");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll");
    c->state = CONNECTING;
    c->held = 0;
    opening++;
}

static struct conn *another(void) {
    if (made == CONNECTIONS_MAX) die("too many connections");
    struct conn *c = calloc(1, sizeof *c);
    c->in = malloc(IN_BYTES);
    c->number = made;
    conns[made++] = c;
    start(c);
    return c;
}

static void die_conn(struct conn *c) {
    if (c->state == CONNECTING) opening--;
    if (c->state == ASKING) asking--;
    if (c->state == STREAMING) streaming--;
    if (c->state == RESTING)
        for (int i = 0; i < resting_count; i++)
            if (resting[i] == c) { resting[i] = resting[--resting_count]; break; }
    c->state = DEAD;
    close(c->fd);
}

static void ask(struct conn *c, int64_t since) {
    int which = (c->number + c->asked++) % PROMPTS;
    c->since = since;
    c->held = 0;
    c->state = ASKING;
    asking++;
    if (send(c->fd, requests[which], request_sizes[which], MSG_NOSIGNAL) != (ssize_t)request_sizes[which]) {
        wrong("the request was not taken", "", 0);
        die_conn(c);
    }
}

static void connected(struct conn *c) {
    int problem = 0;
    socklen_t size = sizeof problem;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
    if (problem) {
        wrong("no connection: ", strerror(problem), strlen(strerror(problem)));
        die_conn(c);
        return;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
    opening--;
    ask(c, c->since ? c->since : now_ns());
}

static void rest(struct conn *c) {
    c->state = RESTING;
    resting[resting_count++] = c;
}

/* A correct answer has come whole. */
static void answered(struct conn *c, int closing) {
    int64_t now = now_ns();
    asking--;
    if (measuring) {
        done++;
        if (sampled < SAMPLES_MAX) samples[sampled++] = (uint32_t)((now - c->since) / 100);
    }
    if (closing) {
        close(c->fd);
        reconnects++;
        c->since = 0;
        if (mode == HTTP && (!measuring || now < until_ns)) start(c);
        else c->state = DEAD;
        return;
    }
    if (mode == HTTP && (measuring ? now < until_ns : c->asked < WARM_ROUNDS)) ask(c, now);
    else rest(c);
}

/* The length of a chunked body with its framing if it is whole, else 0; its payload's length in *payload. */
static size_t dechunk(const char *data, size_t size, size_t *payload) {
    size_t at = 0;
    *payload = 0;
    for (;;) {
        const char *line = memmem(data + at, size - at, "\r\n", 2);
        if (!line) return 0;
        size_t chunk = strtoul(data + at, NULL, 16);
        at = (size_t)(line - data) + 2 + chunk + 2;
        if (at > size) return 0;
        if (!chunk) return at;
        *payload += chunk;
    }
}

static void read_answer(struct conn *c) {
    size_t at = head_end(c->in, c->held), got, whole;
    if (!at) return;
    const char *length = header(c->in, at, "\r\ncontent-length:");
    const char *closing = header(c->in, at, "\r\nconnection:");
    if (length) whole = (got = (size_t)atol(length)) + at;
    else if (!(whole = dechunk(c->in + at, c->held - at, &got))) return;
    else whole += at;
    int good = !memcmp(c->in + 8, " 200", 4);
    if (c->held < whole && good && whole <= IN_BYTES) return;
    if (good && got == answer_bytes && c->held == whole && memmem(c->in + at, got, "\"chat.completion\"", 17)) {
        answered(c, closing && !strncasecmp(closing, "close", 5));
        return;
    }
    wrong(good ? "wrong length: " : "status: ", c->in, c->held);
    asking--;
    c->state = DEAD;
    close(c->fd);
    if (mode == HTTP && errors < 1000 && (!measuring || now_ns() < until_ns)) start(c);
}

static void read_chunks(struct conn *c) {
    char *at = c->in, *end = c->in + c->held;
    int64_t now = now_ns();
    if (c->state == ASKING) {
        size_t head = head_end(c->in, c->held);
        if (!head) return;
        if (memcmp(c->in + 8, " 200", 4)) {
            wrong("status: ", c->in, c->held);
            die_conn(c);
            return;
        }
        at += head;
    }
    for (;;) {
        char *mark = memmem(at, end - at, STAMP, 6);
        if (!mark || end - mark < 6 + STAMP_DIGITS) {
            if (!mark) mark = end - at > 5 ? end - 5 : at;
            c->held = (uint32_t)(end - mark);
            if (c->state == STREAMING) memmove(c->in, mark, c->held);
            else c->held = (uint32_t)(end - c->in); /* the head is looked for again */
            return;
        }
        int64_t sent = (int64_t)strtoull(mark + 6, NULL, 16);
        uint32_t number = (uint32_t)strtoul(mark + 6 + 17, NULL, 16);
        if (c->state == ASKING) {
            c->state = STREAMING;
            asking--;
            streaming++;
        }
        if (number != c->chunks++) {
            wrong("a chunk is missing or twice", "", 0);
            c->chunks = number + 1;
        }
        if (measuring) {
            done++;
            if (sampled < SAMPLES_MAX) samples[sampled++] = (uint32_t)((now - sent) / 100);
        }
        at = mark + 6 + STAMP_DIGITS;
    }
}

static void readable(struct conn *c) {
    ssize_t got = recv(c->fd, c->in + c->held, IN_BYTES - c->held, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        if (c->state != RESTING) wrong("closed in the middle", c->in, c->held);
        int again = mode == HTTP && errors < 1000 && (!measuring || now_ns() < until_ns);
        die_conn(c);
        c->since = 0;
        if (again) start(c);
        return;
    }
    c->held += (uint32_t)got;
    if (mode == SSE || mode == HOLD) read_chunks(c);
    else if (c->state == ASKING) read_answer(c);
    else {
        wrong("an answer to nothing: ", c->in, c->held);
        die_conn(c);
    }
    if (c->state != DEAD && c->held == IN_BYTES) {
        wrong("too long: ", c->in, 80);
        die_conn(c);
    }
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double at_share(double share) {
    return sampled ? samples[(uint32_t)(share * (sampled - 1))] / 10.0 : 0.0;
}

static void report(void) {
    double took = (now_ns() - begun_ns + 1000) / 1e9; /* where nothing came up it is over at once */
    qsort(samples, sampled, sizeof *samples, by_size);
    printf("{\"done\":%lld,\"errors\":%lld,\"first_error\":\"%s\",\"reconnects\":%lld,\"seconds\":%.6f,\"there\":%d,"
           "\"warm_s\":%.3f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"worst_us\":%.1f}\n",
           (long long)done, (long long)errors, first_error, (long long)reconnects, took,
           mode == SSE || mode == HOLD ? streaming : made,
           warm_ns / 1e9, at_share(.5), at_share(.9), at_share(.99), at_share(1.));
    fflush(stdout);
}

static uint64_t dice;

/* Exponential, of mean `mean`; xorshift64. */
static int64_t distance(double mean) {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (int64_t)(-mean * log1p(-(double)(dice >> 11) / 9007199254740992.0));
}

/* One round of the event loop, at most until `until`; 0: stdin has ended. */
static int turn(int64_t until) {
    struct epoll_event events[EVENTS_AT_ONCE];
    int64_t left = until - now_ns();
    struct timespec wait = {.tv_sec = left > 0 ? left / 1000000000 : 0, .tv_nsec = left > 0 ? left % 1000000000 : 0};
    int found = epoll_pwait2(poller, events, EVENTS_AT_ONCE, &wait, NULL);
    for (int i = 0; i < found; i++) {
        struct conn *c = events[i].data.ptr;
        if (!c) {
            char line[16];
            if (read(0, line, sizeof line) <= 0) return 0;
            going = 1;
        } else if (c->state == CONNECTING) connected(c);
        else if (c->state != DEAD) readable(c);
    }
    return 1;
}

static int warmed(void) {
    if (opening || asking) return 0;
    return mode == SSE || mode == HOLD ? 1 : resting_count > 0 || errors;
}

int main(int argc, char **argv) {
    if (argc != 9) return fprintf(stderr, "load MODE PORT COUNT SECONDS WARM_SECONDS KEY ANSWER_BYTES SEED\n"), 2;
    static const char *modes[] = {"http", "open", "sse", "hold", "idle"};
    for (mode = HTTP; mode < IDLE && strcmp(argv[1], modes[mode]); mode++);
    port = atoi(argv[2]);
    count = atoi(argv[3]);
    seconds = atof(argv[4]);
    answer_bytes = (size_t)atol(argv[7]);
    dice = 88172645463325252ULL ^ strtoull(argv[8], NULL, 10);
    make_requests(argv[6]);
    samples = malloc(SAMPLES_MAX * sizeof *samples);
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);

    int wanted = mode == OPEN ? OPEN_WARM : count;
    int64_t began = now_ns(), give_up = began + (int64_t)(atof(argv[5]) * 1e9);
    while ((made < wanted || !warmed()) && now_ns() < give_up) {
        while (made < wanted && opening + (mode == SSE || mode == HOLD ? asking : 0) < OPENING_AT_ONCE) another();
        if (!turn(now_ns() + 100000000)) return 1;
    }
    warm_ns = now_ns() - began;
    if (now_ns() >= give_up) wrong("not all were answered while warming up", "", 0);
    for (int64_t settled = now_ns() + SETTLE_NS; now_ns() < settled;)
        if (!turn(settled)) return 1;
    going = 0;
    puts("ready");
    fflush(stdout);
    while (!going)
        if (!turn(now_ns() + 1000000000)) return 1;
    begun_ns = now_ns();
    until_ns = begun_ns + (int64_t)(seconds * 1e9);
    measuring = 1;
    if (mode == HTTP) {
        int ready = resting_count;
        resting_count = 0;
        for (int i = 0; i < ready; i++) ask(resting[i], now_ns());
        while ((asking || opening) && now_ns() < until_ns + DRAIN_LIMIT_NS)
            if (!turn(now_ns() + 100000000)) return 1;
        if (asking) wrong("not all were answered", "", 0), errors += asking - 1;
    } else if (mode == OPEN) {
        int64_t due = begun_ns + distance(1e9 / count);
        while (due < until_ns || asking || opening) {
            if (now_ns() > until_ns + DRAIN_LIMIT_NS) {
                wrong("not all were answered", "", 0);
                break;
            }
            for (; due <= now_ns() && due < until_ns; due += distance(1e9 / count)) {
                if (resting_count) ask(resting[--resting_count], due);
                else another()->since = due;
            }
            if (!turn(due < until_ns ? due : now_ns() + 100000000)) return 1;
        }
    } else {
        while (now_ns() < until_ns)
            if (!turn(until_ns)) return 1;
    }
    report();
    if (mode == HOLD || mode == IDLE)
        while (turn(now_ns() + 1000000000));
    return 0;
}
