'use strict';
/*
 * Secrets in logs: every key that carpool knows or is given is provoked into its errors, and then no file of the
 * instance, nor what its programs print, may hold one. The lines of programs are JSON, at the level asked for, and say
 * which request they are about.
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, after } = require('node:test');
const { useStack, until, PROVIDER_KEY, RFC3339_MS } = require('./harness');

const API_KEY = 'callers-canary-a1b2c3d4';
const ADMIN_KEY = 'admins-canary-e5f6a7b8';
const PUT_KEY = 'put-canary-without-a-shape';
const CALLER_KEY = 'sk-invoke-canary-0123456789ab';
const OTHERS_KEY = 'AIzaSyCanaryOfSomebodyElse0123';
const REDIS_PASSWORD = 'redis-canary-99887766';
const KAFKA_PASSWORD = 'kafka-canary-55443322';
const URL_PASSWORD = 'url-canary-11223344';
const ALL = [PROVIDER_KEY, API_KEY, ADMIN_KEY, PUT_KEY, CALLER_KEY, OTHERS_KEY, REDIS_PASSWORD, KAFKA_PASSWORD, URL_PASSWORD];

const asAdmin = { headers: { Authorization: `Bearer ${ADMIN_KEY}` } };
const asCaller = { headers: { 'X-API-Key': API_KEY } };

/* The lines of the programs' own logs. */
function lines(s) {
    return ['front.log', path.join('s', 'logs', 'coordinator.log')]
        .map((name) => path.join(s.dir, name))
        .filter((file) => fs.existsSync(file))
        .flatMap((file) => fs.readFileSync(file, 'utf8').split('\n'))
        .filter((line) => line.startsWith('{'))
        .map((line) => JSON.parse(line));
}

function assertNoCanary(s, allowed = []) {
    for (const secret of ALL) {
        const found = s.filesWith(secret).filter((file) => !allowed.includes(file));
        assert.deepEqual(found, [], `${secret.slice(0, 12)}… stands in a file`);
    }
}

/* The store holds what was asked, word for word; what people and programs read in passing does not. */
const STORE = ['s/data.mdb', 's/provider.key', 'kafka.properties'];

