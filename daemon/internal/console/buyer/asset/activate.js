// Help for the page where a request is handed in. The page works without it: the
// server checks everything again.
'use strict';

for (const e of document.querySelectorAll('.by-script')) e.hidden = false;

// The code: groups of five, upper case, and a word about a typing error at once.
(() => {
  const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
  const PREFIX = 'LIC', RANDOM = 24, LENGTH = 29;
  const field = document.getElementById('code');
  const says = document.getElementById('code-check');

  const strip = (s) => s.replace(/[\s\p{Pd}\u2212\u200b\ufeff\u00ad]/gu, '').toUpperCase();
  const read = (bare) => PREFIX + bare.slice(PREFIX.length).replace(/O/g, '0').replace(/[IL]/g, '1');
  const isOwn = (bare) => bare.length > 5 && bare.startsWith(PREFIX) && bare.length <= LENGTH;

  function group(bare) {
    const rest = read(bare).slice(PREFIX.length);
    const parts = [PREFIX];
    for (let i = 0; i < 20 && i < rest.length; i += 5) parts.push(rest.slice(i, Math.min(i + 5, 20)));
    if (rest.length > 20) parts.push(rest.slice(20));
    return parts.join('-');
  }

  async function fits(bare) {
    const body = read(bare).slice(PREFIX.length);
    const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode('licensed code v1\n' + body.slice(0, RANDOM))));
    const bits = (sum[0] << 2) | (sum[1] >> 6);
    return ALPHABET[bits >> 5] + ALPHABET[bits & 31] === body.slice(RANDOM);
  }

  function say(text, bad) {
    says.textContent = text;
    says.classList.toggle('bad', bad);
    field.closest('.field').classList.toggle('wrong', bad);
    if (bad) field.setAttribute('aria-invalid', 'true'); else field.removeAttribute('aria-invalid');
  }

  async function check() {
    const bare = strip(field.value);
    const body = read(bare).slice(PREFIX.length);
    if (!isOwn(bare)) { say('', false); return; } // a marketplace's code is what it is
    if ([...body].some((c) => !ALPHABET.includes(c))) {
      if (bare.length === LENGTH) say(says.dataset.letter, true); else say('', false);
      return;
    }
    if (bare.length < LENGTH || !window.crypto || !crypto.subtle) { say('', false); return; } // the server checks it
    const good = await fits(bare);
    if (strip(field.value) === bare) say(good ? says.dataset.good : says.dataset.typing, !good);
  }

  function format() {
    const bare = strip(field.value);
    if (isOwn(bare)) field.value = group(bare);
  }

  field.addEventListener('input', (e) => {
    const old = document.getElementById('code-wrong');
    if (old) old.remove();
    const atEnd = field.selectionStart === field.value.length;
    if (atEnd && !(e.inputType || '').startsWith('delete')) format();
    check();
  });
  field.addEventListener('change', () => { format(); check(); });
})();

// Files: dropped ones, and ones that are too large to be sent.
(() => {
  const MAX = 8 << 20;
  const drop = document.getElementById('drop');
  const file = document.getElementById('file');
  const photo = document.getElementById('photo');
  const large = document.getElementById('too-large');
  let inside = 0;

  const holdsFile = (e) => e.dataTransfer && [...e.dataTransfer.types].includes('Files');
  for (const type of ['dragenter', 'dragover']) {
    document.addEventListener(type, (e) => {
      if (!holdsFile(e)) return;
      e.preventDefault(); // else the browser opens the file
      if (type === 'dragenter') inside++;
      drop.classList.add('over');
    });
  }
  document.addEventListener('dragleave', () => { if (--inside <= 0) { inside = 0; drop.classList.remove('over'); } });
  document.addEventListener('drop', (e) => {
    if (!holdsFile(e)) return;
    e.preventDefault();
    inside = 0;
    drop.classList.remove('over');
    file.files = e.dataTransfer.files;
    size();
    file.focus();
  });

  function size() {
    const over = [file, photo].some((f) => [...f.files].some((one) => one.size > MAX));
    large.hidden = !over;
    large.textContent = over ? large.dataset.text : '';
    return !over;
  }
  file.addEventListener('change', size);
  photo.addEventListener('change', size);
  document.getElementById('hand-in').addEventListener('submit', (e) => { if (!size()) e.preventDefault(); });
})();

