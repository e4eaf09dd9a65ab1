// An app that costs next to nothing and keeps a list of its events: HTTP/1.1 with keep-alive.
// Usage: app PORT EVENTS. It trusts its caller; it is no example of a web server.
//
// It echoes messages. It answers `open` with the channels that the client's query names: `join=NAME`, which may be
// repeated, and `from=N&count=M` for cN, cN+1, … Each event other than a message becomes a line of the file EVENTS: the
// moment in microseconds of CLOCK_MONOTONIC, the type after `sidesocket.`, and the id.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, NAMES = 1 << 15, MAX_CHANNELS = 2000 };

struct connection {
    int fd;
    size_t filled;
    char input[BUFFER + 1];
};

static FILE *events;

static unsigned long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned long long)t.tv_sec * 1000000 + (unsigned long long)t.tv_nsec / 1000;
}

static void send_all(int fd, const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        if (sent < 0) return;
        bytes += sent;
        count -= (size_t)sent;
    }
}

// Copies the value of a header, `name` with its line break and colon, from a head that ends with a NUL.
static void header(const char *head, const char *name, char *value, size_t size) {
    const char *field = strcasestr(head, name);
    value[0] = 0;
    if (!field) return;
    field += strlen(name);
    field += strspn(field, " ");
    size_t length = strcspn(field, "\r");
    if (length >= size) length = size - 1;
    memcpy(value, field, length);
    value[length] = 0;
}

static void add(char *names, size_t *used, const char *name, size_t length) {
    if (*used + length + 3 > NAMES) return;
    *used += (size_t)sprintf(names + *used, "%s%.*s", *used ? ", " : "", (int)length, name);
}

// The channels that a request line asks for, separated by commas.
static size_t channels(const char *line, char *names) {
    size_t used = 0, end = strcspn(line, "\r");
    names[0] = 0;
    for (const char *at = line; (at = strstr(at, "join=")) != NULL && at < line + end;) {
        at += 5;
        add(names, &used, at, strcspn(at, "& \r"));
    }
    const char *from = strstr(line, "from="), *count = strstr(line, "count=");
    if (from && count && from < line + end && count < line + end) {
        long first = atol(from + 5), number = atol(count + 6);
        for (long n = first; n < first + number && n < first + MAX_CHANNELS; n++) {
            char name[32];
            add(names, &used, name, (size_t)snprintf(name, sizeof name, "c%ld", n));
        }
    }
    return used;
}

static void answer_one(int fd, const char *head, const char *body, size_t length) {
    static char names[NAMES], reply[NAMES + 256];
    char type[64], id[256];
    header(head, "\r\nce-type:", type, sizeof type);
    header(head, "\r\nce-id:", id, sizeof id);
    const char *kind = strncmp(type, "sidesocket.", 11) == 0 ? type + 11 : "request";
    if (strcmp(kind, "message") == 0) {
        int n = sprintf(reply, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", length);
        send_all(fd, reply, (size_t)n);
        send_all(fd, body, length);
        return;
    }
    fprintf(events, "%llu %s %s\n", now(), kind, id);
    size_t used = strcmp(kind, "open") == 0 ? channels(head, names) : 0;
    int n = sprintf(reply, "HTTP/1.1 204 No Content\r\n%s%s%s\r\n", used ? "Sidesocket-Subscribe: " : "",
                    used ? names : "", used ? "\r\n" : "");
    send_all(fd, reply, (size_t)n);
}

// Answers every whole request in the buffer; returns 0 if one does not fit.
static int answer(struct connection *c) {
    for (;;) {
        c->input[c->filled] = 0;
        char *end = memmem(c->input, c->filled, "\r\n\r\n", 4), size[32];
        if (!end) return c->filled < BUFFER;
        end[2] = 0;
        header(c->input, "\r\ncontent-length:", size, sizeof size);
        size_t body = strtoul(size, NULL, 10), whole = (size_t)(end + 4 - c->input) + body;
        if (whole > BUFFER) return 0;
        if (c->filled < whole) {
            end[2] = '\r';
            return 1;
        }
        answer_one(c->fd, c->input, end + 4, body);
        memmove(c->input, c->input + whole, c->filled - whole);
        c->filled -= whole;
    }
}

int main(int count, char **arguments) {
    if (count != 3 || !(events = fopen(arguments[2], "w"))) return 2;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((unsigned short)atoi(arguments[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) return 1;
    int poll = epoll_create1(0);
    struct connection accepting = {.fd = listener};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &accepting}, ready[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int number = epoll_wait(poll, ready, 256, -1);
        for (int i = 0; i < number; i++) {
            struct connection *c = ready[i].data.ptr;
            if (c == &accepting) {
                int fd = accept(listener, NULL, NULL);
                if (fd < 0) continue;
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                c = calloc(1, sizeof *c);
                c->fd = fd;
                event.data.ptr = c;
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            ssize_t got = recv(c->fd, c->input + c->filled, BUFFER - c->filled, 0);
            if (got > 0) c->filled += (size_t)got;
            if (got <= 0 || !answer(c)) {
                close(c->fd);
                free(c);
            }
        }
        fflush(events);
    }
}
