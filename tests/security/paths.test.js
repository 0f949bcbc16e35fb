'use strict';
/*
 * Paths that are not what they seem, over a raw socket: nothing outside of web/ is ever given out, no spelling of a path gets
 * past the key that its route asks for, and every refusal is JSON that repeats nothing of the path.
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, after } = require('node:test');
const { useStack, ROOT } = require('../integration/harness');
const { copySite } = require('./site');

const ADMIN_KEY = 'admin-key-of-paths';
const request = (target, { method = 'GET', head = '', body = '' } = {}) =>
    Buffer.concat([
        Buffer.from(`${method} `),
        Buffer.isBuffer(target) ? target : Buffer.from(target, 'latin1'),
        Buffer.from(` HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n${head}\r\n${body}`),
    ]);

/* Ways to write a slash, a dot and a way up. */
const UP = ['..', '%2e%2e', '%2E.', '.%2e', '..%00', '..;', '%252e%252e', '%c0%ae%c0%ae', '%e0%80%ae%e0%80%ae', '．．'];
const SLASH = ['/', '//', '%2f', '%2F', '%5c', '\\', '%255c', '%c0%af', '%e0%80%af', '/./'];

const SECRETS = ['carpool.conf', 'lighttpd.conf', 's/provider.key', 's/data.mdb', 's/logs/events.jsonl', 'etc/passwd', 'README.md', '.git/config'];

