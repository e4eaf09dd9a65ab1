<?php
// A chat in a small legacy app: plain HTTP, no libraries. There is no WebSocket code in this file.
//
// Sidesocket turns what happens on a WebSocket at /ws into POST requests to /ws, and headers of the reply say what to
// do: Sidesocket-Subscribe lets a client into a room, Sidesocket-Publish sends the body to all who are there.
// Start it with: PORT=3000 php app.php (the same as: php -S 127.0.0.1:3000 app.php)

if (PHP_SAPI === 'cli') {
    $address = (getenv('HOST') ?: '127.0.0.1') . ':' . (getenv('PORT') ?: '3000');
    pcntl_exec(PHP_BINARY, ['-S', $address, __FILE__]);
}

const ROOMS = ['room', 'room:tea', 'room:help'];

function answer(int $status, string $body = '', string $type = 'text/plain; charset=utf-8'): void
{
    http_response_code($status);
    header("Content-Type: $type");
    echo $body;
}

// 2xx accepts the WebSocket, anything else refuses it. A real app knows its users; here each says a name.
function opened(): void
{
    $name = preg_replace('/\p{C}/u', '', (string) ($_GET['name'] ?? '')) ?? '';
    $name = preg_replace('/^(.{32}).*$/us', '$1', $name);
    header('Sidesocket-Subscribe: room');
    if ($name !== '') {
        header("Sidesocket-User: $name");
    }
    answer(204);
}

// A message of the page: `say`, `join` or `leave`, with JSON.
function said(string $kind, string $user, string $body): void
{
    $asked = json_decode($body, true);
    if (!is_array($asked)) { // a client may send anything
        answer(422, 'A message is a JSON object.');
        return;
    }
    $room = $asked['room'] ?? '';
    $text = $asked['text'] ?? '';
    if (!in_array($room, ROOMS, true)) {
        answer(422, 'There is no such room.');
    } elseif ($kind === 'join' || $kind === 'leave') {
        header(($kind === 'join' ? 'Sidesocket-Subscribe: ' : 'Sidesocket-Unsubscribe: ') . $room);
        answer(204);
    } elseif ($kind !== 'say' || !is_string($text) || !preg_match('/^.{1,2000}$/us', $text)) {
        answer(422, 'A message has 1 to 2000 characters.');
    } else {
        header("Sidesocket-Publish: $room");
        header('Sidesocket-Event: say');
        header('Sidesocket-Exclude: self'); // the sender shows it already
        answer(200, json_encode(['from' => $user ?: 'guest', 'text' => $text]), 'application/json');
    }
}

$route = $_SERVER['REQUEST_METHOD'] . ' ' . parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($route === 'GET /') {
    answer(200, file_get_contents(__DIR__ . '/../page.html'), 'text/html; charset=utf-8');
    return;
}
if ($route !== 'POST /ws') {
    answer(404, "No such page.\n");
    return;
}

$body = file_get_contents('php://input');
$connection = $_SERVER['HTTP_CE_CONNECTIONID'] ?? '';
$kind = $_SERVER['HTTP_CE_MESSAGETYPE'] ?? '';
$user = rawurldecode($_SERVER['HTTP_CE_USERID'] ?? '');
switch ($_SERVER['HTTP_CE_TYPE'] ?? '') {
    case 'sidesocket.open':
        opened();
        break;
    case 'sidesocket.message':
        if ($kind !== '') {
            said($kind, $user, $body);
            break;
        }
        // A raw WebSocket, such as `websocat`: everybody hears the text.
        $isText = str_starts_with($_SERVER['CONTENT_TYPE'] ?? '', 'text/plain');
        $text = $isText ? $body : strlen($body) . ' bytes';
        header('Sidesocket-Publish: room');
        answer(200, ($user ?: substr($connection, 0, 4)) . ": $text");
        break;
    case 'sidesocket.close':
        error_log("connection $connection closed: $body");
        answer(204);
        break;
    default:
        answer(400, "Not an event from Sidesocket.\n");
}
