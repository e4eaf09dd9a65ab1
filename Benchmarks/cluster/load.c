// Subscribers on WebSockets at one node or several, and clients that publish to one of them over HTTP with keep-alive.
// Usage: load PORTS PATH SUBSCRIBERS PUBLISH_PORT PUBLISH_PATH CHANNEL CLIENTS RATE BATCH SIZE SECONDS
//
// PORTS are one or two, with a comma between them; each gets as many SUBSCRIBERS. RATE is requests per second, from
// CLIENTS in turn; 0 lets each client send the next one when its last is answered. A request is one message, or with
// BATCH a JSON list of so many. A `#` in PUBLISH_PATH is the client's number; in CHANNEL, used in lists, the entry's.
//
// It prints `ready` when all are connected, starts at a line on its input, prints one line of JSON, and closes all
// connections at the end of its input. Each message begins with the moment of its publication and its number, so that
// the last delivery of a publication at a port is known.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 1 << 20, RING = 1 << 16, INPUT = 1 << 18 };
enum { STAMP = 24, MAX_SIZE = 4096, MAX_BATCH = 1000, MAX_CLIENTS = 512 };

struct subscriber {
    int fd, port;  // port: its place in PORTS
    size_t filled;
    uint8_t input[MAX_SIZE + 16];
};

struct client {
    int fd, waiting;  // waiting: requests without an answer
    uint64_t sent_at;
    size_t filled, skip;  // skip: bytes of a body that are yet to come
    char input[INPUT + 1];
};

struct histogram {
    uint64_t count;
    uint32_t slots[SLOTS];  // by the microsecond; all above a second in the last one
};

static struct histogram deliveries, lasts[2], answers;
static uint32_t seen[2][RING];
static uint64_t errors, failed, answered;
static int per_port;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void note(struct histogram *h, uint64_t took) {
    h->slots[took < SLOTS ? took : SLOTS - 1]++;
    h->count++;
}

static double percentile(const struct histogram *h, double share) {
    uint64_t wanted = (uint64_t)((double)h->count * share), passed = 0;
    for (int i = 0; i < SLOTS; i++)
        if ((passed += h->slots[i]) > wanted) return i / 1000.0;
    return 0;
}

static int dial(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) { perror("connect"); exit(1); }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

// Shakes hands; the head is read byte by byte, since what follows belongs to the frames.
static int subscribe(int port, const char *path) {
    int fd = dial(port);
    char head[4096];
    int n = snprintf(head, sizeof head,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path);
    if (send(fd, head, (size_t)n, MSG_NOSIGNAL) != n) errors++;
    for (size_t at = 0; at < sizeof head && recv(fd, head + at, 1, 0) == 1;)
        if (++at >= 4 && memcmp(head + at - 4, "\r\n\r\n", 4) == 0) {
            if (memcmp(head, "HTTP/1.1 101", 12) != 0) errors++;
            return fd;
        }
    errors++;
    return fd;
}

static void delivered(int port, const uint8_t *text) {
    char stamp[STAMP + 1] = {0};
    memcpy(stamp, text, STAMP);
    uint32_t number = (uint32_t)strtoul(stamp + 16, NULL, 16) % RING;
    stamp[16] = 0;
    uint64_t took = now() - strtoull(stamp, NULL, 16);
    note(&deliveries, took);
    if (++seen[port][number] == (uint32_t)per_port) {
        seen[port][number] = 0;
        note(&lasts[port], took);
    }
}

static void take(struct subscriber *s) {
    ssize_t n = recv(s->fd, s->input + s->filled, sizeof s->input - s->filled, MSG_DONTWAIT);
    if (n == 0) { errors++; close(s->fd); }
    if (n <= 0) return;
    s->filled += (size_t)n;
    size_t at = 0;
    while (s->filled - at >= 2) {
        const uint8_t *frame = s->input + at;
        size_t head = 2, size = frame[1] & 0x7f;
        if (size == 126) {
            if (s->filled - at < 4) break;
            size = (size_t)frame[2] << 8 | frame[3];
            head = 4;
        }
        if (s->filled - at < head + size) break;
        if ((frame[0] & 0x0f) == 1 && size >= STAMP) delivered(s->port, frame + head);
        at += head + size;
    }
    memmove(s->input, s->input + at, s->filled - at);
    s->filled -= at;
}

// Takes whole answers. An entry of a list that failed has a status of its own.
static void take_answers(struct client *c) {
    ssize_t n = recv(c->fd, c->input + c->filled, INPUT - c->filled, MSG_DONTWAIT);
    if (n == 0) { errors++; close(c->fd); }
    if (n <= 0) return;
    c->filled += (size_t)n;
    char *end;
    while (c->input[c->filled] = 0, (end = memmem(c->input, c->filled, "\r\n\r\n", 4)) != NULL) {
        const char *length = strcasestr(c->input, "\r\ncontent-length:");
        size_t whole = (size_t)(end + 4 - c->input) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
        if (whole > INPUT) { errors++; c->filled = 0; return; }
        if (c->filled < whole) return;
        int is_good = memcmp(c->input, "HTTP/1.1 2", 10) == 0;
        if (!is_good || memmem(end, whole - (size_t)(end - c->input), "\"status\":", 9) != NULL) {
            if (failed++ == 0) fprintf(stderr, "answer: %.*s\n", (int)(whole < 600 ? whole : 600), c->input);
        }
        note(&answers, now() - c->sent_at);
        answered++;
        c->waiting--;
        memmove(c->input, c->input + whole, c->filled - whole);
        c->filled -= whole;
    }
}

