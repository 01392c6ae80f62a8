// Base64url and JSON as strictly as licences are read. JSON.parse takes the last of
// two members of one name, reads 1.0 as 1, and loses what a double cannot hold.

export class Refused extends Error {
  constructor(readonly reason: 'forged' | 'damaged' | 'wrong_product', detail: string) {
    super(`${reason}: ${detail}`);
  }
}
export const damaged = (detail: string) => new Refused('damaged', detail);
export const forged = (detail: string) => new Refused('forged', detail);

const MAX_DEPTH = 16;

/** Base64url without padding, line breaks and stray bits in the last character. */
export function decode(text: string): Buffer {
  const data = Buffer.from(text, 'base64url');
  if (data.toString('base64url') !== text) throw damaged('not base64url');
  return data;
}

/** A JSON number as it stands there. */
export class Numeral {
  constructor(readonly text: string) {}
}
export type Json = null | boolean | string | Numeral | Json[] | Map<string, Json>;

const SPACE = /[ \t\r\n]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORDS: [string, Json][] = [['true', true], ['false', false], ['null', null]];

/** The JSON object in data (RFC 8259, RFC 7493): no name twice, no half a character, at most 16 deep. */
export function readJson(data: Uint8Array): Map<string, Json> {
  let source: string;
  try {
    source = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
  } catch {
    throw damaged('not UTF-8');
  }
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(source)?.[0];
    at += found?.length ?? 0;
    return found;
  };
  const next = (c: string): boolean => {
    take(SPACE);
    const is = source[at] === c;
    if (is) at++;
    take(SPACE);
    return is;
  };
  const string = (): string => {
    const found = take(STRING);
    if (found === undefined) throw damaged('not valid JSON');
    const value = JSON.parse(found) as string;
    if (!value.isWellFormed()) throw damaged('half a character');
    return value;
  };
  const value = (depth: number): Json => {
    if ((source[at] === '{' || source[at] === '[') && depth === MAX_DEPTH) throw damaged('nested too deeply');
    if (source[at] === '"') return string();
    if (next('{')) {
      const object = new Map<string, Json>();
      if (next('}')) return object;
      do {
        const name = string();
        if (object.has(name)) throw damaged('a member name occurs twice');
        if (!next(':')) throw damaged('not valid JSON');
        object.set(name, value(depth + 1));
      } while (next(','));
      if (!next('}')) throw damaged('not valid JSON');
      return object;
    }
    if (next('[')) {
      const array: Json[] = [];
      if (next(']')) return array;
      do array.push(value(depth + 1));
      while (next(','));
      if (!next(']')) throw damaged('not valid JSON');
      return array;
    }
    for (const [word, is] of WORDS) {
      if (!source.startsWith(word, at)) continue;
      at += word.length;
      return is;
    }
    const number = take(NUMBER);
    if (number === undefined) throw damaged('not valid JSON');
    return new Numeral(number);
  };
  take(SPACE);
  const object = value(0);
  take(SPACE);
  if (at !== source.length || !(object instanceof Map)) throw damaged('not a JSON object, or not only one');
  return object;
}

/** What a known member must hold: takes a value and returns it, or throws. */
export type Shape<T> = (value: Json) => T;
type Shapes = Record<string, Shape<unknown>>;
type Members<R extends Shapes, O extends Shapes> = { [K in keyof R]: ReturnType<R[K]> } & {
  [K in keyof O]?: ReturnType<O[K]>;
};

export const text: Shape<string> = (v) => {
  if (typeof v !== 'string') throw damaged('not a text');
  return v;
};

export const flag: Shape<boolean> = (v) => {
  if (typeof v !== 'boolean') throw damaged('not true or false');
  return v;
};

export const anything: Shape<Json> = (v) => v;

export const refuse: Shape<never> = () => {
  throw damaged('must be understood, and this version does not know it');
};

export const whole = (most: number): Shape<number> => (v) => {
  if (!(v instanceof Numeral) || !/^[0-9]{1,16}$/.test(v.text) || BigInt(v.text) > BigInt(most)) {
    throw damaged('not a whole number in range');
  }
  return Number(v.text);
};

export const items = <T>(element: Shape<T>, limit = 64): Shape<T[]> => (v) => {
  if (!Array.isArray(v) || v.length > limit) throw damaged('not a list, or too long');
  return v.map((item) => element(item));
};

/** An object with these members; others are dropped. */
export function members<R extends Shapes, O extends Shapes = Record<never, never>>(
  required: R, optional: O = {} as O, limit = Infinity,
): Shape<Members<R, O>> {
  const known = new Map<string, Shape<unknown>>(Object.entries({ ...required, ...optional }));
  const folded = new Set([...known.keys()].map(fold));
  return (v) => {
    if (!(v instanceof Map) || v.size > limit) throw damaged('not an object, or too many members');
    const out = new Map<string, unknown>();
    for (const [name, item] of v) {
      const shape = known.get(name);
      if (shape) out.set(name, shape(item));
      else if (folded.has(fold(name))) throw damaged('a member name differs only in case from one that has a meaning');
    }
    for (const name of Object.keys(required)) if (!out.has(name)) throw damaged(`${name} is missing`);
    return Object.fromEntries(out) as Members<R, O>;
  };
}

// toLowerCase knows the Kelvin sign, not the long s.
const fold = (name: string) => name.toLowerCase().replaceAll('\u017f', 's');
