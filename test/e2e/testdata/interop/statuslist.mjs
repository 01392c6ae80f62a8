// Reads and writes status lists with @sd-jwt/jwt-status-list, an implementation
// of the IETF Token Status List that is not ours.
//
//	node statuslist.mjs MODULES read <{"token", "jwks"}   → {"header", "payload", "length", "marked"}
//	node statuslist.mjs MODULES write <{"length", "marked"} → {"lst"}
//
// MODULES is the folder that npm installed into. marked is index → status, for
// those that are not 0.
import { createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [modules, mode] = process.argv.slice(2);
const require = createRequire(join(modules, 'package.json'));
const { StatusList, createHeaderAndPayload, getListFromStatusListJWT } = require('@sd-jwt/jwt-status-list');
const input = JSON.parse(readFileSync(0, 'utf8'));

const decode = (part) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));

function read({ token, jwks }) {
  const [head, body, signature] = token.split('.');
  const header = decode(head);
  const jwk = jwks.keys.find((k) => k.kid === header.kid);
  if (!jwk) throw new Error(`no key ${header.kid} in the key set`);
  const signed = verify(null, Buffer.from(`${head}.${body}`), createPublicKey({ key: jwk, format: 'jwk' }), Buffer.from(signature, 'base64url'));
  if (!signed) throw new Error('the signature does not verify');
  const { status_list: { lst, ...rest }, ...payload } = decode(body);
  const list = getListFromStatusListJWT(token);
  const marked = {};
  let length = 0;
  for (;; length++) {
    let status;
    try {
      status = list.getStatus(length);
    } catch {
      break; // beyond the end
    }
    if (status !== 0) marked[length] = status;
  }
  return { header, payload: { ...payload, status_list: rest }, length, marked };
}

function write({ length, marked }) {
  const statuses = new Array(length).fill(0);
  for (const [index, status] of Object.entries(marked)) statuses[index] = status;
  const { payload } = createHeaderAndPayload(new StatusList(statuses, 2), { iss: 'x', sub: 'x', iat: 1 }, { alg: 'EdDSA', typ: 'statuslist+jwt' });
  return { lst: payload.status_list.lst };
}

process.stdout.write(JSON.stringify(mode === 'write' ? write(input) : read(input)));
