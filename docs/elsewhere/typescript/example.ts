// node example.js ANCHORS PRODUCT STATE FILE.lic: exit status 0 where the product may run here and now.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Verifier, digest, parseAnchors } from './license.js';

async function main(anchors: string, product: string, state: string, file: string): Promise<string> {
  // What was seen: the newest date, and the newest key set.
  const [first = '0', keys = ''] = existsSync(state) ? readFileSync(state, 'utf8').split('\n') : [];
  const verifier = new Verifier(parseAnchors(readFileSync(anchors)), product, '', keys); // anchors: compile them in
  const licence = await verifier.verify(readFileSync(file));
  const floor = Math.max(Number(first), licence.proven);
  if (floor > Number(first) || verifier.keys !== keys) {
    writeFileSync(`${state}.new`, `${floor}\n${verifier.keys}`);
    renameSync(`${state}.new`, state);
  }
  const machine = { custom: [digest(licence.salt, 'custom', process.env['LICENSED_MACHINE_ID'] ?? '')] };
  if (!licence.match(machine)) throw new Error('another machine');
  const status = licence.check(Math.max(Math.floor(Date.now() / 1000), floor));
  if (!status.usable) throw new Error(status.reason);
  return ['licensed:', status.phase, ...[...status.features.keys()].sort()].join(' ');
}

const [anchors = '', product = '', state = '', file = ''] = process.argv.slice(2);
try {
  console.log(await main(anchors, product, state, file));
} catch (e) {
  // A Refused also has a reason: forged, damaged or wrong_product.
  console.error(`not licensed: ${e instanceof Error ? e.message : e}`);
  process.exitCode = 1;
}
