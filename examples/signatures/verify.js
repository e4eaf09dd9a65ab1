// Is this event from Sidesocket? Verifies a Standard Webhooks signature; see docs/identity.md.
const { createHmac, timingSafeEqual } = require("node:crypto");

const TOLERANCE = 300; // seconds

/**
 * headers: req.headers, with the names in lower case; body: a Buffer with the bytes as they came, before any parser;
 * secret: whsec_…, as in WEBHOOK_SECRET.
 */
function isGenuine(headers, body, secret) {
  const { "webhook-id": id, "webhook-timestamp": sentAt, "webhook-signature": signatures } = headers;
  if (!id || !/^\d+$/.test(sentAt ?? "") || !signatures) return false;
  if (Math.abs(Date.now() / 1000 - Number(sentAt)) > TOLERANCE) return false;
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const wanted = createHmac("sha256", key).update(`${id}.${sentAt}.`).update(body).digest();
  return signatures.split(" ").some((given) => {
    const [version, text] = given.split(",");
    const bytes = Buffer.from(text ?? "", "base64");
    return version === "v1" && bytes.length === wanted.length && timingSafeEqual(bytes, wanted);
  });
}

module.exports = { isGenuine };
