"use strict";
// X25519 (RFC 7748 section 5), for browsers whose WebCrypto does not have it. BigInt does not
// compute in constant time: it is used once, for a key drawn a moment ago, on the machine that
// keeps that key.
const PRIME = 2n ** 255n - 19n;

function toNumber(bytes) {
  return bytes.reduceRight((number, byte) => (number << 8n) | BigInt(byte), 0n);
}

function toBytes(number) {
  return Uint8Array.from({ length: 32 }, (_, at) => Number((number >> BigInt(8 * at)) & 255n));
}

function power(base, exponent) {
  let result = 1n;
  for (; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = (result * base) % PRIME;
    base = (base * base) % PRIME;
  }
  return result;
}

// decodeScalar25519: what a private key is made to be before its use.
function clamped(scalar) {
  const bytes = Uint8Array.from(scalar);
  bytes[0] &= 248;
  bytes[31] = (bytes[31] & 127) | 64;
  return bytes;
}

function x25519(scalar, point) {
  const k = toNumber(clamped(scalar));
  const u = (toNumber(point) & (2n ** 255n - 1n)) % PRIME;
  let [x2, z2, x3, z3, swapped] = [1n, 0n, u, 1n, 0n];
  for (let t = 254n; t >= 0n; t -= 1n) {
    const bit = (k >> t) & 1n;
    if (bit !== swapped) [x2, z2, x3, z3] = [x3, z3, x2, z2];
    swapped = bit;
    const [a, b, c, d] = [x2 + z2, x2 - z2 + PRIME, x3 + z3, x3 - z3 + PRIME];
    const [aa, bb, da, cb] = [(a * a) % PRIME, (b * b) % PRIME, (d * a) % PRIME, (c * b) % PRIME];
    const e = aa - bb + PRIME;
    x3 = (da + cb) ** 2n % PRIME;
    z3 = (u * ((da - cb) ** 2n % PRIME)) % PRIME;
    x2 = (aa * bb) % PRIME;
    z2 = (e * (aa + 121665n * e)) % PRIME;
  }
  if (swapped) [x2, z2] = [x3, z3];
  return toBytes((x2 * power(z2, PRIME - 2n)) % PRIME);
}

const BASE_POINT = Uint8Array.from({ length: 32 }, (_, at) => (at === 0 ? 9 : 0));

// In PKCS #8 the 32 bytes of a key follow this (RFC 8410 section 7).
const PKCS8 = [48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 110, 4, 34, 4, 32];

// Makes a pair with WebCrypto; null where it cannot.
async function nativePair() {
  try {
    const pair = await crypto.subtle.generateKey({ name: "X25519" }, true, ["deriveBits"]);
    const raw = crypto.subtle.exportKey("raw", pair.publicKey);
    const wrapped = crypto.subtle.exportKey("pkcs8", pair.privateKey);
    const [publicKey, pkcs8] = [new Uint8Array(await raw), new Uint8Array(await wrapped)];
    const known = pkcs8.length === 48 && PKCS8.every((byte, at) => pkcs8[at] === byte);
    if (!known || publicKey.length !== 32) return null;
    return { publicKey, privateKey: clamped(pkcs8.subarray(16)) };
  } catch {
    return null;
  }
}

async function keyPair() {
  const native = await nativePair();
  if (native) return native;
  const privateKey = clamped(crypto.getRandomValues(new Uint8Array(32)));
  return { privateKey, publicKey: x25519(privateKey, BASE_POINT) };
}
