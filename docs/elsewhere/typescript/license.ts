// Verifies licence files (.lic) offline: docs/verify-elsewhere.md. Node 20 or later,
// and the package jose.
//
//   const verifier = new Verifier(parseAnchors(ANCHORS), 'cad-pro');
//   const licence = await verifier.verify(readFileSync('product.lic'));
//   const status = licence.check(Math.max(Math.floor(Date.now() / 1000), floor));
//   const here = licence.match({ custom: [digest(licence.salt, 'custom', myId)] });
import { createHash, createHmac } from 'node:crypto';
import { inflateSync } from 'node:zlib';
import { compactVerify, importJWK } from 'jose';
import {
  Numeral, Refused, anything, damaged, decode, flag, forged, items, members, readJson, refuse, text, whole,
  type Json, type Shape,
} from './strict-json.js';

export { Refused, decode };

/** The last second of the year 9999: "no end". */
const FOREVER = 253402300799;
const MAX_FILE = 1 << 20, MAX_TOKEN = 64 << 10, MAX_STATUSES = 1 << 20;

export type Feature = true | number | string;

const audience: Shape<string[]> = (v) => (typeof v === 'string' ? [v] : items(text)(v));

/** Features are true, a number or a text. Others mean nothing, and are off. */
const features: Shape<Map<string, Feature>> = (v) => {
  members({}, {}, 256)(v);
  const on = new Map<string, Feature>();
  for (const [name, is] of v as Map<string, Json>) {
    if (is === true || typeof is === 'string') on.set(name, is);
    else if (is instanceof Numeral) on.set(name, Number(is.text));
  }
  return on;
};

const instant = whole(FOREVER), count = whole(2 ** 31 - 1), serial = whole(Number.MAX_SAFE_INTEGER);
const KINDS = ['custom', 'os', 'uuid', 'disk', 'mac', 'board', 'cpu'] as const;
const same = <K extends string, T>(names: readonly K[], shape: Shape<T>) =>
  Object.fromEntries(names.map((name) => [name, shape])) as Record<K, Shape<T>>;

const anyKey = members({}, same(['kty', 'crv', 'x', 'kid', 'alg', 'use', 'nbf', 'exp'], anything));
const jwk = members({ kty: text, crv: text, x: text }, { kid: text, alg: text, use: text, nbf: instant, exp: instant });
const header = members({}, { alg: text, typ: text, kid: text, jwk: anyKey, crit: refuse, b64: refuse });
const anchorsDocument = members({ anchors: items(jwk) });
// A key is looked at twice: what kind it is, and, where it is one of ours, as a key.
const setKey: Shape<{ kind: ReturnType<typeof anyKey>; raw: Json }> = (raw) => ({ kind: anyKey(raw), raw });
const keySetClaims = members({ iss: text, iat: instant, exp: instant, seq: serial, keys: items(setKey) });
const timeClaims = members({ iss: text, iat: instant, sub: text, nonce: text });
const listClaims = members({
  iss: text, sub: text, iat: instant, exp: instant, ttl: serial, status_list: members({ bits: count, lst: text }),
});
const binding = members(
  { policy: text }, { salt: text, code: text, components: members({}, same(KINDS, items(text)), 64) },
);
const lic = members({
  ver: count, refresh_after: instant, lease_until: instant, binding,
  phases: members({ warn_at: instant, expires_at: instant, block_at: instant, enforcement: text }),
}, {
  crit: items(text), customer: text, order: text, channel: text, code_last4: text, features, machines: count,
  mode: text, status_max_age: instant, trial: flag,
});
const licenseClaims = members(
  { iss: text, sub: text, aud: audience, jti: text, iat: instant, nbf: instant, exp: instant, lic },
  { status: members({}, { status_list: members({ idx: count, uri: text }) }), cnf: members({ jwk }) },
);
/** What lic.crit may name. */
const CRITICAL = [
  'ver', 'crit', 'customer', 'order', 'channel', 'code_last4', 'features', 'machines', 'mode', 'phases',
  'refresh_after', 'lease_until', 'binding', 'status_max_age', 'trial',
];
export type Claims = ReturnType<typeof licenseClaims>;
export type Binding = ReturnType<typeof binding>;
/** kind → digests */
export type Components = { [kind in (typeof KINDS)[number]]?: string[] };

