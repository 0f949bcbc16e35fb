'use strict';
/* The pages as files: what they may load and who may frame them, their types, sizes and caches; and what is no page. */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe } = require('node:test');
const { useStack, assertError } = require('./harness');

const ASSETS = path.join(__dirname, '../../web/assets');
const POLICY =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const FIRST_PAINT_MAX = 100 * 1024;

const assetOf = (name) => fs.readFileSync(path.join(ASSETS, name), 'utf8');
/* What a page names in its HTML, and what the modules among that import without being asked. */
function loadedBy(html) {
    const wanted = [...html.matchAll(/(?:src|href)="(assets\/[^"]+)"/g)].map(([, name]) => name.slice('assets/'.length));
    for (let i = 0; i < wanted.length; i++) {
        if (!wanted[i].endsWith('.js')) continue;
        for (const [, name] of assetOf(wanted[i]).matchAll(/^import .* from '\.\/([^']+)';$/gm))
            if (!wanted.includes(name)) wanted.push(name);
    }
    return wanted;
}

function suite(base) {
    const s = useStack({ env: { CARPOOL_SERVER_BASE_PATH: base }, base });
    const get = (name, headers = {}) => s.get(`${base}${name}`, { check: false, headers });

    s.test('the page and all it loads', async () => {
        for (const name of ['/', '/index.html']) {
            const page = await get(name);
            assert.equal(page.status, 200);
            assert.equal(page.headers['content-type'], 'text/html; charset=utf-8');
            assert.equal(page.text, fs.readFileSync(path.join(ASSETS, '../index.html'), 'utf8'));
        }
        const { text } = await get('/');
        assert.doesNotMatch(text, /<script(?![^>]*\ssrc=)|<style|\son\w+=|\sstyle=|(?:src|href)="(?:\/|[a-z]+:)/i, 'no code in it, no address but relative ones');
        const files = [...loadedBy(text), ...loadedBy(fs.readFileSync(path.join(ASSETS, '../docs.html'), 'utf8'))];
        assert.ok(files.length > 10, files.join(' '));
        const types = { '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml' };
        for (const name of fs.readdirSync(ASSETS)) {
            const file = await get(`/assets/${name}`);
            assert.equal(file.status, 200, name);
            assert.equal(file.headers['content-type'], types[path.extname(name)], name);
            assert.ok(files.includes(name), `${name} is loaded by none`);
        }
    });

    s.test('headers that hold browsers to it', async () => {
        for (const name of ['/', '/assets/app.js', '/assets/style.css', '/assets/missing.js']) {
            const { headers } = await get(name);
            assert.equal(headers['content-security-policy'], POLICY, name);
            assert.equal(headers['x-content-type-options'], 'nosniff');
            assert.equal(headers['referrer-policy'], 'no-referrer');
            assert.equal(headers['cache-control'], 'no-cache');
            assert.equal(headers['server'], undefined);
        }
        const { headers } = await get('/assets/app.js');
        assert.equal((await get('/assets/app.js', { 'If-None-Match': headers.etag })).status, 304);
        assert.equal((await get('/assets/app.js', { 'If-None-Match': '"other"' })).status, 200);
    });

    s.test('the first paint takes less than 100 KB', async (t) => {
        const headers = { 'Accept-Encoding': 'gzip' };
        const page = await get('/', headers);
        if (page.headers['content-encoding'] !== 'gzip') return t.skip('this lighttpd has no mod_deflate (package lighttpd-mod-deflate)');
        const files = loadedBy((await get('/')).text);
        let sum = Number(page.headers['content-length']);
        for (const name of files) {
            const file = await get(`/assets/${name}`, headers);
            assert.equal(file.headers['content-encoding'], 'gzip', name);
            sum += Number(file.headers['content-length']);
        }
        assert.ok(sum > 10000 && sum < FIRST_PAINT_MAX, `${sum} bytes`);
        const answer = await get('/v1/settings', headers);
        assert.equal(answer.headers['content-encoding'], undefined, 'answers of the workers are left alone');
    });

    s.test('what is no page belongs to the workers', async () => {
        for (const name of ['/assets/', '/assets', '/vendor/', '/assets/.hidden', '/assets/.git/config', '/assets/x/.y', '/.htaccess', '/rules.mk', '/package.json', '/README.md', '/web/index.html', '/index.htm', '/screenshots/'])
            assertError(await get(name), 404, { code: 'NOT_FOUND' });
        for (const name of ['/assets/../rules.mk', '/assets/%2e%2e/rules.mk', '/assets/%2e%2e/%2e%2e/README.md', '/assets/..%2frules.mk', '/assets/%2ehidden', '/assets//style.css/..%5c..']) {
            const res = await s.raw(`GET ${base}${name} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
            assert.ok([400, 403, 404].includes(res.status), `${name}: ${res.status}`);
            assert.doesNotMatch(res.text, /vendor|UPLOT|carpool answers/, name);
        }
        assert.equal((await get('/assets/missing.js')).status, 404);
        assertError(await s.post(`${base}/`, { a: 1 }, { check: false }), 404);
        assertError(await s.request('PUT', `${base}/assets/style.css`, { body: 'x', check: false }), 404);
    });
}

describe('at the root', () => suite(''));
describe('under a base path', () => {
    suite('/some/where');
});
