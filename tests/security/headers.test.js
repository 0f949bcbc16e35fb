'use strict';
/*
 * Headers that say two things, or more than they should: doubled, underscored, smuggled, huge, with line breaks inside; hosts and
 * origins of elsewhere. What could mean two things is refused, no value that is repeated in an answer can add a header to
 * it, and no web page of elsewhere gets anything out of an instance without keys.
 */
const assert = require('node:assert/strict');
const net = require('node:net');
const { describe } = require('node:test');
const { useStack } = require('../integration/harness');

const KEY = 'client-key-of-headers';
const ADMIN_KEY = 'admin-key-of-headers';
const FAST = { CARPOOL_BATCH_HIGH_WINDOW_MS: '5', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '5', CARPOOL_BATCH_LOW_WINDOW_MS: '5' };
const EVIL = 'https://evil.example.org';

/* Every route that there is, with a body it would take. */
const ROUTES = [
    ['GET', '/health'],
    ['GET', '/openapi.json'],
    ['GET', '/v1/settings'],
    ['PUT', '/v1/settings', { batch_low: { window_ms: 7 } }],
    ['GET', '/v1/chat'],
    ['DELETE', '/v1/chat/some-id'],
    ['GET', '/v1/analytics'],
    ['GET', '/v1/requests/some-id'],
    ['GET', '/stats'],
    ['GET', '/metrics'],
    ['POST', '/query', { query: 'x' }],
    ['POST', '/v1/query', { prompt: 'x' }],
    ['POST', '/generate', { prompt: 'x' }],
    ['POST', '/invoke', { user_prompt: 'x' }],
    ['POST', '/chat', { chat_id: '1', user_prompt: 'x' }],
    ['POST', '/chat/batched', { queries: [{ chat_id: '1', user_prompt: 'x' }] }],
    ['POST', '/v1/chat/completions', { messages: [{ role: 'user', content: 'x' }] }],
    ['POST', '/v1/completions', { prompt: 'x' }],
    ['GET', '/v1/models'],
];
const OPEN = ['/health', '/openapi.json'];

const bytesOf = (method, target, headers, body = '') =>
    `${method} ${target} HTTP/1.1\r\n${headers.map((h) => `${h}\r\n`).join('')}Connection: close\r\n\r\n${body}`;
