"""WebSocket clients in other languages, as programs.

Each gets addresses, every one with the files to send over it, `.txt` as text; it prints a line with the agreed
extensions for each address and one with the outcome for each file.
"""

NODE = r"""
const fs = require('fs'), WebSocket = require('ws')

async function converse(address, names) {
  const socket = new WebSocket(address, { perMessageDeflate: { threshold: 0 } })
  socket.on('upgrade', answer => console.log('extensions:' + answer.headers['sec-websocket-extensions']))
  await new Promise((done, failed) => { socket.onopen = done; socket.onerror = failed })
  socket.onerror = () => {}
  for (const name of names) {
    const data = fs.readFileSync(name), isText = name.endsWith('.txt')
    console.log(await new Promise(done => {
      if (socket.readyState !== WebSocket.OPEN) done('not sent')
      socket.once('close', code => done(`closed ${code}`))
      socket.once('message', (got, isBinary) =>
        done(data.equals(got) && isBinary !== isText ? 'echoed' : 'something else'))
      socket.send(isText ? data.toString() : data)
    }))
  }
  socket.close()
}

const sessions = []
for (const argument of process.argv.slice(2)) {
  if (argument.startsWith('ws:')) sessions.push([argument, []])
  else sessions[sessions.length - 1][1].push(argument)
}
(async () => { for (const [address, names] of sessions) await converse(address, names) })()
"""
GO = r"""
package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

func main() {
	dialer := websocket.Dialer{EnableCompression: true, HandshakeTimeout: 10 * time.Second}
	var socket *websocket.Conn
	for _, argument := range os.Args[1:] {
		if strings.HasPrefix(argument, "ws:") {
			if socket != nil {
				socket.Close()
			}
			opened, answer, err := dialer.Dial(argument, nil)
			if err != nil {
				panic(err)
			}
			socket = opened
			fmt.Println("extensions:" + strings.Join(answer.Header["Sec-Websocket-Extensions"], ", "))
			continue
		}
		data, err := os.ReadFile(argument)
		if err != nil {
			panic(err)
		}
		kind := websocket.BinaryMessage
		if strings.HasSuffix(argument, ".txt") {
			kind = websocket.TextMessage
		}
		socket.WriteMessage(kind, data)
		socket.SetReadDeadline(time.Now().Add(10 * time.Second))
		got, answer, err := socket.ReadMessage()
		if closed, ok := err.(*websocket.CloseError); ok {
			fmt.Println("closed", closed.Code)
		} else if err != nil {
			fmt.Println(err)
		} else if got == kind && bytes.Equal(answer, data) {
			fmt.Println("echoed")
		} else {
			fmt.Println("something else")
		}
	}
}
"""
JAVA = r"""
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

public class Client {
    static class Ear implements WebSocket.Listener {
        final LinkedBlockingQueue<Object> heard = new LinkedBlockingQueue<>();
        final StringBuilder text = new StringBuilder();
        final ByteArrayOutputStream data = new ByteArrayOutputStream();

        public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean isLast) {
            text.append(part);
            if (isLast) {
                heard.add(text.toString());
                text.setLength(0);
            }
            socket.request(1);
            return null;
        }

        public CompletionStage<?> onBinary(WebSocket socket, ByteBuffer part, boolean isLast) {
            var bytes = new byte[part.remaining()];
            part.get(bytes);
            data.writeBytes(bytes);
            if (isLast) {
                heard.add(data.toByteArray());
                data.reset();
            }
            socket.request(1);
            return null;
        }

        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            heard.add(code);
            return null;
        }

        public void onError(WebSocket socket, Throwable error) {
            heard.add(error);
        }
    }

    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        Ear ear = null;
        WebSocket socket = null;
        for (var argument : arguments) {
            if (argument.startsWith("ws:")) {
                if (socket != null) socket.abort();
                ear = new Ear();
                socket = client.newWebSocketBuilder().buildAsync(URI.create(argument), ear).get(10, TimeUnit.SECONDS);
                System.out.println("extensions:");
                continue;
            }
            var bytes = Files.readAllBytes(Path.of(argument));
            var text = argument.endsWith(".txt") ? new String(bytes, StandardCharsets.UTF_8) : null;
            if (text != null) socket.sendText(text, true);
            else socket.sendBinary(ByteBuffer.wrap(bytes), true);
            var got = ear.heard.poll(10, TimeUnit.SECONDS);
            if (got instanceof Integer code) System.out.println("closed " + code);
            else if (text != null ? text.equals(got) : got instanceof byte[] && Arrays.equals(bytes, (byte[]) got))
                System.out.println("echoed");
            else System.out.println(got instanceof Throwable ? got : "something else");
        }
        System.exit(0);
    }
}
"""
PAGE = """<!doctype html><title>test</title><p id="result">waiting</p><script>
const plan = PLAN
const load = name => fetch('/message/' + name).then(answer => answer.arrayBuffer())
const same = (a, b) => a.length === b.length && a.every((byte, index) => byte === b[index])

async function converse(address, names) {
  const socket = new WebSocket(address)
  socket.binaryType = 'arraybuffer'
  await new Promise((done, failed) => { socket.onopen = done; socket.onerror = failed })
  const results = []
  for (const name of names) {
    const data = new Uint8Array(await load(name)), text = name.endsWith('.txt')
    results.push(await new Promise(done => {
      if (socket.readyState !== WebSocket.OPEN) done('not sent')
      socket.onclose = event => done(`closed ${event.code}`)
      socket.onmessage = ({ data: got }) => done((text ? typeof got === 'string' &&
        same(new TextEncoder().encode(got), data) : same(new Uint8Array(got), data)) ? 'echoed' : 'something else')
      socket.send(text ? new TextDecoder().decode(data) : data)
    }))
  }
  socket.close()
  return [socket.extensions, results]
}

(async () => {
  const told = []
  for (const [address, names] of plan) told.push(await converse(address, names))
  document.getElementById('result').textContent = 'told ' + JSON.stringify(told)
})().catch(error => document.getElementById('result').textContent = 'told ' + JSON.stringify(String(error)))
</script>"""
