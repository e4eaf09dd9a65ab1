// WebSocket load: each connection sends a message, waits for its answer, and sends the next.
// Usage: load PORT PATH CONNECTIONS SIZE SECONDS [protocol]. Prints one line of JSON. With `protocol` it speaks the client
// protocol: each message has an id, and what comes is acknowledged every 32 replies.
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

enum { SLOTS = 1 << 20 };  // latencies are counted by the microsecond; all above a second in the last slot

struct client {
    int fd, is_open, is_welcome;
    uint32_t sent;
    uint64_t sent_at;
    size_t filled;
    uint8_t *input;
};

static uint32_t latencies[SLOTS];
static uint64_t messages, errors;
static uint8_t *frame;
static size_t frame_size, input_size, id_at;
static int speaks_protocol;
static const uint8_t mask[4] = {0x3a, 0x91, 0x5c, 0xe7};

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

// One masked text frame, the same for every message but for its id.
static void make_frame(size_t payload) {
    static const char before[] = "{\"type\":\"post\",\"id\":\"0000000000\",\"payload\":\"", after[] = "\"}";
    size_t lead = speaks_protocol ? sizeof before - 1 : 0, size = payload + (speaks_protocol ? lead + 2 : 0);
    uint8_t *at = frame = malloc(size + 14);
    *at++ = 0x81;
    if (size < 126) {
        *at++ = (uint8_t)(0x80 | size);
    } else if (size < 65536) {
        *at++ = 0x80 | 126;
        *at++ = (uint8_t)(size >> 8);
        *at++ = (uint8_t)size;
    } else {
        *at++ = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8) *at++ = (uint8_t)((uint64_t)size >> shift);
    }
    memcpy(at, mask, 4);
    at += 4;
    id_at = (size_t)(at - frame) + 21;
    for (size_t i = 0; i < size; i++) {
        char byte = i < lead ? before[i] : i - lead < payload ? (char)('a' + (i - lead) % 26) : after[i - lead - payload];
        *at++ = (uint8_t)byte ^ mask[i % 4];
    }
    frame_size = (size_t)(at - frame);
}

static void fail(struct client *c) {
    errors++;
    close(c->fd);
    c->fd = -1;
}

// Each message has had one reply, so the last reply has the number of the messages.
static void acknowledge(struct client *c) {
    uint8_t bytes[64] = {0x81};
    int size = snprintf((char *)bytes + 6, sizeof bytes - 6, "{\"type\":\"$ack\",\"seq\":%u}", c->sent - 1);
    bytes[1] = (uint8_t)(0x80 | size);
    memcpy(bytes + 2, mask, 4);
    for (int i = 0; i < size; i++) bytes[6 + i] ^= mask[i % 4];
    if (send(c->fd, bytes, (size_t)size + 6, MSG_NOSIGNAL) < 0) fail(c);
}

static void send_message(struct client *c) {
    c->sent_at = now();
    if (speaks_protocol) {
        char id[11];
        snprintf(id, sizeof id, "%010u", c->sent++);
        for (size_t i = 0; i < 10; i++) frame[id_at + i] = (uint8_t)id[i] ^ mask[(i + 21) % 4];
        if (c->sent % 32 == 0) acknowledge(c);
    }
    for (size_t done = 0; done < frame_size;) {
        ssize_t sent = send(c->fd, frame + done, frame_size - done, MSG_NOSIGNAL);
        if (sent < 0) return fail(c);
        done += (size_t)sent;
    }
}

// The size of the first frame in the buffer with its header, or 0 while it is not whole.
static size_t whole_frame(const struct client *c) {
    const uint8_t *p = c->input;
    if (c->filled < 2) return 0;
    size_t size = p[1] & 127, header = 2;
    if (size == 126) {
        if (c->filled < 4) return 0;
        size = (size_t)p[2] << 8 | p[3];
        header = 4;
    } else if (size == 127) {
        if (c->filled < 10) return 0;
        size = 0;
        for (int i = 2; i < 10; i++) size = size << 8 | p[i];
        header = 10;
    }
    return c->filled - header < size ? 0 : header + size;
}

