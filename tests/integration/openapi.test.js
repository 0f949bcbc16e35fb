'use strict';
/* web/openapi.json itself: complete, consistent, and what the service serves. That responses fit it is checked
 * by the client in every other test; here each endpoint is asked once for good measure. */
const { describe, test } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, openapi } = require('./harness');

const doc = openapi?.document;
const METHODS = ['get', 'post', 'put', 'delete', 'options'];
const operations = () =>
    Object.entries(doc.paths).flatMap(([path, item]) =>
        METHODS.filter((m) => item[m]).map((m) => [`${m.toUpperCase()} ${path}`, item[m]]),
    );

function* nodes(value, at = '#') {
    if (!value || typeof value !== 'object') return;
    yield [at, value];
    for (const [key, child] of Object.entries(value)) yield* nodes(child, `${at}/${key}`);
}

describe('the document', () => {
    test('is OpenAPI 3.1 and has every endpoint of this step', () => {
        assert.ok(doc, 'web/openapi.json is missing');
        assert.match(doc.openapi, /^3\.1\./);
        const wanted = [
            'POST /query',
            'POST /v1/query',
            'POST /generate',
            'POST /invoke',
            'POST /chat',
            'POST /chat/batched',
            'POST /v1/chat/completions',
            'POST /v1/completions',
            'GET /v1/models',
            'GET /v1/models/{name}',
            'GET /v1/requests/{request_id}',
            'GET /v1/chat',
            'DELETE /v1/chat/{request_id}',
            'GET /v1/settings',
            'PUT /v1/settings',
            'GET /v1/analytics',
            'GET /stats',
            'GET /metrics',
            'GET /health',
            'GET /openapi.json',
            'GET /docs',
        ];
        const unnamed = (name) => name.replaceAll(/\{[^}]+\}/g, '{}');
        const have = new Set(operations().map(([name]) => unnamed(name)));
        assert.deepEqual(
            wanted.filter((name) => !have.has(unnamed(name))),
            [],
        );
    });

    test('every $ref leads somewhere and every operation is described', () => {
        for (const [at, node] of nodes(doc))
            if (typeof node.$ref === 'string') assert.doesNotThrow(() => openapi.resolve(node), at);
        const ids = operations().map(([, op]) => op.operationId);
        assert.equal(new Set(ids).size, ids.length, 'operationIds are unique');
        for (const [name, op] of operations()) {
            assert.ok(op.summary || op.description, name);
            assert.ok(Object.keys(op.responses).length > 0, name);
        }
    });

    test('its examples fit its schemas', () => {
        for (const [at, node] of nodes(doc)) {
            if (!node.schema || typeof node.schema !== 'object') continue;
            const examples = [
                node.example,
                ...Object.values(node.examples ?? {}).map((e) => openapi.resolve(e).value),
            ].filter((e) => e !== undefined);
            for (const example of examples) assert.deepEqual(openapi.validate(node.schema, example), [], at);
        }
    });

    test('the checker sees what is wrong', () => {
        const schema = {
            type: 'object',
            required: ['a'],
            properties: {
                a: { type: ['integer', 'null'], minimum: 1 },
                b: { type: 'array', items: { enum: ['x'] } },
                c: { type: 'string', format: 'date-time' },
            },
        };
        assert.deepEqual(openapi.validate(schema, { a: 5, b: ['x'], c: '2026-01-01T00:00:00Z', d: 1 }), []);
        for (const wrong of [{}, { a: 0 }, { a: '5' }, { a: 1.5 }, { a: 1, b: ['y'] }, { a: 1, c: 'today' }, []])
            assert.ok(openapi.validate(schema, wrong).length, JSON.stringify(wrong));
        assert.throws(() => openapi.validate({ typ: 'object' }, {}), /not known/);
    });
});

describe('the service', () => {
    const s = useStack({ env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });

    s.test('serves the document', async () => {
        const res = await s.get('/openapi.json');
        assert.equal(res.status, 200);
        assert.match(res.headers['content-type'], /^application\/json/);
        const { servers, ...served } = res.json;
        const { servers: filed, ...wanted } = doc;
        assert.deepEqual(served, wanted);
    });

    s.test('answers every endpoint as documented', async () => {
        await s.post('/query', { query: 'documented?' });
        await s.post('/v1/query', { prompt: 'documented?', request_id: 'doc-1', username: 'u', metadata: { a: 1 } });
        await s.post(
            '/v1/query',
            { prompt: 'documented?', request_id: 'doc-2' },
            { headers: { Prefer: 'respond-async' } },
        );
        await s.post('/generate', { prompt: 'documented' });
        await s.post('/invoke', { user_prompt: 'documented?', metadata: { a: 1 } });
        await s.post('/invoke', { user_prompt: 'documented?', model: 'none' });
        await s.post('/chat', { chat_id: '1', user_prompt: 'documented?' });
        await s.post('/chat/batched', { queries: [{ chat_id: '1', user_prompt: 'documented?' }, {}] });
        await s.post('/v1/chat/completions', { messages: [{ role: 'user', content: 'documented?' }] });
        await s.post('/v1/completions', { prompt: ['documented', 'indeed'] });
        for (const path of [
            '/v1/models',
            '/v1/models/mock',
            '/v1/models/none',
            '/v1/requests/doc-2?wait=5',
            '/v1/requests/nobody',
            '/v1/chat',
            '/v1/chat?limit=1',
            '/v1/chat?limit=x',
            '/v1/settings',
            '/v1/analytics',
            '/stats',
            '/metrics',
            '/health',
            '/docs',
        ])
            await s.get(path);
        await s.put('/v1/settings', { high_priority: { tokens: 10 } });
        await s.put('/v1/settings', { colour: 1 });
        await s.delete('/v1/chat/doc-1');
        await s.get('/v1/requests/doc-1');
        await s.delete('/v1/chat/nobody');
        const checked = new Set(
            [...openapi.seen.keys()].map((key) => key.replace(/ \d+$/, '').replaceAll(/\{[^}]+\}/g, '{}')),
        );
        const missing = operations()
            .map(([name]) => name.replaceAll(/\{[^}]+\}/g, '{}'))
            .filter((name) => !checked.has(name) && !/^OPTIONS/.test(name));
        assert.deepEqual(missing, []);
    });
});
