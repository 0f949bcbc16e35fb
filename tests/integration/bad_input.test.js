'use strict';
/* Every rule of api.md that a request can break: the status and error it names, in JSON, with X-Request-Id,
 * and never a dropped connection. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, inParallel, assertError, STRETCH } = require('./harness');

const QUERY = '/v1/query';
const post = (head, body, path = QUERY) =>
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${head}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`;
const JSON_TYPE = 'Content-Type: application/json\r\n';

describe('bodies', () => {
    const s = useStack({ env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });

    s.test('what is not strict JSON is 400 and says where', async () => {
        const broken = [
            '',
            '{',
            '{"prompt":"x"',
            '{"prompt":"x"}}',
            '{"prompt":"x"} x',
            '{"prompt":"x",}',
            "{'prompt':'x'}",
            '{"prompt":"a\\u0000b"}',
            '{"prompt":"a","prompt":"b"}',
            '{"prompt":"x","pro\\u006dpt":"y"}',
            '{"prompt":"\\ud800"}',
            '{"prompt":"a\nb"}',
            '{"prompt":"\\x"}',
            '{"prompt":"x","n":007}',
            '{"prompt":"x","n":1.}',
            '{"prompt":"x","n":+1}',
            '{"prompt":"x","n":NaN}',
            '\ufeff{"prompt":"x"}',
            '// no\n{"prompt":"x"}',
            `{"prompt":"x","n":${'['.repeat(65)}${']'.repeat(65)}}`,
            `${'['.repeat(100000)}`,
        ];
        for (const body of broken) {
            const res = await s.post(QUERY, body);
            assertError(res, 400, { type: 'validation_error' });
            assert.match(
                res.json.error.message + JSON.stringify(res.json.error.details),
                /\d/,
                `says where: ${body.slice(0, 40)} ${res.text}`,
            );
        }
        for (const bytes of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]) {
            assertError(
                await s.post(QUERY, Buffer.concat([Buffer.from('{"prompt":"'), Buffer.from(bytes), Buffer.from('"}')])),
                400,
                { type: 'validation_error' },
            );
        }
        assertError(await s.post(QUERY, Buffer.from('{"prompt":"x"}', 'utf16le')), 400);
    });

    s.test('JSON that is no object', async () => {
        for (const body of ['[]', '"text"', '5', 'null', 'true']) assertError(await s.post(QUERY, body), 400);
    });

    s.test('depth 64 is allowed', async () => {
        const res = await s.post(QUERY, `{"prompt":"deep","extra":${'['.repeat(63)}${']'.repeat(63)}}`);
        assert.equal(res.status, 200, res.text);
    });

    s.test('fields of the wrong type or range', async () => {
        const wrong = [
            [{}, 'prompt'],
            [{ prompt: null }, 'prompt'],
            [{ prompt: 5 }, 'prompt'],
            [{ prompt: { a: 1 } }, 'prompt'],
            [{ prompt: 'x', priority: 'URGENT' }, 'priority', 'INVALID_PRIORITY'],
            [{ prompt: 'x', priority: 3 }, 'priority', 'INVALID_PRIORITY'],
            [{ prompt: 'x', priority: -1 }, 'priority'],
            [{ prompt: 'x', priority: 1.5 }, 'priority'],
            [{ prompt: 'x', priority: true }, 'priority'],
            [{ prompt: 'x', priority: null }, 'priority', undefined, 'maybe'],
            [{ prompt: 'x', priority: '' }, 'priority'],
            [{ prompt: 'x', request_id: '' }, 'request_id'],
            [{ prompt: 'x', request_id: 'a b' }, 'request_id'],
            [{ prompt: 'x', request_id: 'ä' }, 'request_id'],
            [{ prompt: 'x', request_id: 'x'.repeat(129) }, 'request_id'],
            [{ prompt: 'x', request_id: 5 }, 'request_id'],
            [{ prompt: 'x', request_id: 'a/b' }, 'request_id'],
            [{ prompt: 'x', username: 'u'.repeat(129) }, 'username'],
            [{ prompt: 'x', username: 'ü'.repeat(65) }, 'username'],
            [{ prompt: 'x', username: 5 }, 'username'],
            [{ prompt: 'x', created_at: 'yesterday' }, 'created_at'],
            [{ prompt: 'x', created_at: '2026-02-30T00:00:00Z' }, 'created_at'],
            [{ prompt: 'x', created_at: '2026-02-01' }, 'created_at'],
            [{ prompt: 'x', created_at: 1234 }, 'created_at'],
            [{ prompt: 'x', metadata: [] }, 'metadata'],
            [{ prompt: 'x', metadata: 'text' }, 'metadata'],
            [{ prompt: 'x', metadata: { a: 'x'.repeat(8200) } }, 'metadata'],
        ];
        for (const [body, field, code, maybe] of wrong) {
            const res = await s.post(QUERY, body);
            if (maybe && res.status === 200) continue;
            assertError(res, 400, { field, code, type: 'validation_error' });
        }
    });

    s.test('the limits themselves are allowed', async () => {
        const res = await s.post(QUERY, {
            prompt: 'x',
            username: 'ü'.repeat(64),
            request_id: 'x'.repeat(128),
            metadata: { a: 'x'.repeat(8000) },
            created_at: '2026-02-01T12:00:00.123456+05:30',
        });
        assert.equal(res.status, 200, res.text);
    });

    s.test('size: 1 MiB passes, a byte more is 413, far more is 413 too', async () => {
        const body = (size) => {
            const frame = JSON.stringify({ prompt: '' });
            return frame.replace('""', `"${'p'.repeat(size - frame.length)}"`);
        };
        assert.equal((await s.post(QUERY, body(1048576))).status, 200);
        for (const size of [1048577, 3000000])
            assertError(await s.post(QUERY, body(size), { fresh: true }), 413, { code: 'BODY_TOO_LARGE' });
        const huge = await s.raw(
            `POST ${QUERY} HTTP/1.1\r\nHost: 127.0.0.1\r\n${JSON_TYPE}Content-Length: 900000000\r\nConnection: close\r\n\r\n{`,
        );
        assert.equal(huge.status, 413, huge.text);
        assert.equal(huge.json?.success, false, 'JSON, though lighttpd itself gives this one');
    });

    s.test('content types', async () => {
        for (const type of [
            'text/plain',
            'application/x-www-form-urlencoded',
            'application/jsonp',
            'multipart/form-data; boundary=x',
            'application/xml',
            'application/json; charset=latin1',
        ]) {
            assertError(await s.post(QUERY, '{"prompt":"x"}', { headers: { 'Content-Type': type } }), 415, {
                code: 'UNSUPPORTED_MEDIA_TYPE',
            });
        }
        assert.ok([200, 415].includes(parsed(await s.raw(post('', '{"prompt":"untyped"}'))).status));
        for (const type of [
            'application/json',
            'application/json; charset=utf-8',
            'Application/JSON',
            'application/json;charset=UTF-8',
        ]) {
            assert.equal(
                (await s.post(QUERY, { prompt: 'typed' }, { headers: { 'Content-Type': type } })).status,
                200,
                type,
            );
        }
        assertError(await s.post(QUERY, '{"prompt":"x"}', { headers: { 'Content-Encoding': 'gzip' } }), 415);
    });
});

/* What raw() gives, as assertError wants it, and that it carries an id. */
function parsed(res) {
    assert.ok(res.status > 0, 'the connection was dropped');
    assert.ok(res.headers['x-request-id'], `no X-Request-Id: ${res.status} ${res.text}`);
    return res;
}

