// Runs vectors: JSON lines in, JSON lines out. The first line is {"anchors": …, "keys": …},
// each further one a vector as license/token/testdata/README.md describes them. The answer
// to each is what became of it.
import { createInterface } from 'node:readline';
import {
  License, Refused, Verifier, decode, digest, match, parseAnchors, parseFile, verifyKeySet, verifyLicense,
  verifyStatusList, verifyTime, type Key,
} from './license.js';

// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Vector = any;

async function answer(v: Vector, anchors: Key[], document: Vector): Promise<object> {
  const data = Buffer.from(v.bytes ?? v.input ?? '', v.bytes ? 'base64' : 'utf8');
  switch (v.form) {
    case 'match':
      return { match: match(v.binding, v.components, v.code) };
    case 'digest':
      return { digest: digest(decode(v.salt), v.kind, v.value) };
    case 'keys': {
      const keys = await verifyKeySet(v.input, anchors);
      return { rank: keys.rank, kids: [...keys.keys.keys()] };
    }
    case 'file': {
      const t = parseFile(data);
      return { tokens: [t.LICENSE, t['LICENSE KEYS'], t['LICENSE STATUS'], t['LICENSE TIME']].map((found) => found.length) };
    }
    case 'verify': {
      const licence = await new Verifier(anchors, v.product, v.issuer, v.minimum).verify(data);
      return {
        jti: licence.claims.jti, proven: licence.proven, ...standing(licence, v),
        match: licence.match(v.components ?? {}, v.code),
      };
    }
  }
  const keys = await verifyKeySet(document.keys, anchors);
  switch (v.form) {
    case 'license': {
      const licence = await verifyLicense(v.input, keys, v.product, v.issuer);
      return { jti: licence.claims.jti, install: licence.install, ...standing(licence, v) };
    }
    case 'list': {
      const found = await verifyStatusList(v.input, keys, v.issuer, v.uri);
      const end = found.statuses.length * 4;
      return {
        statuses: Array.from({ length: Math.min(end, 64) }, (_, i) => found.at(i)), beyond: found.at(end) ?? null,
      };
    }
    case 'time':
      return { proven: await verifyTime(v.input, keys, v.issuer, v.install, v.nonce) };
  }
  throw new Error(`form ${v.form}`);
}

function standing(licence: License, v: Vector): object {
  if (v.now === undefined) return {};
  const s = licence.check(v.now);
  return {
    usable: s.usable, phase: s.phase, why: s.reason, features: Object.fromEntries(s.features),
    refresh_after: s.refreshAfter, lease_until: s.leaseUntil,
  };
}

let anchors: Key[] | undefined;
let document: Vector;
for await (const line of createInterface({ input: process.stdin })) {
  const v: Vector = JSON.parse(line);
  if (!anchors) {
    anchors = parseAnchors(Buffer.from(JSON.stringify(v.anchors)));
    document = v;
    continue;
  }
  let out: object;
  try {
    out = { reason: '', ...(await answer(v, anchors, document)) };
  } catch (e) {
    if (!(e instanceof Refused)) throw e;
    out = { reason: e.reason };
  }
  process.stdout.write(JSON.stringify(out) + '\n');
}