// Copies a text with a number for its `#`; returns the length.
static int numbered(char *to, size_t size, const char *text, int number) {
    const char *at = strchr(text, '#');
    if (!at) return snprintf(to, size, "%s", text);
    return snprintf(to, size, "%.*s%d%s", (int)(at - text), text, number, at + 1);
}

// Sends one request, with messages from this number on.
static void publish(struct client *c, const char *path, const char *channel, int client, int batch, int size,
                    uint64_t number) {
    static char body[MAX_BATCH * (MAX_SIZE + 128) + 16], head[512], place[256], name[128], text[MAX_SIZE + 1];
    size_t used = 0;
    c->sent_at = now();
    for (int n = 0; n < (batch ? batch : 1); n++) {
        snprintf(text, sizeof text, "%016llx%08x", (unsigned long long)c->sent_at, (uint32_t)(number + (uint64_t)n));
        memset(text + STAMP, 'x', (size_t)(size - STAMP));
        text[size] = 0;
        numbered(name, sizeof name, channel, n);
        if (batch)
            used += (size_t)sprintf(body + used, "%s{\"channel\":\"%s\",\"text\":\"%s\"}", n ? "," : "[", name, text);
        else
            used += (size_t)sprintf(body, "%s", text);
    }
    if (batch) body[used++] = ']';
    numbered(place, sizeof place, path, client);
    int n = snprintf(head, sizeof head,
        "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
        place, batch ? "application/json" : "text/plain", used);
    if (send(c->fd, head, (size_t)n, MSG_NOSIGNAL | MSG_MORE) != n) errors++;
    for (size_t done = 0; done < used;) {
        ssize_t sent = send(c->fd, body + done, used - done, MSG_NOSIGNAL);
        if (sent < 0) { errors++; break; }
        done += (size_t)sent;
    }
    c->waiting++;
}

int main(int argc, char **argv) {
    if (argc != 12) { fprintf(stderr, "usage: see load.c\n"); return 1; }
    int ports[2] = {atoi(argv[1]), 0}, count = 1;
    if (strchr(argv[1], ',')) ports[count++] = atoi(strchr(argv[1], ',') + 1);
    int clients = atoi(argv[7]), batch = atoi(argv[9]), size = atoi(argv[10]);
    double rate = atof(argv[8]), seconds = atof(argv[11]);
    per_port = atoi(argv[3]);
    if (size < STAMP || size > MAX_SIZE || batch > MAX_BATCH || clients < 1 || clients > MAX_CLIENTS) return 1;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);

    int poll = epoll_create1(0), total = per_port * count;
    struct subscriber *all = calloc((size_t)total + 1, sizeof *all);
    for (int i = 0; i < total; i++) {
        all[i].port = i % count;
        all[i].fd = subscribe(ports[i % count], argv[2]);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    struct client *publishers = calloc((size_t)clients, sizeof *publishers);
    for (int i = 0; i < clients; i++) {
        publishers[i].fd = dial(atoi(argv[4]));
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)(total + i)};
        epoll_ctl(poll, EPOLL_CTL_ADD, publishers[i].fd, &event);
    }
    char line[64];
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) return 1;

    uint64_t start = now(), until = start + (uint64_t)(seconds * 1e6), deadline = until + 5000000;
    uint64_t sent = 0, each = (uint64_t)(batch ? batch : 1), wanted = (uint64_t)(rate * seconds), stopped = until;
    while (now() < deadline) {
        int is_over = rate > 0 ? sent >= wanted : now() >= until;
        if (!is_over && rate > 0 && now() >= start + (uint64_t)((double)sent * 1e6 / rate)) {
            int n = (int)(sent % (uint64_t)clients);
            publish(&publishers[n], argv[5], argv[6], n, batch, size, sent * each);
            sent++;
            continue;
        }
        for (int n = 0; !is_over && rate == 0 && n < clients; n++)
            if (publishers[n].waiting == 0) {
                publish(&publishers[n], argv[5], argv[6], n, batch, size, sent * each);
                sent++;
            }
        if (is_over && answered == sent) {
            if (stopped == until) stopped = now();
            if (deliveries.count >= sent * each * (uint64_t)total) break;
        }
        struct epoll_event events[512];
        int ready = epoll_wait(poll, events, 512, 1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.u32 < (uint32_t)total) take(&all[events[i].data.u32]);
            else take_answers(&publishers[events[i].data.u32 - (uint32_t)total]);
        }
    }
    printf("{\"published\":%llu,\"seconds\":%.3f,\"deliveries\":%llu,\"missing\":%lld,\"errors\":%llu,\"failed\":%llu,"
           "\"unanswered\":%llu,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"answer_p50_ms\":%.3f,\"answer_p99_ms\":%.3f,"
           "\"last\":[[%.3f,%.3f],[%.3f,%.3f]]}\n",
        (unsigned long long)(sent * each), (double)(stopped - start) / 1e6, (unsigned long long)deliveries.count,
        (long long)(sent * each * (uint64_t)total) - (long long)deliveries.count, (unsigned long long)errors,
        (unsigned long long)failed, (unsigned long long)(sent - answered), percentile(&deliveries, 0.5),
        percentile(&deliveries, 0.99), percentile(&answers, 0.5), percentile(&answers, 0.99),
        percentile(&lasts[0], 0.5), percentile(&lasts[0], 0.99), percentile(&lasts[1], 0.5),
        percentile(&lasts[1], 0.99));
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {}
    return 0;
}