describe('requests', () => {
    const s = useStack({ env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });

    s.test('unknown paths are 404 in JSON', async () => {
        for (const path of [
            '/nothing',
            '/v1',
            '/v1/',
            '/v1/query/',
            '/v1/query/x',
            '/V1/query',
            '/query.php',
            '/v1/requests/',
            '/v1/requests/a/b',
            '/.env',
            '/health/x',
            '//query',
            '/etc/passwd',
            '/fcgi_app',
            '/web/index.html',
            '/v1/settings/x',
            '/%C3%BC',
        ]) {
            assertError(await s.get(path), 404, { code: 'NOT_FOUND' });
        }
    });

    s.test('a path in strange clothes', async () => {
        for (const path of [
            '/v1%2Fquery',
            '/v1/requests/a%2Fb',
            '/v1/requests/a%00b',
            '/%',
            '/%zz',
            '/v1/requests/%e4',
        ]) {
            const res = await s.raw(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
            assert.ok([400, 404].includes(res.status), `${path}: ${res.status} ${res.text}`);
            assertError(parsed(res), res.status);
        }
        const decoded = await s.post('/%71uery', { query: 'decoded once' });
        assert.deepEqual(decoded.json, { result: 'Processed: decoded once' });
        assert.equal((await s.post('/query?debug=1&x', { query: 'with a query string' })).status, 200);
        const dots = await s.raw('GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n');
        assert.ok([400, 404].includes(dots.status), String(dots.status));
    });

    s.test('wrong methods are 405 with Allow', async () => {
        const wrong = [
            ['GET', '/query', 'POST'],
            ['PUT', '/query', 'POST'],
            ['GET', QUERY, 'POST'],
            ['DELETE', QUERY, 'POST'],
            ['POST', '/v1/chat', 'GET'],
            ['PATCH', '/v1/settings', 'GET'],
            ['DELETE', '/v1/settings', 'PUT'],
            ['POST', '/v1/analytics', 'GET'],
            ['PUT', '/v1/requests/x', 'GET'],
            ['GET', '/v1/chat/some-id', 'DELETE'],
            ['DELETE', '/health', 'GET'],
        ];
        for (const [method, path, allowed] of wrong) {
            const res = parsed(
                await s.raw(
                    `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
                ),
            );
            assertError(res, 405);
            assert.ok(
                res.headers.allow?.split(/,\s*/).includes(allowed),
                `${method} ${path}: Allow: ${res.headers.allow}`,
            );
        }
    });

    s.test('a method that HTTP does not have is refused by lighttpd, in JSON', async () => {
        const res = await s.raw(
            'BREW /query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
        );
        assert.equal(res.status, 501);
        assert.equal(res.json?.success, false, res.text);
    });

    s.test('HEAD is GET without a body', async () => {
        const res = await s.raw('HEAD /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n');
        assert.equal(res.status, 200);
        assert.equal(res.text, '');
        assert.ok(res.headers['x-request-id']);
    });

    s.test('doubled headers that matter', async () => {
        for (const head of [
            'X-Priority: high\r\nX_Priority: low\r\n',
            'X-API-Key: a\r\nX_API_Key: b\r\n',
            'X-Priority: high\r\nX-Priority: low\r\n',
        ]) {
            const res = parsed(await s.raw(post(JSON_TYPE + head, '{"prompt":"x"}')));
            assertError(res, 400);
        }
        assertError(await s.ask('x', {}, { headers: { 'X-Priority': 'asap' } }), 400, { code: 'INVALID_PRIORITY' });
    });

    s.test('X-Request-Id and headers cannot be split from outside', async () => {
        const res = await s.ask('x', { request_id: 'fine-id' });
        assert.equal(res.status, 200);
        const evil = await s.post(QUERY, { prompt: 'x', request_id: 'a\r\nX-Evil: 1' });
        assertError(evil, 400, { field: 'request_id' });
        assert.equal(evil.headers['x-evil'], undefined);
    });

    s.test('not HTTP at all, cut bodies, wrong lengths: an answer or a close, and the service goes on', async () => {
        const start = performance.now();
        const bytes = [
            'GARBAGE\r\n\r\n',
            `POST ${QUERY} HTTP/1.1\r\nHost: 127.0.0.1\r\n${JSON_TYPE}Content-Length: nine\r\nConnection: close\r\n\r\n{}`,
            `POST ${QUERY} HTTP/1.1\r\nHost: 127.0.0.1\r\n${JSON_TYPE}Content-Length: 5\r\nContent-Length: 6\r\nConnection: close\r\n\r\n{"a":}`,
            `POST ${QUERY} HTTP/1.1\r\nHost: 127.0.0.1\r\n${JSON_TYPE}Transfer-Encoding: chunked\r\nContent-Length: 3\r\nConnection: close\r\n\r\n0\r\n\r\n`,
            `GET /health HTTP/1.1\r\nX-Long: ${'x'.repeat(100000)}\r\n\r\n`,
            `GET /${'x'.repeat(100000)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`,
        ];
        for (const text of bytes) {
            const res = await s.raw(text);
            assert.ok(
                res.status >= 400 && res.status < 500,
                `${text.slice(0, 60)}: ${res.status} ${res.text.slice(0, 200)}`,
            );
            assert.equal(res.json?.success, false, `${res.status} ${res.text.slice(0, 200)}`);
        }
        await s
            .raw(
                `POST ${QUERY} HTTP/1.1\r\nHost: 127.0.0.1\r\n${JSON_TYPE}Content-Length: 500\r\nConnection: close\r\n\r\n{"prompt":"cut`,
                { timeoutMs: 300 },
            )
            .catch(() => {});
        assert.equal((await s.ask('still here')).status, 200);
        assert.ok(performance.now() - start < 5000 * STRETCH);
    });

    s.test('a chunked body is read', async () => {
        const body = '{"query":"in pieces"}';
        const chunks = [body.slice(0, 7), body.slice(7)].map((c) => `${c.length.toString(16)}\r\n${c}\r\n`).join('');
        const res = await s.raw(
            `POST /query HTTP/1.1\r\nHost: 127.0.0.1\r\n${JSON_TYPE}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunks}0\r\n\r\n`,
        );
        assert.match(res.text, /Processed: in pieces/);
    });

    s.test('Expect: 100-continue is honoured or refused, not left hanging', async () => {
        const res = await s.raw(post(`${JSON_TYPE}Expect: 100-continue\r\n`, '{"prompt":"x"}'));
        assert.ok([100, 200, 417].includes(res.status), `${res.status}`);
    });

    s.test('many bad ones at once', async () => {
        await inParallel(200, 50, async (i) => {
            const res = i % 2 ? await s.post(QUERY, '{"prompt":') : await s.get(`/nothing-${i}`);
            assertError(res, i % 2 ? 400 : 404);
        });
    });
});