function checkName(value: string, limit: number): void {
  if (Buffer.byteLength(value) > limit || !/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]+$/u.test(value) || value.includes('\ufffd')) {
    throw damaged('a name is empty, too long or cannot be printed');
  }
}

function checkId(value: string): void {
  if (!/^[!-~]{1,128}$/.test(value)) throw damaged('not an id: 1 to 128 characters of printable ASCII');
}

// --- Keys and signatures ---

export interface Key { kid: string; x: string; nbf: number; exp: number }
export interface KeySet { raw: string; rank: number; iss: string; iat: number; seq: number; keys: Map<string, Key> }

/** RFC 7638: the kid of a key. */
function thumbprint(x: string): string {
  return createHash('sha256').update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest('base64url');
}

/** Whether a JWK is an Ed25519 key that signs; others are skipped in a set. */
function isOurs(key: { [name in 'kty' | 'crv' | 'use' | 'alg']?: Json }): boolean {
  return key.kty === 'OKP' && key.crv === 'Ed25519' && ['', 'sig'].includes((key.use ?? '') as string) &&
    ['', 'EdDSA', 'Ed25519'].includes((key.alg ?? '') as string);
}

function keyOf(key: ReturnType<typeof jwk>): Key {
  if (!isOurs(key) || decode(key.x).length !== 32) throw damaged('not an Ed25519 key that signs');
  const kid = thumbprint(key.x);
  if (key.kid && key.kid !== kid) throw damaged('kid is not the thumbprint of the key');
  return { kid, x: key.x, nbf: key.nbf ?? 0, exp: key.exp ?? FOREVER };
}

/** Reads what "licensectl keys anchors -o json" prints: the anchors, ranked. */
export function parseAnchors(document: Uint8Array): Key[] {
  const keys = anchorsDocument(readJson(document)).anchors.map(keyOf);
  if (keys.length === 0 || new Set(keys.map((k) => k.kid)).size !== keys.length) throw damaged('no anchor, or one twice');
  return keys;
}

/** Takes a compact JWS apart and verifies it under the key that find(kid) gives. */
async function open(raw: string, typ: string, find: (kid: string) => Key | undefined): Promise<[Key, Map<string, Json>]> {
  if (raw.length > MAX_TOKEN) throw damaged('longer than 64 KiB');
  const [head, body, signature, ...more] = raw.split('.');
  if (head === undefined || body === undefined || signature === undefined || more.length > 0) {
    throw damaged('not three parts joined by dots');
  }
  const h = header(readJson(decode(head)));
  if ((h.alg !== 'EdDSA' && h.alg !== 'Ed25519') || h.typ !== typ) throw forged(`not an Ed25519 signature of a ${typ}`);
  const payload = decode(body);
  if (decode(signature).length !== 64) throw damaged('a signature of the wrong length');
  const key = find(h.kid ?? '');
  if (!key || thumbprint(key.x) !== h.kid) throw forged('signed with a key that is not trusted for this, or no longer');
  try {
    const publicKey = await importJWK({ kty: 'OKP', crv: 'Ed25519', x: key.x }, h.alg);
    await compactVerify(raw, publicKey, { algorithms: ['EdDSA', 'Ed25519'] });
  } catch {
    throw forged('the signature does not fit');
  }
  return [key, readJson(payload)];
}