/* Marks of files that nobody may get. */
const INSIDE = [/root:x?:0:0/, /server\.modules/, /\[core\]/, /# carpool\b/, /carpool-secret-mark/, /MDB|\xde\xc0\xef\xbe/];

describe('paths', () => {
    const s = useStack({
        conf: '; carpool-secret-mark\n',
        env: { ADMIN_KEY, API_KEY: 'client-key-of-paths', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '5' },
    });
    const forbidden = (res, what) => {
        assert.ok([400, 401, 403, 404, 405, 501, 505].includes(res.status), `${what}: ${res.status} ${res.text.slice(0, 200)}`);
        for (const mark of INSIDE) assert.doesNotMatch(res.text, mark, what);
        /* What lighttpd looks for among the files of pages, it misses in its own words. */
        if (/^\/(assets|vendor)\//.test(what) && res.status === 404) return;
        assert.match(res.headers['content-type'] ?? '', /^application\/json/, `${what}: ${res.text.slice(0, 200)}`);
        assert.ok(res.json, `${what} is not JSON: ${res.text.slice(0, 200)}`);
    };

    s.test('ways up out of web/ lead nowhere', async () => {
        const relative = path.relative(path.join(ROOT, 'web'), s.dir).split('/');
        for (const up of UP)
            for (const slash of SLASH)
                for (const prefix of ['/', '/assets/', '/assets']) {
                    const climb = (n, file) => prefix + Array(n).fill(up).join(slash) + slash + file.replaceAll('/', slash);
                    for (const file of ['lighttpd.conf', 'etc/passwd', '.git/config'])
                        for (const n of file === 'etc/passwd' ? [8] : [1, 2]) {
                            const target = climb(n, file);
                            const res = await s.raw(request(Buffer.from(target)));
                            forbidden(res, target);
                        }
                }
        const home = relative.map((part) => (part === '..' ? '%2e%2e' : part)).join('/');
        for (const file of SECRETS) forbidden(await s.raw(request(`/${home}/${file}`)), file);
    });

    s.test('absolute targets, and what is no path at all', async () => {
        for (const target of [
            'file:///etc/passwd',
            `http://127.0.0.1/../etc/passwd`,
            'http://127.0.0.1/%2e%2e/lighttpd.conf',
            'http://example.org/v1/settings',
            'https://example.org/v1/settings',
            'gopher://x/v1/settings',
            '*',
            '?',
            '#',
            'v1/settings',
            '..',
            '/v1/settings/../settings',
            '/\0',
            '/%',
            '/%zz',
            '/%00',
            '/health%00.html',
            '/\x80\xff',
            '/%ff%fe',
        ]) {
            const res = await s.raw(request(target));
            forbidden(res, JSON.stringify(target));
            assert.equal(res.text.includes('example.org'), false);
        }
    });

    /* A route is either not found or asks for its key; whatever web server and worker think of the path, it is not served. */
    s.test('no spelling of a path gets past the key of its route', async () => {
        const spellings = (route) => [
            `/${route}`,
            `//${route}`,
            `/./${route}`,
            `/x/../${route}`,
            `/assets/../${route}`,
            `/%2e/${route}`,
            `/health/../${route}`,
            `/health/%2e%2e/${route}`,
            `/health%2f..%2f${route}`,
            `/openapi.json/..%2f${route}`,
            `/${route}/`,
            `/${route}%20`,
            `/${route}%00`,
            `/${route};x=/health`,
            `/${route}?/health`,
            `/${route}#/health`,
            `/${route.toUpperCase()}`,
            `/${route.replace('/', '%2f')}`,
            `/${route.replace('/', '//')}`,
            `/${route.replace('/', '/./')}`,
            `/${route.replace(/[a-z]/, (c) => `%${c.charCodeAt(0).toString(16)}`)}`,
            `/${route.replace(/[a-z]/g, (c) => `%${c.charCodeAt(0).toString(16)}`)}`,
            `/${route}.html`,
            `/${route}/health`,
            `http://127.0.0.1/${route}`,
            `http://user@127.0.0.1/${route}`,
        ];
        for (const route of ['v1/settings', 'v1/chat', 'v1/analytics', 'stats', 'metrics'])
            for (const target of spellings(route)) {
                const res = await s.raw(request(target));
                assert.ok([400, 401, 404, 405].includes(res.status), `${target}: ${res.status} ${res.text.slice(0, 100)}`);
            }
        for (const route of ['v1/query', 'query', 'generate', 'invoke', 'chat', 'chat/batched', 'v1/chat/completions', 'v1/completions', 'v1/models'])
            for (const target of spellings(route)) {
                const body = JSON.stringify({ prompt: 'in', query: 'in', user_prompt: 'in', chat_id: '1', queries: [], messages: [{ role: 'user', content: 'in' }] });
                const head = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
                const res = await s.raw(request(target, { method: 'POST', head, body }));
                assert.ok([400, 401, 404, 405].includes(res.status), `${target}: ${res.status} ${res.text.slice(0, 100)}`);
            }
        const admin = { headers: { 'X-API-Key': ADMIN_KEY } };
        assert.deepEqual((await s.get('/v1/chat', admin)).json.count, 0, 'nobody was answered');
    });

    s.test('a method in the wrong letters, or one that proxies know, is refused', async () => {
        for (const method of ['get', 'TRACE', 'TRACK', 'CONNECT', 'PROPFIND', 'PATCH', 'DEBUG', 'G\tET'])
            for (const target of ['/v1/settings', '/health', '/']) {
                const res = await s.raw(request(target, { method }));
                assert.ok(res.status >= 400 && res.status < 600, `${method} ${target}: ${res.status}`);
                assert.doesNotMatch(res.text, /admin-key|api_key/);
            }
    });
});

/* Editors and version control leave copies beside what is served. */
describe('files that lie in web/ by accident', () => {
    const site = copySite();
    const names = [
        '.hidden',
        '.env',
        '.htaccess',
        'index.html~',
        'index.html.bak',
        'index.html.swp',
        '.index.html.swp',
        '#index.html#',
        'index.html.orig',
        'settings.html.save',
        'notes.txt',
        'assets/.hidden',
        'assets/.git/config',
        'assets/app.js~',
        'assets/app.js.bak',
        'assets/.app.js.swp',
        'assets/#app.js#',
        'assets/app.js.orig',
    ];
    for (const name of names) {
        const file = path.join(site.web, name);
        fs.mkdirSync(path.dirname(file), { recursive: true });
        fs.writeFileSync(file, 'left-behind-mark', { flag: 'wx' });
    }
    const s = useStack({ command: site.command, env: { API_KEY: 'client-key-of-paths' } });
    after(() => site.remove());

    s.test('are not served', async () => {
        assert.equal((await s.get('/assets/api.js', { check: false })).status, 200, 'the copy is served');
        for (const name of names)
            for (const spelling of [name, name.replace('.', '%2e'), `./${name}`, `assets/../${name}`]) {
                const res = await s.raw(request(`/${spelling.replaceAll('#', '%23')}`));
                assert.doesNotMatch(res.text, /left-behind-mark/, spelling);
                assert.notEqual(res.status, 200, spelling);
            }
    });
    s.test('nor are directories listed', async () => {
        for (const target of ['/assets/', '/assets', '/assets/.git/']) {
            const res = await s.raw(request(target));
            assert.notEqual(res.status, 200, target);
            assert.doesNotMatch(res.text, /app\.js/, target);
        }
    });
});