describe('canaries', () => {
    const properties = path.join(fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'cp-k-')), 'kafka.properties');
    fs.writeFileSync(properties, `sasl.password = ${KAFKA_PASSWORD}\nno.such.${KAFKA_PASSWORD} = 1\n`, { mode: 0o600 });
    after(() => fs.rmSync(path.dirname(properties), { recursive: true }));
    const s = useStack({
        provider: 'openai',
        ready: ['ok', 'degraded'] /* Redis is not there */,
        env: {
            API_KEY,
            ADMIN_KEY,
            LLM_DEBUG: 'true',
            REDIS_URL: `redis://user:${REDIS_PASSWORD}@127.0.0.1:9/0`,
            KAFKA_ENABLED: 'true',
            KAFKA_BOOTSTRAP_SERVERS: '127.0.0.1:9',
            CARPOOL_KAFKA_OPTIONS_FILE: properties,
            CARPOOL_BATCH_HIGH_WINDOW_MS: '5',
            CARPOOL_RETRY_ATTEMPTS: '0',
            CARPOOL_RETRY_BREAKER_FAILURES: '0',
        },
    });
    const ask = (id, prompt, priority = 'HIGH') => s.ask(prompt, { request_id: id, priority }, asCaller);

    s.test('a provider that repeats keys in its errors', async () => {
        for (const [i, status] of [400, 401, 403, 429, 500, 503].entries()) {
            s.fake.next({ do: 'status', status, message: `${PROVIDER_KEY} and ${OTHERS_KEY} and Bearer ${API_KEY}` });
            const res = await ask(`error-${i}`, `error ${status}`);
            assert.ok(res.status >= 400);
            for (const secret of ALL) assert.ok(!res.text.includes(secret), res.text);
        }
    });

    s.test("a caller's own key, repeated by the provider", async () => {
        s.fake.keys = null;
        const key = 'sk-own.canary.in.short.pieces';
        for (const own of [CALLER_KEY, key]) {
            s.fake.next({ do: 'status', status: 401, message: `Incorrect API key provided: ${own}` });
            const body = { request_id: `invoke-${own.length}`, user_prompt: 'hello', model: 'gpt-4o-mini', openai_api_key: own };
            const res = await s.post('/invoke', body, { ...asCaller, check: false });
            assert.ok(!res.text.includes(own), res.text);
            assert.equal(res.status, 401, res.text);
        }
        assert.deepEqual(s.filesWith(key), []);
    });

    s.test('keys in prompts, in request ids and in urls', async () => {
        const keys = ALL.filter((key) => ![PROVIDER_KEY, URL_PASSWORD, PUT_KEY].includes(key));
        await ask(`id-${OTHERS_KEY}`, `Is ${keys.join(' or ')} a good key?\n${CALLER_KEY}\n\tredis://user:${REDIS_PASSWORD}@host`);
        await s.get(`/v1/chat?key=${OTHERS_KEY}&limit=x`, { ...asCaller, check: false });
        await s.get(`/nowhere/${CALLER_KEY}`, { ...asCaller, check: false });
    });

    s.test('wrong keys of callers', async () => {
        for (const key of [CALLER_KEY, OTHERS_KEY])
            await s.get('/v1/chat', { headers: { Authorization: `Bearer ${key}` }, check: false });
    });

    s.test('a key that is put, then repeated by its provider; an address with a password', async () => {
        const put = await s.put('/v1/settings', { provider: { api_key: PUT_KEY } }, { ...asAdmin, check: false });
        const other = await s.put('/v1/settings', { api_key: PUT_KEY }, { ...asAdmin, check: false });
        assert.ok([put, other].some((res) => res.status === 200), `${put.text} ${other.text}`);
        s.fake.keys = null;
        s.fake.next({ do: 'status', status: 400, message: `the key ${PUT_KEY} is not good` });
        const res = await ask('put-1', 'with another key');
        assert.ok(!res.text.includes(PUT_KEY), res.text);
        await s.put('/v1/settings', { base_url: `http://user:${URL_PASSWORD}@127.0.0.1:9/v1` }, { ...asAdmin, check: false });
        await ask('put-2', 'to another address');
    });

    s.test('none of them is in a file but in the store', async () => {
        await until('the events are written', () => s.events().some((e) => e.request_id === 'put-2'));
        await new Promise((resolve) => setTimeout(resolve, 300));
        const dir = path.join(s.storage, 'logs');
        const written = fs.readdirSync(dir).filter((name) => fs.statSync(path.join(dir, name)).size > 0);
        for (const name of ['events.jsonl', 'llm_request_response.log', 'individual_request_response.log', 'llm-requests.jsonl', 'llm-errors.jsonl'])
            assert.ok(written.includes(name), `${name}: ${written}`);
        assertNoCanary(s, STORE);
        const calls = fs.readFileSync(path.join(dir, 'llm_request_response.log'), 'utf8');
        assert.match(calls, /\*{20}/);
        s.secrets.length = 0; /* the put one replaced it, and the store has both in prompts */
    });

    s.test('lines are JSON, each about a request says which', async () => {
        const all = lines(s);
        for (const line of all) {
            assert.deepEqual(Object.keys(line), ['time', 'level', 'program', 'pid', 'request_id', 'message']);
            assert.match(line.time, RFC3339_MS);
        }
        const of = (id) => all.filter((line) => line.request_id === id);
        assert.ok(of('error-4').some((line) => line.level === 'warning' || line.level === 'error'), 'a refusal is logged');
        assert.ok(of('error-0').some((line) => line.level === 'debug' && /POST \/v1\/query: 400/.test(line.message)));
        assert.ok(all.some((line) => line.program === 'carpoold'));
    });
});

describe('levels', () => {
    const s = useStack({ env: { LLM_LOG_LEVEL: 'ERROR' } });
    s.test('what is less important than LLM_LOG_LEVEL is not written', async () => {
        await s.ask('quiet', { priority: 'HIGH' });
        assert.deepEqual(
            lines(s).filter((line) => line.level !== 'error'),
            [],
        );
    });
});