export async function verifyKeySet(raw: string, anchors: Key[]): Promise<KeySet> {
  const [signer, content] = await open(raw, 'license-keys+jwt', (kid) => anchors.find((a) => a.kid === kid));
  const claims = keySetClaims(content);
  checkName(claims.iss, 2048);
  if (claims.exp < claims.iat) throw damaged('exp is before iat');
  const keys = new Map<string, Key>();
  for (const { kind, raw: found } of claims.keys) {
    if (!isOurs(kind)) continue;
    const k = jwk(found);
    if (!k.kid || k.nbf === undefined || k.exp === undefined || k.nbf >= k.exp) {
      throw damaged('a key without kid, nbf or exp, or with exp not after nbf');
    }
    const key = keyOf(k);
    if (keys.has(key.kid)) throw damaged('a key twice');
    keys.set(key.kid, key);
  }
  for (const anchor of anchors) keys.delete(anchor.kid); // an anchor signs key sets only
  return { raw, rank: anchors.indexOf(signer), iss: claims.iss, iat: claims.iat, seq: claims.seq, keys };
}

/** What holds for all that a signing key signs, once the claims are known to be sound. */
function judge(claims: { iss: string; iat: number }, key: Key, keys: KeySet, issuer: string): void {
  if (claims.iss !== keys.iss || (issuer && claims.iss !== issuer)) throw forged('of another issuer');
  if (claims.iat < key.nbf || claims.iat >= key.exp) throw forged('its key was not valid when it was signed');
}

/** The instant that a signed time proves to have passed. */
export async function verifyTime(raw: string, keys: KeySet, issuer = '', install = '', nonce = ''): Promise<number> {
  const [key, content] = await open(raw, 'license-time+jwt', (kid) => keys.keys.get(kid));
  const claims = timeClaims(content);
  checkName(claims.iss, 2048);
  checkId(claims.nonce);
  if (!/^[A-Za-z0-9_-]{43}$/.test(claims.sub)) throw damaged('sub is not an install id');
  judge(claims, key, keys, issuer);
  if ((install && claims.sub !== install) || (nonce && claims.nonce !== nonce)) {
    throw forged('it answers another install or request');
  }
  return claims.iat;
}

// --- Status lists ---

export class StatusList {
  constructor(readonly uri: string, readonly iat: number, readonly exp: number, readonly statuses: Uint8Array) {}

  /** 0 valid, 1 and 3 revoked, 2 suspended; undefined beyond the end: it says nothing. */
  at(index: number): number | undefined {
    const four = this.statuses[Math.floor(index / 4)];
    return four === undefined ? undefined : (four >> ((index % 4) * 2)) & 3;
  }
}

/** Judges no clock: an expired list still proves what it says, and no freshness. */
export async function verifyStatusList(raw: string, keys: KeySet, issuer = '', uri = ''): Promise<StatusList> {
  const [key, content] = await open(raw, 'statuslist+jwt', (kid) => keys.keys.get(kid));
  const claims = listClaims(content);
  checkName(claims.iss, 2048);
  checkName(claims.sub, 2304);
  if (claims.exp <= claims.iat || claims.ttl === 0 || claims.status_list.bits !== 2) {
    throw damaged('exp, ttl or bits of a status list make no sense');
  }
  judge(claims, key, keys, issuer);
  const statuses = inflate(decode(claims.status_list.lst));
  if (uri && claims.sub !== uri) throw forged('the list of another address');
  return new StatusList(claims.sub, claims.iat, claims.exp, statuses);
}

function inflate(packed: Buffer): Buffer {
  try {
    const { buffer, engine } = inflateSync(packed, { maxOutputLength: MAX_STATUSES, info: true }) as unknown as
      { buffer: Buffer; engine: { bytesWritten: number } };
    if (buffer.length > 0 && engine.bytesWritten === packed.length) return buffer; // else something follows it
  } catch { /* not zlib, cut short or too long */ }
  throw damaged('lst is empty, too long, cut short or followed by something');
}

// --- Licences ---

/** Where a licence stands at an instant. */
export interface Status {
  /** Whether the product may run. */
  usable: boolean;
  phase: 'valid' | 'warning' | 'grace' | 'blocked';
  /** Why it is blocked. */
  reason: '' | 'not_yet_valid' | 'expired' | 'lease_over' | 'revoked' | 'suspended';
  /** Those that hold now. */
  features: ReadonlyMap<string, Feature>;
  /** When to fetch a newer file, and until when this one holds without. */
  refreshAfter: number;
  leaseUntil: number;
}