// The camera. Where the browser reads no QR codes itself, the server does.
(() => {
  const EVERY = 1500, TRIES = 20; // milliseconds between pictures for the server, and how many
  const MAX_PIXELS = 3_500_000, MAX_SIDE = 1920, MAX_BYTES = 2 << 20;
  const part = document.getElementById('camera');
  const start = document.getElementById('camera-start');
  const stop = document.getElementById('camera-stop');
  const view = document.getElementById('camera-view');
  const says = document.getElementById('camera-says');
  const text = document.getElementById('text');
  let stream = null;

  if (!navigator.mediaDevices || !navigator.mediaDevices.getUserMedia) { part.hidden = true; return; }

  const pause = (ms) => new Promise((done) => { setTimeout(done, ms); });
  const say = (name) => { says.textContent = part.dataset[name] || ''; };

  function end(name) {
    if (stream) for (const t of stream.getTracks()) t.stop();
    stream = null;
    view.srcObject = null;
    view.hidden = stop.hidden = true;
    start.hidden = false;
    say(name);
  }

  function found(request) {
    end('found');
    text.value = request;
    document.getElementById('paste').open = true;
    document.getElementById('continue').focus();
  }

  async function reader() {
    if (!('BarcodeDetector' in window)) return null;
    const formats = await BarcodeDetector.getSupportedFormats().catch(() => []);
    return formats.includes('qr_code') ? new BarcodeDetector({ formats: ['qr_code'] }) : null;
  }

  async function look(detector) {
    while (stream) {
      const codes = await detector.detect(view).catch(() => []);
      const good = codes.find((c) => c.rawValue.includes('LR1:'));
      if (stream && good) { found(good.rawValue); return; }
      if (codes.length > 0) say('other');
      await pause(200);
    }
  }

  function picture() {
    const w = view.videoWidth, h = view.videoHeight;
    if (!w || !h) return null;
    const shrink = Math.min(1, MAX_SIDE / Math.max(w, h), Math.sqrt(MAX_PIXELS / (w * h)));
    const canvas = document.createElement('canvas');
    canvas.width = Math.floor(w * shrink);
    canvas.height = Math.floor(h * shrink);
    canvas.getContext('2d').drawImage(view, 0, 0, canvas.width, canvas.height);
    return new Promise((done) => { canvas.toBlob(done, 'image/jpeg', 0.85); });
  }

  async function ask() {
    for (let n = 0; stream && n < TRIES; n++) {
      await pause(EVERY);
      const blob = stream ? await picture() : null;
      if (!blob || blob.size > MAX_BYTES) continue;
      const answer = await fetch('/activate/scan', { method: 'POST', body: blob, headers: { 'Content-Type': 'image/jpeg' } }).catch(() => null);
      if (!stream) return;
      if (answer && answer.ok) { found((await answer.json()).request); return; }
      if (!answer || answer.status === 400) continue;
      const wait = Number(answer.headers.get('Retry-After') || '0');
      if (answer.status === 429 && wait > 0 && wait <= 5) { await pause(wait * 1000); continue; }
      end('wait');
      return;
    }
    if (stream) end('none');
  }

  start.addEventListener('click', async () => {
    start.hidden = true;
    stop.hidden = false;
    stop.focus();
    say('starting');
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment', width: { ideal: 1920 }, height: { ideal: 1080 } }, audio: false });
      view.srcObject = stream;
      view.hidden = false;
      await view.play();
    } catch {
      end('denied');
      return;
    }
    say('looking');
    const detector = await reader();
    if (detector) look(detector); else ask();
  });
  stop.addEventListener('click', () => { end(''); start.focus(); });
  window.addEventListener('pagehide', () => end(''));
})();
