'use strict';
/* What the tests of POST /invoke share: source document 4's requests word for word, and its answer, key for key. */
const assert = require('node:assert/strict');
const { RFC3339_MS } = require('./harness');

const invoke = (s, body, options) => s.post('/invoke', body, options);
const SEED_KEY = 'sk-your-api-key-here';
const KEYS = Array.from({ length: 3 }, (_, i) => `sk-caller-canary-${i}-b81f3c`);
/* What has to meet in a call asks with LOW. */
const WINDOWS = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '80',
    CARPOOL_BATCH_LOW_WINDOW_MS: '3000',
};

/* The requests of source 4, as they stand there. */
const SEEDS = {
    basic: `{
    "request_id": "550e8400-e29b-41d4-a716-446655440000",
    "user_prompt": "Explain quantum computing in simple terms",
    "openai_api_key": "sk-your-api-key-here",
    "model": "gpt-4o-mini",
    "temperature": 0.7,
    "max_tokens": 500
  }`,
    system: `{
  "request_id": "550e8400-e29b-41d4-a716-446655440001",
  "user_prompt": "Explain quantum computing",
  "system_prompt": "You are a physics professor. Explain concepts clearly and concisely.",
  "openai_api_key": "sk-your-api-key-here"
}`,
    messages: `{
  "request_id": "550e8400-e29b-41d4-a716-446655440002",
  "user_prompt": "Follow up question",
  "openai_api_key": "sk-your-api-key-here",
  "messages": [
    {"type": "system", "content": "You are a helpful assistant."},
    {"type": "human", "content": "What is quantum computing?"},
    {"type": "ai", "content": "Quantum computing is a type of computation..."},
    {"type": "human", "content": "Can you give me a simple example?"}
  ]
}`,
};
const keysOf = (object) => Object.keys(object);
const bearer = (call) => call.headers.authorization;

/* Source 4's response, key for key and in its order; what is added stands behind. */
function assertAnswer(res, { id, cached = false } = {}) {
    assert.equal(res.status, 200, res.text);
    const { json } = res;
    assert.deepEqual(keysOf(json), [
        'success',
        'request_id',
        'data',
        'usage',
        'performance',
        'model',
        'cached',
        'timestamp',
        'error',
        'batch_id',
        'priority',
        ...('metadata' in json ? ['metadata'] : []),
    ]);
    assert.deepEqual(keysOf(json.data), ['response', 'confidence']);
    assert.deepEqual(keysOf(json.usage), ['prompt_tokens', 'completion_tokens', 'total_tokens']);
    assert.deepEqual(keysOf(json.performance), [
        'request_latency_ms',
        'llm_latency_ms',
        'cache_hit',
        'retry_count',
        'rate_limited',
    ]);
    assert.equal(json.success, true);
    assert.equal(json.error, null);
    assert.match(json.timestamp, RFC3339_MS);
    assert.ok(Math.abs(Date.parse(json.timestamp) - Date.now()) < 60000, json.timestamp);
    assert.equal(json.usage.total_tokens, json.usage.prompt_tokens + json.usage.completion_tokens);
    assert.equal(json.cached, cached);
    assert.equal(json.performance.cache_hit, cached);
    if (id) assert.equal(json.request_id, id);
    assert.equal(res.headers['x-request-id'], json.request_id);
    return json;
}

/* No key of a caller is in any file of ours, nor in what we tell of chats, settings and ourselves. prompt was asked. */
async function assertNothingLeft(s, stack, prompt) {
    for (const key of [SEED_KEY, ...KEYS]) assert.deepEqual(stack.filesWith(key), []);
    assert.ok(stack.filesWith(prompt).length > 0, 'the search finds what is there');
    for (const path of ['/v1/chat', '/v1/settings', '/v1/analytics', '/health']) {
        const { text } = await s.get(path);
        for (const key of [SEED_KEY, ...KEYS]) assert.ok(!text.includes(key), path);
    }
}

module.exports = { invoke, SEED_KEY, KEYS, WINDOWS, SEEDS, keysOf, bearer, assertAnswer, assertNothingLeft };
