// Fan-out load: subscribers, and one publisher over HTTP with keep-alive. Prints one line of JSON.
// Usage: load PORT PATH PUBLISH_PORT PUBLISH_PATH SUBSCRIBERS RATE SIZE SECONDS ws|sse STALLED
//
// Subscribers are WebSockets or event streams. RATE is publications per second; 0 publishes again as soon as the last
// publication is answered. STALLED more subscribers than SUBSCRIBERS never read. Each message begins with the moment of
// its publication, so a delivery tells how long it took.
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

enum { SLOTS = 1 << 20, STAMP = 16, MAX_SIZE = 4096 };

struct subscriber {
    int fd;
    size_t filled;
    uint8_t input[MAX_SIZE + 16];
};

static uint32_t latencies[SLOTS];
static uint64_t deliveries, errors;
static int is_stream, speaks_protocol;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int dial(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) { perror("connect"); exit(1); }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

// Reads up to the end of a head, byte by byte: what follows belongs to the frames.
static void read_head(int fd) {
    char head[4096];
    size_t n = 0;
    while (n < sizeof head && recv(fd, head + n, 1, 0) == 1)
        if (++n >= 4 && memcmp(head + n - 4, "\r\n\r\n", 4) == 0) {
            if (memcmp(head, is_stream ? "HTTP/1.1 200" : "HTTP/1.1 101", 12) != 0) errors++;
            return;
        }
    errors++;
}

static void delivered(const uint8_t *text) {
    char stamp[STAMP + 1] = {0};
    memcpy(stamp, text, STAMP);
    uint64_t took = now() - strtoull(stamp, NULL, 16);
    latencies[took < SLOTS ? took : SLOTS - 1]++;
    deliveries++;
}

// Takes whole events; returns how many bytes they had.
static size_t take_events(struct subscriber *s) {
    size_t at = 0;
    uint8_t *end;
    while ((end = memmem(s->input + at, s->filled - at, "\n\n", 2)) != NULL) {
        uint8_t *data = memmem(s->input + at, (size_t)(end - s->input) - at, "data: ", 6);
        if (data != NULL && end - data >= 6 + STAMP) delivered(data + 6);
        at = (size_t)(end - s->input) + 2;
    }
    return at;
}

static size_t take_frames(struct subscriber *s) {
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
        const uint8_t *text = frame + head;
        if (speaks_protocol) {
            // $welcome has no payload.
            uint8_t *payload = memmem(text, size, "\"payload\":\"", 11);
            if (payload != NULL && text + size - payload >= 11 + STAMP) delivered(payload + 11);
        } else if ((frame[0] & 0x0f) == 1 && size >= STAMP) {
            delivered(text);
        }
        at += head + size;
    }
    return at;
}

static void take(struct subscriber *s) {
    ssize_t n = recv(s->fd, s->input + s->filled, sizeof s->input - s->filled, MSG_DONTWAIT);
    if (n <= 0) { if (n == 0) errors++; return; }
    s->filled += (size_t)n;
    size_t at = is_stream ? take_events(s) : take_frames(s);
    memmove(s->input, s->input + at, s->filled - at);
    s->filled -= at;
}

static double percentile(double share) {
    uint64_t wanted = (uint64_t)((double)deliveries * share), seen = 0;
    for (int i = 0; i < SLOTS; i++)
        if ((seen += latencies[i]) > wanted) return i / 1000.0;
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 11) { fprintf(stderr, "usage: see load.c\n"); return 1; }
    int port = atoi(argv[1]), publish_port = atoi(argv[3]), count = atoi(argv[5]), size = atoi(argv[7]);
    int stalled = atoi(argv[10]);
    double rate = atof(argv[6]), seconds = atof(argv[8]);
    is_stream = strcmp(argv[9], "sse") == 0;
    speaks_protocol = strcmp(argv[9], "protocol") == 0;
    if (size < STAMP || size > MAX_SIZE) { fprintf(stderr, "load: a size from 16 to 4096\n"); return 1; }
    struct rlimit files = {20000, 20000};
    setrlimit(RLIMIT_NOFILE, &files);
    struct subscriber *all = calloc((size_t)(count + stalled), sizeof *all);
    int poll = epoll_create1(0);
    for (int i = 0; i < count + stalled; i++) {
        char request[512];
        int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s%s\r\n\r\n", argv[2],
            is_stream ? "Accept: text/event-stream"
                      : "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            speaks_protocol ? "\r\nSec-WebSocket-Protocol: sidesocket.v1.json" : "");
        all[i].fd = dial(port);
        if (send(all[i].fd, request, (size_t)n, 0) != n) errors++;
        read_head(all[i].fd);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (i < count) epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    int publisher = dial(publish_port);
    struct epoll_event answers = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    epoll_ctl(poll, EPOLL_CTL_ADD, publisher, &answers);
    uint64_t start = now(), published = 0, answered = 0, wanted = rate > 0 ? (uint64_t)(rate * seconds) : UINT64_MAX;
    uint64_t deadline = start + (uint64_t)(seconds * 1e6) + 2000000;
    while (now() < deadline && (published < wanted || deliveries < published * (uint64_t)count)) {
        uint64_t due = start + (rate > 0 ? (uint64_t)((double)published * 1e6 / rate) : 0);
        if (rate == 0 && now() >= start + (uint64_t)(seconds * 1e6)) wanted = published;
        if (published < wanted && now() >= due && (rate > 0 || answered == published)) {
            char request[MAX_SIZE + 512];
            int n = snprintf(request, sizeof request,
                "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%016llx",
                argv[4], size, (unsigned long long)now());
            memset(request + n, 'x', (size_t)(size - STAMP));
            if (send(publisher, request, (size_t)(n + size - STAMP), 0) < 0) errors++;
            published++;
            continue;
        }
        struct epoll_event events[512];
        int ready = epoll_wait(poll, events, 512, 1);
        for (int i = 0; i < ready; i++) {
            char ignored[4096];
            if (events[i].data.u32 == UINT32_MAX) {
                if (recv(publisher, ignored, sizeof ignored, MSG_DONTWAIT) == 0) { errors++; wanted = published; }
                answered++;
            } else {
                take(&all[events[i].data.u32]);
            }
        }
    }
    printf("{\"published\":%llu,\"deliveries\":%llu,\"missing\":%llu,\"errors\":%llu,\"p50_ms\":%.3f,\"p99_ms\":%.3f}\n",
        (unsigned long long)published, (unsigned long long)deliveries,
        (unsigned long long)(published * (uint64_t)count - deliveries), (unsigned long long)errors,
        percentile(0.5), percentile(0.99));
    return 0;
}