const post = (target, headers, body) =>
    bytesOf('POST', target, ['Host: 127.0.0.1', 'Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`, ...headers], body);

/* All that a server says on one connection. */
function conversation(port, bytes, { waitMs = 1500 } = {}) {
    return new Promise((resolve) => {
        const socket = net.connect(port, '127.0.0.1');
        let text = '';
        socket.on('data', (chunk) => (text += chunk.toString('latin1')));
        socket.on('error', () => {});
        socket.on('close', () => resolve(text));
        setTimeout(() => socket.destroy(), waitMs);
        socket.write(bytes);
    });
}
const headsOf = (text) => text.match(/HTTP\/1\.1 \d+/g) ?? [];

describe('headers with keys', () => {
    const s = useStack({ env: { ...FAST, API_KEY: KEY, ADMIN_KEY } });
    const ask = '{"prompt":"x"}';

    s.test('a key that comes twice, or under a name with underscores beside the right one, is refused', async () => {
        for (const headers of [
            [`X-API-Key: ${KEY}`, `X-API-Key: ${ADMIN_KEY}`],
            [`X-API-Key: wrong`, `X-API-Key: ${KEY}`],
            [`X-API-Key: ${KEY}`, `X_API_Key: ${ADMIN_KEY}`],
            [`X_API_Key: ${ADMIN_KEY}`, `X-API-Key: ${KEY}`],
            [`Authorization: Bearer ${KEY}`, `Authorization: Bearer ${ADMIN_KEY}`],
            [`Authorization: Bearer wrong`, `Authorization: Bearer ${KEY}`],
            [`X-API-Key: ${KEY}`, `x-api-key: ${KEY}x`],
        ]) {
            const res = await s.raw(post('/v1/query', headers, ask));
            assert.ok([400, 401].includes(res.status), `${headers}: ${res.status} ${res.text}`);
            const settings = await s.raw(bytesOf('GET', '/v1/settings', ['Host: 127.0.0.1', ...headers]));
            assert.ok([400, 401, 403].includes(settings.status), `${headers}: ${settings.status}`);
        }
    });

    s.test('two different keys in two headers: neither counts for more than itself', async () => {
        for (const headers of [
            [`X-API-Key: ${KEY}`, `Authorization: Bearer ${ADMIN_KEY}`],
            ['X-API-Key: wrong', `Authorization: Bearer ${ADMIN_KEY}`],
        ]) {
            const res = await s.raw(bytesOf('GET', '/v1/settings', ['Host: 127.0.0.1', ...headers]));
            assert.ok([400, 401, 403].includes(res.status), `${headers}: ${res.status} ${res.text}`);
        }
    });

    s.test('keys of other shapes are none', async () => {
        const wrong = ['', ' ', KEY.toUpperCase(), `${KEY} `.repeat(2), KEY.slice(0, -1), `${KEY}\0`, `"${KEY}"`, `${KEY},${ADMIN_KEY}`, 'null', '*'];
        for (const key of wrong)
            for (const header of [`X-API-Key: ${key}`, `Authorization: Bearer ${key}`, `Authorization: Basic ${key}`, `Authorization: ${KEY}`]) {
                const res = await s.raw(post('/v1/query', [header], ask));
                assert.ok([400, 401].includes(res.status), `${JSON.stringify(header)}: ${res.status} ${res.text}`);
            }
        for (const target of [`/v1/query?api_key=${KEY}`, `/v1/query?X-API-Key=${KEY}`, `/v1/query?key=${KEY}`])
            assert.equal((await s.raw(post(target, [], ask))).status, 401, 'no key is taken from a URL');
        assert.equal((await s.raw(post('/v1/query', [`Cookie: X-API-Key=${KEY}`], ask))).status, 401);
    });

    s.test('variables of the web server cannot be sent as headers', async () => {
        for (const headers of [
            ['REMOTE_ADDR: 127.0.0.1'],
            ['Remote-Addr: 127.0.0.1', 'Client-Ip: 127.0.0.1'],
            ['X-Forwarded-For: 127.0.0.1'],
            [`Redirect-Http-Authorization: Bearer ${ADMIN_KEY}`],
            [`Proxy-Authorization: Bearer ${ADMIN_KEY}`],
            ['X-Original-URL: /health', 'X-Rewrite-URL: /health', 'X-HTTP-Method-Override: GET'],
            ['Proxy: http://127.0.0.1:9'],
        ]) {
            const res = await s.raw(bytesOf('GET', '/v1/settings', ['Host: 127.0.0.1', ...headers]));
            assert.equal(res.status, 401, `${headers}: ${res.text}`);
        }
    });

    s.test('one request cannot hide in another', async () => {
        const hidden = `GET /v1/settings HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: ${ADMIN_KEY}\r\n\r\n`;
        const json = '{"prompt":"x"}';
        const chunked = `${json.length.toString(16)}\r\n${json}\r\n0\r\n\r\n`;
        const start = (headers) => `POST /v1/query HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: ${KEY}\r\nContent-Type: application/json\r\n${headers}\r\n`;
        const tricks = {
            'two lengths': start(`Content-Length: ${json.length}\r\nContent-Length: ${json.length + hidden.length}\r\n`) + json + hidden,
            'two equal lengths': start(`Content-Length: ${json.length}\r\nContent-Length: ${json.length}\r\n`) + json,
            'a list of lengths': start(`Content-Length: ${json.length}, ${json.length}\r\n`) + json,
            'length and chunks': start(`Content-Length: ${chunked.length}\r\nTransfer-Encoding: chunked\r\n`) + chunked + hidden,
            'chunks and length': start(`Transfer-Encoding: chunked\r\nContent-Length: 4\r\n`) + chunked + hidden,
            'chunks by another name': start('Transfer-Encoding: xchunked\r\n') + chunked + hidden,
            'chunks twice': start('Transfer-Encoding: chunked, identity\r\n') + chunked + hidden,
            'chunks with a tab': start('Transfer-Encoding:\tchunked\r\nContent-Length: 3\r\n') + chunked + hidden,
            'a blank before the colon': start(`Content-Length : ${json.length + hidden.length}\r\n`) + json + hidden,
            'a signed length': start(`Content-Length: +${json.length}\r\n`) + json,
            'a length in hexadecimal': start('Content-Length: 0xe\r\n') + json,
            'a negative length': start('Content-Length: -1\r\n') + json + hidden,
            'a folded header': start(`X-A: b\r\n Content-Length: ${json.length}\r\n`) + json,
            'a length with an underscore': start(`Content-Length: ${json.length}\r\nContent_Length: 3\r\n`) + json,
        };
        for (const [name, bytes] of Object.entries(tricks)) {
            const text = await conversation(s.port, bytes);
            assert.doesNotMatch(text, /"batch_high"|"processing_mode"|window_ms/, `${name}: settings were given out`);
            const [first, ...more] = headsOf(text);
            assert.ok(first, `${name}: no answer`);
            if (name === 'a length with an underscore' || name === 'a folded header') continue; /* may be understood */
            const whole = /length and chunks|chunks and length|chunks with a tab|two equal/.test(name); /* RFC 9112 6.3 lets chunks win */
            if (!whole) assert.match(first, / 4\d\d| 501/, `${name}: ${text.slice(0, 200)}`);
            else if (/ 200/.test(first)) assert.match(text, /Processed: x/, name);
            assert.ok(more.every((head) => !/ 200/.test(head)), `${name}: ${[first, ...more]}`);
        }
    });

    s.test('line breaks in what an answer repeats add no header to it', async () => {
        const breaks = ['\r\nX-Injected: 1', '\nX-Injected: 1', '\rX-Injected: 1', '%0d%0aX-Injected:%201', '\u2028X-Injected: 1', '\u560d\u560aX-Injected: 1'];
        const injected = (text, what) => assert.doesNotMatch(text.split('\r\n\r\n')[0], /x-injected/i, `${what}: ${text.slice(0, 400)}`);
        const auth = { headers: { 'X-API-Key': ADMIN_KEY }, check: false };
        for (const at of breaks) {
            const value = `id${at}`;
            for (const [target, body] of [
                ['/v1/query', { prompt: 'x', request_id: value }],
                ['/v1/query', { prompt: 'x', username: value }],
                ['/v1/query', { prompt: 'x', priority: value }],
                ['/invoke', { user_prompt: 'x', request_id: value, model: value }],
                ['/chat', { chat_id: value, user_prompt: 'x' }],
                ['/chat/batched', { queries: [{ chat_id: value, user_prompt: 'x' }] }],
                ['/v1/chat/completions', { messages: [{ role: 'user', content: 'x' }], model: value, user: value }],
                ['/v1/chat/completions', { messages: [{ role: 'user', content: value }], stream: true }],
            ]) {
                const text = JSON.stringify(body);
                for (const more of [[], ['Prefer: respond-async']]) {
                    injected(
                        await conversation(s.port, post(target, [`X-API-Key: ${KEY}`, ...more], text), { waitMs: 5000 }),
                        `${target} ${text}`,
                    );
                }
            }
            injected(
                await conversation(s.port, post('/v1/completions', [`X-API-Key: ${KEY}`, `Idempotency-Key: v${/[\r\n]/.test(at) ? '%0d%0aX-Injected:1' : at}`], '{"prompt":"x"}'), { waitMs: 5000 }),
                'Idempotency-Key',
            );
            for (const header of ['X-Request-Id', 'X-Priority', 'Prefer', 'Idempotency-Key', 'Access-Control-Request-Headers', 'Content-Type', 'Accept'])
                injected(
                    await conversation(s.port, bytesOf('GET', '/v1/requests/none', ['Host: 127.0.0.1', `X-API-Key: ${KEY}`, `${header}: v${/[\r\n]/.test(at) ? '%0d%0aX-Injected: 1' : at}`])),
                    header,
                );
            const raw = encodeURI(`/v1/requests/id${at}`).replaceAll('%25', '%');
            injected(await conversation(s.port, bytesOf('GET', raw, ['Host: 127.0.0.1', `X-API-Key: ${KEY}`])), raw);
            const settings = await s.put('/v1/settings', { model: `m${at}` }, auth);
            assert.equal(settings.headers['x-injected'], undefined);
        }
        for (const origin of [`${EVIL}%0d%0aX-Injected: 1`, `${EVIL}\tX-Injected: 1`, `${EVIL}\u00a0`])
            injected(await conversation(s.port, bytesOf('OPTIONS', '/v1/query', ['Host: 127.0.0.1', `Origin: ${origin}`, 'Access-Control-Request-Method: POST'])), origin);
        await s.put('/v1/settings', { model: '' }, auth);
    });

    s.test('the id of a response is the one of the request, or made here, never a text of the caller', async () => {
        for (const value of ['<script>alert(1)</script>', 'a b', 'x'.repeat(4000), '"quoted"', '../../etc']) {
            const res = await s.raw(bytesOf('GET', '/health', ['Host: 127.0.0.1', `X-Request-Id: ${value}`]));
            if (res.headers['x-request-id']) assert.match(res.headers['x-request-id'], /^[A-Za-z0-9._:-]{1,128}$/);
            assert.ok(!Object.values(res.headers).some((text) => text.includes(value)), value);
        }
    });

    s.test('huge and countless headers are refused, and the next client is served', async () => {
        const many = Array.from({ length: 2000 }, (_, i) => `X-H${i}: ${'v'.repeat(30)}`);
        for (const headers of [
            [`X-Big: ${'v'.repeat(100000)}`],
            [`X-API-Key: ${'k'.repeat(60000)}`],
            [`Authorization: Bearer ${'k'.repeat(7000)}`],
            [`Origin: ${'o'.repeat(7000)}`],
            [`Prefer: ${'wait,'.repeat(1400)}`],
            [`Prefer: ${'"\\'.repeat(3000)}`],
            many,
        ]) {
            const text = await conversation(s.port, bytesOf('GET', '/v1/settings', ['Host: 127.0.0.1', ...headers]));
            assert.match(headsOf(text)[0] ?? 'closed', / 4\d\d|closed/, `${headers[0].slice(0, 40)}: ${text.slice(0, 100)}`);
        }
        const target = `/v1/chat?limit=${'1'.repeat(7000)}`;
        assert.ok((await s.raw(bytesOf('GET', target, ['Host: 127.0.0.1', `X-API-Key: ${ADMIN_KEY}`]))).status >= 400);
        assert.equal((await s.get('/health')).status, 200);
    });

    s.test('a page of elsewhere may read answers only with a key, and never with cookies', async () => {
        for (const [method, target, body] of ROUTES) {
            const res = await s.request(method, target, { body, headers: { Origin: EVIL }, check: false });
            assert.equal(res.headers['access-control-allow-credentials'], undefined, target);
            assert.notEqual(res.headers['access-control-allow-origin'], EVIL, `${target} mirrors the origin`);
            assert.notEqual(res.headers['access-control-allow-origin'], 'null');
            if (!OPEN.includes(target)) assert.equal(res.status, 401, target);
            const preflight = await s.request('OPTIONS', target, {
                headers: { Origin: EVIL, 'Access-Control-Request-Method': method, 'Access-Control-Request-Headers': 'x-api-key' },
                check: false,
            });
            assert.equal(preflight.headers['access-control-allow-credentials'], undefined);
        }
    });
});

describe('headers without keys', () => {
    const s = useStack({ env: FAST });

    s.test('a page of elsewhere gets nothing, on no route and in no way that browsers know', async () => {
        for (const [method, target, body] of ROUTES) {
            for (const headers of [{ Origin: EVIL }, { Origin: 'null' }, { Origin: `http://127.0.0.1:${s.port + 1}` }, { Origin: `http://127.0.0.1.evil.example.org:${s.port}` }]) {
                const res = await s.request(method, target, { body, headers, check: false });
                assert.equal(res.headers['access-control-allow-origin'], undefined, `${target} ${headers.Origin}`);
                if (!OPEN.includes(target)) assert.equal(res.status, 403, `${method} ${target} ${headers.Origin}: ${res.text}`);
                const preflight = await s.request('OPTIONS', target, {
                    headers: { ...headers, 'Access-Control-Request-Method': method, 'Access-Control-Request-Headers': 'content-type' },
                    check: false,
                });
                assert.equal(preflight.headers['access-control-allow-origin'], undefined, `preflight of ${target}`);
            }
            /* What a form or an image can send without asking first carries no Origin in old browsers, but never JSON. */
            if (method === 'POST')
                for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])
                    assert.equal((await s.request(method, target, { body: JSON.stringify(body), headers: { 'Content-Type': type }, check: false })).status, 415, `${target} ${type}`);
        }
    });

    s.test('a name that leads here (DNS rebinding) is not this machine', async () => {
        for (const host of [
            'evil.example.org',
            `evil.example.org:${s.port}`,
            '127.0.0.1.evil.example.org',
            'localhost.evil.example.org',
            '127.1.evil',
            '127.0.0.1@evil.example.org',
            'evil.example.org#127.0.0.1',
            '[::1].evil.example.org',
            '[::1]evil.example.org',
            '[::ffff:10.0.0.1]',
            '0.0.0.0',
            '10.0.0.1',
            '2130706433',
            'xn--localhost',
            '',
        ]) {
            for (const [method, target, body] of ROUTES) {
                if (OPEN.includes(target)) continue;
                const json = body ? JSON.stringify(body) : '';
                const bytes = bytesOf(method, target, [`Host: ${host}`, ...(body ? ['Content-Type: application/json', `Content-Length: ${json.length}`] : [])], json);
                const res = await s.raw(bytes);
                assert.ok([400, 403].includes(res.status), `${host} ${method} ${target}: ${res.status} ${res.text.slice(0, 200)}`);
            }
        }
        const two = await s.raw(bytesOf('GET', '/v1/settings', ['Host: 127.0.0.1', 'Host: evil.example.org']));
        assert.equal(two.status, 400, two.text);
        const absolute = await s.raw(bytesOf('GET', `http://evil.example.org/v1/settings`, ['Host: 127.0.0.1']));
        assert.ok([400, 403].includes(absolute.status), `the authority of the target counts, RFC 9112 3.2.2: ${absolute.status}`);
        const none = await s.raw('GET /v1/settings HTTP/1.0\r\n\r\n');
        assert.ok([400, 403].includes(none.status), `no Host at all: ${none.status}`);
    });

    s.test('whoever passes it on is no client of this machine', async () => {
        for (const header of [
            'X-Forwarded-For: 127.0.0.1',
            'X-Forwarded-For:',
            'Forwarded: for=127.0.0.1',
            'X-Real-IP: 127.0.0.1',
            'Via: 1.1 proxy',
            'X-Forwarded-Host: localhost',
            'X-Forwarded-Proto: http',
        ]) {
            const res = await s.raw(bytesOf('GET', '/v1/settings', ['Host: 127.0.0.1', header]));
            if (!header.endsWith(':')) assert.equal(res.status, 403, `${header}: ${res.status}`);
        }
    });
});
