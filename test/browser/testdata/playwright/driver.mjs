// Looks at pages in Chromium and tells what is there; it judges nothing.
// usage: node driver.mjs FOLDER_OF_NODE_MODULES, a job on standard input, a line of
// JSON for each visit on standard output. See browser_test.go for both.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const modules = createRequire(join(process.argv[2], 'package.json'));
const { chromium } = modules('playwright-core');
const axe = readFileSync(modules.resolve('axe-core/axe.min.js'), 'utf8');

const job = JSON.parse(readFileSync(0, 'utf8'));
const patience = 45_000; // for one step, on a busy machine
const maxStops = 160;    // of the Tab key

const browser = await chromium.launch({
  executablePath: job.chromium,
  // Nothing can be reached but the loopback, whatever a page or Chromium itself asks for.
  args: ['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--force-color-profile=srgb', '--font-render-hinting=none'],
});
try {
  const contexts = new Map();
  const queue = [...job.visits];
  const work = async () => {
    for (let v = queue.shift(); v; v = queue.shift()) {
      const began = performance.now();
      const seen = await look(contexts, v);
      process.stdout.write(JSON.stringify({ ...seen, id: v.id, took: Math.round(performance.now() - began) }) + '\n');
    }
  };
  await Promise.all(Array.from({ length: job.workers }, work));
} finally {
  await browser.close();
}

// context is one browser profile: everything that a visit can have in common with others.
function context(contexts, v) {
  const of = {
    locale: v.lang, colorScheme: v.schemes[0], viewport: { width: v.width, height: v.height }, javaScriptEnabled: !v.noScript,
    isMobile: v.width < 600, hasTouch: v.width < 600, timezoneId: 'Asia/Shanghai',
    reducedMotion: 'reduce', // what scrolls smoothly could not be looked at at once
  };
  const key = JSON.stringify([of, v.cookies, v.alone ? v.id : '']);
  if (!contexts.has(key)) {
    contexts.set(key, (async () => {
      const c = await browser.newContext(of);
      c.setDefaultTimeout(patience);
      await c.addCookies(v.cookies);
      return { idle: [], page: () => c.newPage() };
    })());
  }
  return contexts.get(key);
}

