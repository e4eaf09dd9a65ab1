<?php
// Is this event from Sidesocket? Verifies a Standard Webhooks signature; see docs/identity.md.

const TOLERANCE = 300; // seconds

// $headers: with the names in lower case; $secret: whsec_…, as in WEBHOOK_SECRET.
// In a script: is_genuine(array_change_key_case(getallheaders()), file_get_contents('php://input'), $secret)
function is_genuine(array $headers, string $body, string $secret): bool
{
    $id = $headers['webhook-id'] ?? '';
    $sentAt = $headers['webhook-timestamp'] ?? '';
    if ($id === '' || !ctype_digit($sentAt) || abs(time() - (int) $sentAt) > TOLERANCE) {
        return false;
    }
    $key = base64_decode(substr($secret, strlen('whsec_')));
    $wanted = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$sentAt.$body", $key, true));
    foreach (explode(' ', $headers['webhook-signature'] ?? '') as $given) {
        if (hash_equals($wanted, $given)) {
            return true;
        }
    }
    return false;
}