export class License {
  statusList?: StatusList;
  /** The newest iat of all that was authentic in the file: see floor, in the page. */
  proven = 0;

  /** install is the thumbprint of the install key (cnf), '' where there is none. */
  constructor(readonly claims: Claims, readonly product: string, readonly salt: Buffer, readonly install: string) {}

  /** Where the licence stands at now, in seconds since the epoch. Ask match too. */
  check(now: number): Status {
    const c = this.claims, p = c.lic.phases;
    let leaseUntil = c.lic.lease_until, refreshAfter = c.lic.refresh_after;
    let phase: Status['phase'] = 'valid', reason: Status['reason'] = '';
    if (now < c.nbf) [phase, reason] = ['blocked', 'not_yet_valid'];
    else if (now >= p.block_at || now >= c.exp) [phase, reason] = ['blocked', 'expired'];
    else if (now >= leaseUntil) [phase, reason] = ['blocked', 'lease_over'];
    else if (now >= p.expires_at || (leaseUntil < c.exp && 4 * now >= 3 * leaseUntil + c.iat)) phase = 'grace';
    else if (now >= p.warn_at) phase = 'warning';

    const listed = this.statusList?.at(c.status?.status_list?.idx ?? Infinity);
    if (c.lic.status_max_age) {
      let since = c.iat, until = c.iat; // no list, or none that speaks of this install: nothing is proven
      if (this.statusList && listed !== undefined) {
        since = this.statusList.iat;
        until = Math.min(since + c.lic.status_max_age, this.statusList.exp);
      }
      leaseUntil = Math.min(leaseUntil, until);
      refreshAfter = Math.min(refreshAfter, Math.floor((since + until) / 2));
      if (phase !== 'blocked' && (listed === undefined || now >= until)) [phase, reason] = ['blocked', 'lease_over'];
      else if (phase !== 'blocked' && 4 * now >= 3 * until + since) phase = 'grace';
    }

    let usable = true, on: Status['features'] = c.lic.features ?? new Map();
    if (listed) [phase, reason] = ['blocked', listed === 2 ? 'suspended' : 'revoked'];
    if (listed || (phase === 'blocked' && p.enforcement === 'block')) [usable, on] = [false, new Map()];
    else if (phase === 'blocked' && p.enforcement === 'degrade') on = new Map();
    return { usable, phase, reason, features: on, refreshAfter, leaseUntil };
  }

  /** Whether this machine is the bound one. code is the digest of an identification
   * code. False always blocks. */
  match(components: Components, code = ''): boolean {
    return match(this.claims.lic.binding, components, code);
  }
}

/** Whether a licence is authentic and for this product. Judges no clock and no machine. */
export async function verifyLicense(raw: string, keys: KeySet, product = '', issuer = ''): Promise<License> {
  const [key, content] = await open(raw, 'license+jwt', (kid) => keys.keys.get(kid));
  const claims = licenseClaims(content);
  const { ver, crit = [], binding: bound } = claims.lic;
  if (ver !== 1 || !crit.every((name) => CRITICAL.includes(name))) throw damaged('made for a newer version of this software');
  const first = claims.aud[0];
  if (first === undefined) throw damaged('aud is empty');
  for (const name of [claims.sub, bound.policy, ...claims.aud]) checkName(name, 256);
  checkName(claims.iss, 2048);
  checkId(claims.jti);
  if (claims.status?.status_list) checkName(claims.status.status_list.uri, 2304);
  checkDates(claims);
  const salt = checkBinding(bound);
  const install = claims.cnf ? keyOf(claims.cnf.jwk).kid : '';
  judge(claims, key, keys, issuer);
  if (product && !claims.aud.includes(product)) throw new Refused('wrong_product', 'the licence is for another product');
  return new License(claims, product || first, salt, install);
}

