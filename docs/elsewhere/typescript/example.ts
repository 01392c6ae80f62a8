// node example.js ANCHORS PRODUCT STATE FILE.lic: exit status 0 where the product may run here and now.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Verifier, digest, parseAnchors } from './license.js';

async function main(anchors: string, product: string, state: string, file: string): Promise<string> {
  // What was seen: the newest date of all, the date of the newest licence, the newest key set.
  const seen = existsSync(state) ? readFileSync(state, 'utf8') : '0\n0\n';
  const [first, second, keys] = seen.split('\n');
  let floor = Number(first), newest = Number(second);
  const verifier = new Verifier(parseAnchors(readFileSync(anchors)), product, '', keys); // anchors: compile them in
  try {
    const licence = await verifier.verify(readFileSync(file)); // throws Refused: forged, damaged or wrong_product
    floor = Math.max(floor, licence.proven);
    if (licence.claims.iat < newest) throw new Error('older than one that was seen');
    newest = licence.claims.iat;

    const machine = { custom: [digest(licence.salt, 'custom', process.env['LICENSED_MACHINE_ID'] ?? '')] };
    if (!licence.match(machine)) throw new Error('another machine');
    const status = licence.check(Math.max(Math.floor(Date.now() / 1000), floor));
    if (!status.usable) throw new Error(status.reason);
    return ['licensed:', status.phase, ...[...status.features.keys()].sort()].join(' ');
  } finally {
    const now = `${floor}\n${newest}\n${verifier.keys}`;
    if (now !== seen) {
      writeFileSync(`${state}.new`, now);
      renameSync(`${state}.new`, state);
    }
  }
}

const [anchors = '', product = '', state = '', file = ''] = process.argv.slice(2);
try {
  console.log(await main(anchors, product, state, file));
} catch (e) {
  console.error(`not licensed: ${e instanceof Error ? e.message : e}`);
  process.exitCode = 1;
}
