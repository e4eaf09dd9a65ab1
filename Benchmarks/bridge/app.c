// An app that costs next to nothing: HTTP/1.1 with keep-alive, which echoes the body of each request.
// Usage: app PORT. It trusts its caller; it is no example of a web server.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 1 << 20 };

struct connection {
    int fd;
    size_t filled;
    char *input;
};

static void send_all(int fd, const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        if (sent < 0) return;
        bytes += sent;
        count -= (size_t)sent;
    }
}

// The value of Content-Length in a head that ends with a NUL.
static size_t content_length(const char *head) {
    const char *field = strcasestr(head, "\r\ncontent-length:");
    return field ? strtoul(field + 17, NULL, 10) : 0;
}

// Answers every whole request in the buffer.
static void answer(struct connection *c) {
    char head[256];
    for (;;) {
        c->input[c->filled] = 0;
        char *end = memmem(c->input, c->filled, "\r\n\r\n", 4);
        if (!end) return;
        *end = 0;
        size_t body = content_length(c->input);
        *end = '\r';
        char *start = end + 4;
        size_t whole = (size_t)(start - c->input) + body;
        if (whole > BUFFER || c->filled < whole) return;
        int length = snprintf(head, sizeof head,
                              "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", body);
        char *reply = start - length;  // the answer's head goes over the request's head, which is longer
        if (reply >= c->input) {
            memcpy(reply, head, (size_t)length);
            send_all(c->fd, reply, (size_t)length + body);
        } else {
            send_all(c->fd, head, (size_t)length);
            send_all(c->fd, start, body);
        }
        memmove(c->input, c->input + whole, c->filled - whole);
        c->filled -= whole;
    }
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
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
                c->input = malloc(BUFFER + 1);
                event.data.ptr = c;
                epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
                continue;
            }
            ssize_t got = recv(c->fd, c->input + c->filled, BUFFER - c->filled, 0);
            if (got <= 0) {
                close(c->fd);
                free(c->input);
                free(c);
                continue;
            }
            c->filled += (size_t)got;
            answer(c);
        }
    }
}