async function look(contexts, v) {
  const seen = { console: [], foreign: [], steps: [] };
  let of, page;
  try {
    of = await context(contexts, v);
    page = of.idle.pop() ?? await of.page();
    listen(page, v, seen);
    await load(page, () => page.goto(v.origin + v.path));
    for (const s of v.steps) await step(page, s, seen);
    Object.assign(seen, { url: page.url(), status: seen.last?.status() ?? 0 });
    if (v.measure) await measure(page, v, seen);
    if (v.keyboard) seen.keyboard = await tab(page, v.action);
    if (v.shot) await page.screenshot({ path: v.shot, animations: 'disabled' });
  } catch (e) {
    seen.error = String(e.message ?? e).replace(/\u001b\[[0-9;]*m/g, '');
    seen.url = page?.url() ?? '';
    seen.steps.push({ do: 'when it failed', url: seen.url, heading: '' });
  } finally {
    delete seen.last;
    page?.removeAllListeners();
    if (page && !seen.error) of.idle.push(page);
  }
  return seen;
}

// listen keeps what the page logs and asks for.
function listen(page, v, seen) {
  page.on('console', (m) => {
    // That a page itself is answered with a refusal is no defect: its status is checked.
    if (m.type() === 'error' && !(m.text().startsWith('Failed to load resource') && m.location().url === seen.last?.url())) seen.console.push(m.text());
  });
  page.on('pageerror', (e) => seen.console.push(String(e)));
  page.on('requestfailed', (r) => { if (!r.failure()?.errorText.includes('ERR_ABORTED')) seen.console.push(`${r.url()}: ${r.failure()?.errorText}`); });
  page.on('request', (r) => { if (!r.url().startsWith(v.origin + '/') && !/^(data|blob|about):/.test(r.url())) seen.foreign.push(r.url()); });
  page.on('response', (r) => { if (r.request().isNavigationRequest() && r.frame() === page.mainFrame()) seen.last = r; });
}

async function load(page, go) { await Promise.all([page.waitForEvent('load'), go()]); }

async function heading(page) { return (await page?.locator('h1').first().textContent()) ?? ''; }

// step does one thing and, where that leads to another page, notes which.
async function step(page, s, seen) {
  if (s.fill) await page.locator(s.fill).fill(s.value);
  else if (s.select) await page.locator(s.select).selectOption(s.value);
  else if (s.check) await page.locator(s.check).check();
  else if (s.file) await page.locator(s.file).setInputFiles({ name: s.name, mimeType: 'application/octet-stream', buffer: Buffer.from(s.value) });
  else if (s.open) await load(page, () => page.goto(new URL(s.open, page.url()).href));
  else await load(page, () => page.locator(s.click).click());
  if (s.open || s.click) seen.steps.push({ do: s.open ?? s.click, url: page.url(), status: seen.last?.status() ?? 0, heading: (await heading(page)).trim() });
}

async function measure(page, v, seen) {
  seen.document = (await seen.last.body()).length;
  Object.assign(seen, await page.evaluate(facts));
  seen.violations = [];
  if (v.axe.length > 0) await page.evaluate(axe);
  for (const width of v.axe) {
    await page.setViewportSize({ width, height: v.height });
    for (const scheme of v.schemes) {
      await page.emulateMedia({ colorScheme: scheme });
      // The other scheme has the same document: only its colours are looked at again.
      const only = scheme === v.schemes[0] ? { type: 'tag', values: job.axeTags } : { type: 'rule', values: ['color-contrast', 'link-in-text-block'] };
      const found = await page.evaluate((runOnly) => window.axe.run(document, { runOnly, resultTypes: ['violations'] }), only);
      for (const f of found.violations) {
        seen.violations.push({ width, scheme, rule: f.id, help: f.help, nodes: f.nodes.map((n) => `${n.target.join(' ')}: ${n.html.slice(0, 160)}`) });
      }
    }
    await page.emulateMedia({ colorScheme: v.schemes[0] });
  }
  if (v.axe.length > 0) await page.setViewportSize({ width: v.width, height: v.height });
}

// facts runs in the page.
async function facts() {
  const shift = await new Promise((done) => {
    let sum = 0;
    const what = new Set();
    const add = (list) => {
      for (const e of list) {
        sum += e.value;
        for (const at of e.sources) if (at.node) what.add(at.node.nodeName.toLowerCase() + (at.node.className ? '.' + at.node.className : ''));
      }
    };
    const o = new PerformanceObserver((l) => add(l.getEntries()));
    o.observe({ type: 'layout-shift', buffered: true });
    requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => { add(o.takeRecords()); done({ sum, what: [...what] }); })));
  });
  const width = document.documentElement.clientWidth;
  const all = document.documentElement.scrollWidth;
  const clipped = (e) => { // within something that scrolls, or hides, by itself
    for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) if (getComputedStyle(p).overflowX !== 'visible') return true;
    return false;
  };
  const wide = all <= window.outerWidth && all <= width ? [] : [...document.body.querySelectorAll('*')]
    .filter((e) => e.getBoundingClientRect().right > Math.min(width, window.outerWidth) + 0.5 && !clipped(e))
    .map((e) => `${e.tagName.toLowerCase()}${e.id ? '#' + e.id : ''}${e.classList.length ? '.' + [...e.classList].join('.') : ''} to ${Math.round(e.getBoundingClientRect().right)}`);
  const loaded = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
  return {
    shift: shift.sum, shifted: shift.what, scrollWidth: all, wide: wide.slice(-5), lang: document.documentElement.lang,
    wire: loaded.reduce((n, e) => n + e.encodedBodySize, 0),
    blocking: performance.getEntriesByType('resource').filter((e) => e.renderBlockingStatus === 'blocking').map((e) => ({ kind: e.initiatorType, url: e.name })),
    styles: document.styleSheets.length,
    links: [...new Set([...document.querySelectorAll('a[href]')].map((a) => a.href.replace(/#.*/, '')))],
  };
}

// tab walks through the page with the Tab key, and says where it came by and whether one
// could see that.
async function tab(page, action) {
  const stops = [];
  let reached = false, shows = false, last = '';
  await page.evaluate(() => { window.scrollTo(0, 0); document.activeElement?.blur(); window.tabStops = []; });
  for (let i = 0; i < maxStops; i++) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate((sel) => {
      const e = document.activeElement;
      if (!e || e === document.body || e === document.documentElement) return null;
      const again = window.tabStops.indexOf(e);
      if (again < 0) window.tabStops.push(e);
      const s = getComputedStyle(e), r = e.getBoundingClientRect();
      const x = Math.min(Math.max((r.left + r.right) / 2, 0), innerWidth - 1), y = Math.min(Math.max((r.top + r.bottom) / 2, 0), innerHeight - 1);
      const top = document.elementFromPoint(x, y);
      return {
        again: again >= 0 && again < window.tabStops.length - 1, is: e.outerHTML.replace(/\s+/g, ' ').slice(0, 120), action: sel !== '' && e.matches(sel),
        outline: s.outlineStyle !== 'none' && (s.outlineStyle === 'auto' || parseFloat(s.outlineWidth) >= 2),
        inView: r.width > 0 && r.height > 0 && r.bottom > 0 && r.right > 0 && r.top < innerHeight && r.left < innerWidth,
        covered: top !== null && top !== e && !e.contains(top) && !top.contains(e) && ![...(e.labels ?? [])].some((l) => l.contains(top)),
        box: { x: r.x, y: r.y, width: r.width, height: r.height },
      };
    }, action);
    if (at === null || at.again) break;
    if (at.is !== last) stops.push({ is: at.is, outline: at.outline, inView: at.inView, covered: at.covered });
    last = at.is;
    if (at.action && !reached) {
      reached = true;
      shows = await differs(page, at.box);
    }
  }
  return { stops, reached, shows };
}

// differs tells whether one can see that what lies in box has the focus: by pixels.
async function differs(page, box) {
  const size = page.viewportSize();
  const x = Math.max(box.x - 6, 0), y = Math.max(box.y - 6, 0);
  const clip = { x, y, width: Math.min(box.width + 12, size.width - x), height: Math.min(box.height + 12, size.height - y) };
  if (clip.width <= 0 || clip.height <= 0) return false;
  const shot = () => page.screenshot({ clip, animations: 'disabled' });
  const focused = await shot();
  await page.evaluate(() => { window.tabAt = document.activeElement; window.tabAt.blur(); });
  const blurred = await shot();
  await page.evaluate(() => window.tabAt.focus({ preventScroll: true }));
  return !focused.equals(blurred);
}