function checkDates({ exp, lic: { phases: p, lease_until } }: Claims): void {
  if (p.warn_at > p.expires_at || p.expires_at > p.block_at || p.block_at > exp || lease_until > exp) {
    throw damaged('its dates are not in order');
  }
  if (!['block', 'degrade', 'advisory'].includes(p.enforcement)) throw damaged('enforcement is not block, degrade or advisory');
  if (p.enforcement !== 'block' && exp !== FOREVER) throw damaged('exp has an end, under degrade or advisory');
}

function checkBinding(bound: Binding): Buffer {
  const salt = decode(bound.salt ?? '');
  const digests = Object.values(bound.components ?? {}).flat();
  if (bound.code) digests.push(bound.code);
  const sound = digests.every((d) => d?.length === 22 && decode(d).length === 16);
  if (salt.length > 64 || (digests.length > 0 && salt.length === 0) || !sound) {
    throw damaged('binding: salt or a digest is not as it must be');
  }
  return salt;
}

// --- Machines ---

const BLANKS = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/g;

/** The digest of a component, or of an identification code (kind "code"); '' where the
 * value counts as absent. Placeholders of makers are not known here. */
export function digest(salt: Uint8Array, kind: string, value: string): string {
  if (kind === 'code') value = value.replace(BLANKS, '');
  const normal = value.replace(/^[\u0000- ]+|[\u0000- ]+$/g, '').replace(/[a-z]/g, (c) => c.toUpperCase());
  if (!normal || /[|,]/.test(normal) || !normal.isWellFormed()) return '';
  return createHmac('sha256', salt).update(`${kind}\n${normal}`).digest().subarray(0, 16).toString('base64url');
}

/** docs/fingerprint.md, "How a machine is matched". A policy's name is frozen: one that
 * is not known matches nothing. */
export function match(bound: Binding, components: Components, code = ''): boolean {
  const { policy } = bound;
  if (policy === 'none') return true;
  if (!['exact', 'fuzzy', 'loose'].includes(policy)) return false;
  if (bound.code) return bound.code === code;
  let weight = 0, equal = 0, lost = 0, changed = 0;
  for (const kind of KINDS) {
    const was = bound.components?.[kind] ?? [];
    let is = components[kind] ?? [];
    if (is.length > 8) is = [...new Set(is)].sort().slice(0, 8);
    if (was.length === 0) continue;
    if (was.some((d) => is.includes(d))) {
      const weighs = kind === 'cpu' ? 0 : (kind === 'mac' || kind === 'board') && policy !== 'loose' ? 1 : 2;
      weight += weighs;
      if (weighs > 0) equal++;
    } else if (policy === 'exact' && ['custom', 'os', 'disk', 'mac'].includes(kind)) {
      lost++;
      if (is.length > 0) changed++;
    }
  }
  return weight >= 2 && lost <= 1 && (changed === 0 || equal >= 2);
}

// --- Files ---

const BLOCKS = ['LICENSE', 'LICENSE KEYS', 'LICENSE STATUS', 'LICENSE TIME', 'LICENSE REQUEST', 'LICENSE DELIVERY'] as const;
export type Tokens = Record<(typeof BLOCKS)[number], string[]>;

/** The tokens of a licence file by the label of their block, none of them verified. */
export function parseFile(data: Uint8Array): Tokens {
  if (data.length > MAX_FILE) throw damaged('longer than 1 MiB');
  const wide = data[0] === 0xff && data[1] === 0xfe ? 'utf-16le' : data[0] === 0xfe && data[1] === 0xff ? 'utf-16be' : '';
  const content = new TextDecoder(wide || 'utf-8', { ignoreBOM: true }).decode(wide ? data.subarray(2, data.length & ~1) : data);
  const lines = content.replaceAll('\r', '\n').split('\n').map(clean);
  const found = Object.fromEntries(BLOCKS.map((label) => [label, [] as string[]])) as Tokens;
  for (let i = 0; i < lines.length; i++) {
    const label = BLOCKS.find((l) => lines[i] === `-----BEGIN ${l}-----`);
    if (!label) continue;
    let body = '';
    for (i++; i < lines.length && !lines[i]?.startsWith('-----'); i++) body += lines[i];
    if (lines[i] !== `-----END ${label}-----`) throw damaged(`its ${label} block has no end`);
    const raw = Buffer.from(body, 'base64');
    const token = raw.toString('latin1');
    if (raw.toString('base64') !== body || !/^[A-Za-z0-9_.-]{1,65536}$/.test(token)) {
      throw damaged(`its ${label} block is not complete or was changed`);
    }
    found[label].push(token);
  }
  if (BLOCKS.slice(0, 4).every((label) => found[label].length === 0)) throw damaged('not a licence file');
  return found;
}

