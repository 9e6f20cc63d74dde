// Draws dashboards in a headless browser, takes their pictures and measures them.
//
// In: a directory with `NAME.json` for each dashboard. Out: `NAME.png` beside it, and on standard output what stands in each
// panel, as JSON.
// Left out on purpose: judging; the test does that.

import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import * as esbuild from 'esbuild';
import { chromium } from 'playwright-core';

const [dir, browserPath] = process.argv.slice(2);
const PAGE = '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><link rel="stylesheet" href="draw.css"><body style="margin:0"><div id="root"></div>'
  + '<script>window.grafanaBootData = { settings: {}, user: {} }</script><script type="module" src="draw.js"></script>';
const TYPES = { css: 'text/css', html: 'text/html', js: 'text/javascript', json: 'application/json' };

const bundle = await esbuild.build({
  entryPoints: ['draw.tsx'], bundle: true, splitting: true, format: 'esm', outdir: '/', write: false, jsx: 'automatic',
  logLevel: 'error', mainFields: ['module', 'browser', 'main'], conditions: ['module', 'import', 'browser'],
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: Object.fromEntries(['.svg', '.woff', '.woff2', '.ttf', '.png'].map((end) => [end, 'dataurl'])),
  // One is the other under the name of Grafana's transition; the other is a CommonJS module that exports its default twice.
  alias: { 'react-router-dom-v5-compat': 'react-router-dom', 'react-custom-scrollbars-2': './scrollbars.ts' },
});
const files = new Map(bundle.outputFiles.map((file) => [file.path, Buffer.from(file.contents)]));
files.set('/', PAGE);

/** What a person sees of each panel. */
function measured() {
  const box = (element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    return { x, y, width, height };
  };
  const wider = (element) => element !== null && element.scrollWidth > element.clientWidth + 1;
  return [...document.querySelectorAll('section')].map((panel) => {
    const [title, text, grid] = ['h2', '.text', '[role=grid]'].map((what) => panel.querySelector(what));
    return {
      title: title?.textContent ?? '',
      box: box(panel),
      title_cut: wider(title),
      text_cut: text !== null && text.scrollHeight > text.clientHeight + 1,
      table_cut: wider(grid),
      legends: panel.querySelectorAll('tbody tr').length,
      chart: panel.querySelector('.uplot canvas') !== null,
      words: panel.textContent.replace(title?.textContent ?? '', '').trim(),
      nothing: panel.querySelector('.nothing')?.textContent ?? null,
    };
  });
}

async function draw(browser, name) {
  const page = await browser.newPage({ viewport: { width: 1366, height: 1000 } });
  const errors = [];
  // What is missing besides is fonts and icons, which Grafana's server has.
  page.on('console', (message) => message.text().startsWith('cannot draw') && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  const content = await readFile(join(dir, `${name}.json`));
  await page.route('http://dashboard.invalid/**', (route) => {
    const { pathname } = new URL(route.request().url());
    const body = pathname === '/page.json' ? content : files.get(pathname);
    const contentType = TYPES[pathname === '/' ? 'html' : pathname.split('.').pop()];
    return body === undefined ? route.fulfill({ status: 404 }) : route.fulfill({ body, contentType });
  });
  await page.goto('http://dashboard.invalid/');
  const all = () => {
    const panels = document.querySelectorAll('section');
    const stands = (panel) => panel.getBoundingClientRect().height > 0 && !panel.textContent.includes('Loading plugin panel');
    return document.body.dataset.panels === String(panels.length) && [...panels].every(stands);
  };
  await page.waitForFunction(all, null, { timeout: 60_000 });
  await page.waitForLoadState('networkidle');
  const lowest = () => Math.max(...[...document.querySelectorAll('section')].map((panel) => panel.getBoundingClientRect().bottom));
  const height = Math.ceil(await page.evaluate(lowest)) + 16;
  await page.setViewportSize({ width: 1366, height });
  // Two frames after the last change of size everything is painted.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await page.screenshot({ path: join(dir, `${name}.png`) });
  const panels = await page.evaluate(measured);
  await page.close();
  const kinds = new Map(JSON.parse(content).dashboard.panels.map(({ title, type }) => [title, type]));
  return { name, errors, panels: panels.map((panel) => ({ ...panel, kind: kinds.get(panel.title) })) };
}

const names = (await readdir(dir)).filter((file) => file.endsWith('.json')).map((file) => file.slice(0, -'.json'.length));
const browser = await chromium.launch({ executablePath: browserPath, args: ['--no-sandbox', '--disable-gpu'] });
const drawn = [];
for (const name of names.sort()) {
  drawn.push(await draw(browser, name));
}
await browser.close();
console.log(JSON.stringify(drawn));
