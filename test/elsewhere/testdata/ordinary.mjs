// What jose accepts by itself, set up with care: algorithm, type, issuer, audience, required
// claims and a key chosen by kid from the set. Names of licences that ours refuses, one a line.
//
//	node ordinary.mjs MODULES <vectors.json
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const jose = await import(pathToFileURL(join(process.argv[2], 'jose', 'dist', 'webapi', 'index.js')));
const { vectors, keys } = JSON.parse(readFileSync(0, 'utf8'));
const set = jose.createLocalJWKSet({ keys: jose.decodeJwt(keys).keys });
for (const v of vectors) {
  if (v.form !== 'license' || !v.reason) continue;
  try {
    await jose.jwtVerify(v.input, set, {
      algorithms: ['EdDSA', 'Ed25519'],
      typ: 'license+jwt',
      issuer: v.issuer ?? 'https://licence.example.com',
      audience: v.product ?? 'cad-pro',
      requiredClaims: ['iss', 'sub', 'aud', 'jti', 'iat', 'nbf', 'exp'],
      currentDate: new Date('2026-03-01T13:00:00Z'),
    });
    console.log(v.name);
  } catch {
    continue; // refused, as it should be
  }
}
