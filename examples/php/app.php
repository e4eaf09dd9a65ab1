<?php
// A chat room in a small legacy app: plain HTTP, no libraries. There is no WebSocket code in this file.
//
// Sidesocket turns what happens on a WebSocket at /ws into POST requests to /ws. Two headers make the
// room: one lets a client in, one sends what it says to all. Start it with: PORT=3000 php app.php
// (the same as: php -S 127.0.0.1:3000 app.php)

if (PHP_SAPI === 'cli') {
    $address = (getenv('HOST') ?: '127.0.0.1') . ':' . (getenv('PORT') ?: '3000');
    pcntl_exec(PHP_BINARY, ['-S', $address, __FILE__]);
}

function answer(int $status, string $body = '', string $type = 'text/plain; charset=utf-8'): void
{
    http_response_code($status);
    header("Content-Type: $type");
    echo $body;
}

$route = $_SERVER['REQUEST_METHOD'] . ' ' . parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if ($route === 'GET /') {
    answer(200, file_get_contents(__DIR__ . '/../page.html'), 'text/html; charset=utf-8');
    return;
}
if ($route === 'GET /sidesocket-client.js') {
    answer(200, file_get_contents(__DIR__ . '/../sidesocket-client.js'), 'text/javascript; charset=utf-8');
    return;
}
if ($route !== 'POST /ws') {
    answer(404, "No such page.\n");
    return;
}

$body = file_get_contents('php://input');
$connection = $_SERVER['HTTP_CE_CONNECTIONID'] ?? '';
switch ($_SERVER['HTTP_CE_TYPE'] ?? '') {
    case 'sidesocket.open': // 2xx accepts the WebSocket, anything else refuses it
        header('Sidesocket-Subscribe: room');
        answer(204);
        break;
    case 'sidesocket.message': // the body of the answer goes to everybody in the room
        $isText = str_starts_with($_SERVER['CONTENT_TYPE'] ?? '', 'text/plain');
        $text = $isText ? $body : strlen($body) . ' bytes';
        header('Sidesocket-Publish: room');
        answer(200, substr($connection, 0, 4) . ": $text");
        break;
    case 'sidesocket.close':
        error_log("connection $connection closed: $body");
        answer(204);
        break;
    default:
        answer(400, "Not an event from Sidesocket.\n");
}