static void receive(struct client *c) {
    ssize_t got = recv(c->fd, c->input + c->filled, input_size - c->filled, 0);
    if (got <= 0) return fail(c);
    c->filled += (size_t)got;
    if (!c->is_open) {
        uint8_t *end = memmem(c->input, c->filled, "\r\n\r\n", 4);
        if (!end) return;
        if (memcmp(c->input, "HTTP/1.1 101", 12) != 0) {
            if (errors == 0) fprintf(stderr, "refused: %.*s\n", (int)c->filled, c->input);
            return fail(c);
        }
        size_t head = (size_t)(end + 4 - c->input);
        memmove(c->input, c->input + head, c->filled - head);
        c->filled -= head;
        c->is_open = 1;
        if (!speaks_protocol) send_message(c);
    }
    for (size_t size; c->fd >= 0 && (size = whole_frame(c)) > 0;) {
        int opcode = c->input[0] & 15;
        if (speaks_protocol && opcode <= 2 && memmem(c->input, size, "\"type\":\"reply\"", 14) == NULL) {
            // $welcome is followed by the first message; nothing else comes but replies.
            if (c->is_welcome) return fail(c);
            c->is_welcome = 1;
            memmove(c->input, c->input + size, c->filled - size);
            c->filled -= size;
            send_message(c);
            continue;
        }
        memmove(c->input, c->input + size, c->filled - size);
        c->filled -= size;
        if (opcode == 8) return fail(c);
        if (opcode > 2) continue;  // a ping; the run is too short for the server to miss its answer
        uint64_t took = now() - c->sent_at;
        latencies[took < SLOTS ? took : SLOTS - 1]++;
        messages++;
        send_message(c);
    }
}

static double percentile(double part) {
    uint64_t wanted = (uint64_t)((double)messages * part), seen = 0;
    for (size_t i = 0; i < SLOTS; i++)
        if ((seen += latencies[i]) > wanted) return (double)i / 1000;
    return 0;
}

int main(int count, char **arguments) {
    if (count != 6 && count != 7) return 2;
    speaks_protocol = count == 7;
    int port = atoi(arguments[1]), connections = atoi(arguments[3]), one = 1;
    size_t size = strtoul(arguments[4], NULL, 10);
    double seconds = atof(arguments[5]);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    make_frame(size);
    input_size = size * 2 + 16384;

    int poll = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char request[1024];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: c2lkZXNvY2tldC1iZW5jaA==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                          arguments[2], port, speaks_protocol ? "Sec-WebSocket-Protocol: sidesocket.v1.json\r\n" : "");
    struct client *clients = calloc((size_t)connections, sizeof *clients);
    for (int i = 0; i < connections; i++) {
        struct client *c = &clients[i];
        c->input = malloc(input_size);
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(c->fd, (void *)&address, sizeof address)) {
            fail(c);
            continue;
        }
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        epoll_ctl(poll, EPOLL_CTL_ADD, c->fd, &event);
        if (send(c->fd, request, (size_t)length, MSG_NOSIGNAL) != length) fail(c);
    }

    uint64_t from = now(), until = from + (uint64_t)(seconds * 1e6);
    struct epoll_event ready[256];
    while (now() < until) {
        int number = epoll_wait(poll, ready, 256, 100);
        for (int i = 0; i < number; i++) {
            struct client *c = ready[i].data.ptr;
            if (c->fd >= 0) receive(c);
        }
    }
    printf("{\"messages\": %lu, \"errors\": %lu, \"rate\": %.0f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
           (unsigned long)messages, (unsigned long)errors, (double)messages / ((double)(now() - from) / 1e6),
           percentile(0.5), percentile(0.99));
    return 0;
}
