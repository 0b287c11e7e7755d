"use strict";
// QR codes (ISO/IEC 18004:2015): bytes, error correction M, versions 1 to 40, every mask tried.
const QR_EC_WORDS = [
  10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26,
  26, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28,
];
const QR_BLOCKS = [
  1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16,
  17, 17, 18, 20, 21, 23, 25, 26, 28, 29, 31, 33, 35, 37, 38, 40, 43, 45, 47, 49,
];
const QR_MASKS = [
  (x, y) => (x + y) % 2,
  (_, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

// Returns rows of booleans, dark is true; null if no version can hold the text.
function qrCode(text) {
  const bytes = new TextEncoder().encode(text);
  for (let version = 1; version <= 40; version += 1) {
    const canvas = qrCanvas(version);
    const free = canvas.fixed.flat().filter((fixed) => !fixed).length;
    const room = Math.floor(free / 8) - QR_EC_WORDS[version - 1] * QR_BLOCKS[version - 1];
    const countBits = version < 10 ? 8 : 16;
    if (4 + countBits + 8 * bytes.length <= 8 * room) {
      qrFill(canvas, qrInterleave(version, qrData(bytes, countBits, room)));
      return qrMasked(canvas);
    }
  }
  return null;
}

function qrAlignment(version) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = version === 32 ? 26 : Math.ceil((version * 4 + 4) / (count * 2 - 2)) * 2;
  const places = Array.from({ length: count - 1 }, (_, at) => version * 4 + 10 - at * step);
  return [6, ...places.reverse()];
}

function qrData(bytes, countBits, room) {
  const bits = [];
  const push = (value, length) => {
    for (let at = length - 1; at >= 0; at -= 1) bits.push((value >> at) & 1);
  };
  push(4, 4);
  push(bytes.length, countBits);
  for (const byte of bytes) push(byte, 8);
  push(0, Math.min(4, room * 8 - bits.length));
  push(0, (8 - (bits.length % 8)) % 8);
  for (let pad = 236; bits.length < room * 8; pad ^= 236 ^ 17) push(pad, 8);
  return Array.from({ length: room }, (_, at) =>
    bits.slice(at * 8, at * 8 + 8).reduce((word, bit) => (word << 1) | bit, 0),
  );
}

// Multiplies in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1.
function qrTimes(a, b) {
  let product = 0;
  for (let at = 7; at >= 0; at -= 1) {
    product = (product << 1) ^ ((product >> 7) * 285);
    product ^= ((b >> at) & 1) * a;
  }
  return product;
}

function qrRemainder(data, degree) {
  const divisor = Array(degree).fill(0);
  divisor[degree - 1] = 1;
  for (let at = 0, root = 1; at < degree; at += 1, root = qrTimes(root, 2)) {
    for (let i = 0; i < degree; i += 1) {
      divisor[i] = qrTimes(divisor[i], root) ^ (i + 1 < degree ? divisor[i + 1] : 0);
    }
  }
  const rest = Array(degree).fill(0);
  for (const word of data) {
    const factor = word ^ rest.shift();
    rest.push(0);
    divisor.forEach((part, at) => (rest[at] ^= qrTimes(part, factor)));
  }
  return rest;
}

// Cuts the data into blocks, the longer ones last, and takes a word of each in turn.
function qrInterleave(version, data) {
  const count = QR_BLOCKS[version - 1];
  const short = Math.floor(data.length / count);
  const shorts = count - (data.length % count);
  const blocks = Array.from({ length: count }, (_, at) => {
    const from = at * short + Math.max(0, at - shorts);
    return data.slice(from, from + short + (at < shorts ? 0 : 1));
  });
  const checks = blocks.map((block) => qrRemainder(block, QR_EC_WORDS[version - 1]));
  return [blocks, checks].flatMap((group) => {
    const longest = Math.max(...group.map((words) => words.length));
    const row = (at) => group.filter((words) => at < words.length).map((words) => words[at]);
    return Array.from({ length: longest }, (_, at) => row(at)).flat();
  });
}

// Draws what every code of a version has; the format is written last, once per mask.
function qrCanvas(version) {
  const side = version * 4 + 17;
  const rows = (value) => Array.from({ length: side }, () => Array(side).fill(value));
  const canvas = { side, dark: rows(false), fixed: rows(false) };
  for (let at = 0; at < side; at += 1) {
    qrSet(canvas, 6, at, at % 2 === 0);
    qrSet(canvas, at, 6, at % 2 === 0);
  }
  for (const [x, y] of [[3, 3], [side - 4, 3], [3, side - 4]]) qrRings(canvas, x, y, 4);
  const places = qrAlignment(version);
  const last = places.length - 1;
  places.forEach((y, row) => {
    places.forEach((x, column) => {
      const finder = (row === 0 && (column === 0 || column === last)) || (row === last && column === 0);
      if (!finder) qrRings(canvas, x, y, 2);
    });
  });
  qrFormat(canvas, 0);
  if (version >= 7) qrVersion(canvas, version);
  return canvas;
}

function qrSet({ side, dark, fixed }, x, y, value) {
  if (x < 0 || y < 0 || x >= side || y >= side) return;
  dark[y][x] = value;
  fixed[y][x] = true;
}

// Squares within squares: a finder with its margin (4) or an alignment pattern (2).
function qrRings(canvas, left, top, radius) {
  for (let y = -radius; y <= radius; y += 1) {
    for (let x = -radius; x <= radius; x += 1) {
      const ring = Math.max(Math.abs(x), Math.abs(y));
      qrSet(canvas, left + x, top + y, radius === 4 ? ring !== 2 && ring !== 4 : ring !== 1);
    }
  }
}

// Fifteen bits: level M is 00, then the mask, then their BCH remainder; written twice.
function qrFormat(canvas, mask) {
  const { side } = canvas;
  const bits = ((mask << 10) | qrBch(mask, 10, 0x537)) ^ 0x5412;
  const bit = (at) => ((bits >> at) & 1) === 1;
  for (let at = 0; at < 15; at += 1) {
    const down = at < 6 ? at : at < 8 ? at + 1 : side - 15 + at;
    const across = at < 8 ? side - 1 - at : at === 8 ? 7 : 14 - at;
    qrSet(canvas, 8, down, bit(at));
    qrSet(canvas, across, 8, bit(at));
  }
  qrSet(canvas, 8, side - 8, true);
}

function qrVersion(canvas, version) {
  const bits = (version << 12) | qrBch(version, 12, 0x1f25);
  for (let at = 0; at < 18; at += 1) {
    const [long, short] = [canvas.side - 11 + (at % 3), Math.floor(at / 3)];
    const bit = ((bits >> at) & 1) === 1;
    qrSet(canvas, long, short, bit);
    qrSet(canvas, short, long, bit);
  }
}

function qrBch(value, degree, divisor) {
  let rest = value;
  for (let at = 0; at < degree; at += 1) rest = (rest << 1) ^ ((rest >> (degree - 1)) * divisor);
  return rest;
}

// Writes the words in pairs of columns from the right, upwards first, past the timing column.
function qrFill({ side, dark, fixed }, words) {
  let at = 0;
  let upward = true;
  for (let right = side - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < side; step += 1) {
      const y = upward ? side - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (fixed[y][x]) continue;
        dark[y][x] = ((words[at >> 3] >> (7 - (at & 7))) & 1) === 1;
        at += 1;
      }
    }
    upward = !upward;
  }
}