/** Without what mail and copying put around a line. */
function clean(line: string): string {
  return line.replace(/^[ \t\v\f\u00a0\u200b\ufeff>|]+/, '').replace(/^- /, '').replace(/[ \t\v\f\u00a0\u200b\ufeff]+$/, '');
}

export class Verifier {
  /** anchors, ranked, and product are compiled in. issuer, where it is given, must have
   * issued it all. keys is a signed key set, compiled in or seen last: a minimum. */
  constructor(readonly anchors: Key[], readonly product: string, readonly issuer = '', public keys = '') {
    if (anchors.length === 0 || !product) throw new TypeError('without anchors and a product nothing can be verified');
  }

  /** The licence for this product in a file, of several the one issued last. */
  async verify(file: Uint8Array): Promise<License> {
    const tokens = parseFile(file);
    const keys = await this.newestKeys(tokens['LICENSE KEYS']);
    let best: License | undefined;
    let fault: Refused | undefined;
    for (const raw of tokens.LICENSE) {
      const found = await attempt(verifyLicense(raw, keys, this.product, this.issuer));
      if (found instanceof Refused) fault = !fault || fault.reason === 'wrong_product' ? found : fault;
      else if (!best || found.claims.iat > best.claims.iat) best = found;
    }
    if (!best) throw fault ?? damaged('the file holds no licence');
    best.proven = Math.max(keys.iat, best.claims.iat);
    for (const raw of tokens['LICENSE STATUS']) {
      const list = await attempt(verifyStatusList(raw, keys, this.issuer));
      if (list instanceof Refused) continue; // as good as absent
      best.proven = Math.max(best.proven, list.iat);
      const ours = list.uri === best.claims.status?.status_list?.uri;
      if (ours && (!best.statusList || list.iat > best.statusList.iat)) best.statusList = list;
    }
    for (const raw of tokens['LICENSE TIME']) {
      const time = await attempt(verifyTime(raw, keys, this.issuer));
      if (!(time instanceof Refused)) best.proven = Math.max(best.proven, time);
    }
    return best;
  }

  /** The newest key set: by a later anchor, or by the same one with a higher seq. */
  private async newestKeys(raws: string[]): Promise<KeySet> {
    let best = this.keys ? await this.verifyKeys(this.keys) : undefined;
    let fault: Refused | undefined;
    for (const raw of raws) {
      const found = await attempt(this.verifyKeys(raw));
      if (found instanceof Refused) fault ??= found;
      else if (!best || found.rank > best.rank || (found.rank === best.rank && found.seq > best.seq)) best = found;
    }
    if (!best) throw fault ?? damaged('the file holds no key set, and none is known');
    this.keys = best.raw; // what was seen once is a minimum from then on; keep it with the floor
    return best;
  }

  private async verifyKeys(raw: string): Promise<KeySet> {
    const keys = await verifyKeySet(raw, this.anchors);
    if (this.issuer && keys.iss !== this.issuer) throw forged('the key set is of another issuer than the expected one');
    return keys;
  }
}

/** What comes of it, or why it was refused. */
async function attempt<T>(promise: Promise<T>): Promise<T | Refused> {
  try {
    return await promise;
  } catch (e) {
    if (e instanceof Refused) return e;
    throw e;
  }
}