// Tries every mask and returns the rows of the one that is easiest to read.
function qrMasked(canvas) {
  const tries = QR_MASKS.map((mask, number) => {
    const flip = (value, x, y) => value !== (!canvas.fixed[y][x] && mask(x, y) === 0);
    const dark = canvas.dark.map((row, y) => row.map((value, x) => flip(value, x, y)));
    qrFormat({ ...canvas, dark }, number);
    return { dark, penalty: qrPenalty(dark) };
  });
  return tries.reduce((best, next) => (next.penalty < best.penalty ? next : best)).dark;
}

// The four rules of section 7.8.3: runs, squares, patterns like a finder, and balance.
function qrPenalty(dark) {
  const side = dark.length;
  const columns = dark.map((_, x) => dark.map((row) => row[x]));
  let penalty = 0;
  for (const line of [...dark, ...columns]) {
    const text = line.map((value) => (value ? "1" : "0")).join("");
    for (const run of text.match(/0{5,}|1{5,}/g) ?? []) penalty += run.length - 2;
    penalty += 40 * (text.match(/(?=10111010000|00001011101)/g) ?? []).length;
  }
  for (let y = 1; y < side; y += 1) {
    for (let x = 1; x < side; x += 1) {
      const corner = dark[y][x];
      const same = dark[y - 1][x] === corner && dark[y][x - 1] === corner;
      if (same && dark[y - 1][x - 1] === corner) penalty += 3;
    }
  }
  const share = dark.flat().filter(Boolean).length / (side * side);
  return penalty + 10 * Math.floor(Math.abs(share * 20 - 10));
}
