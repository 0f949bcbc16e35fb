'use strict';
/* GET /metrics: what Prometheus accepts (a strict reader, and promtool where it is installed), the same figures
 * as /stats, histograms that are exact; and the dashboard and scrape configuration in etc/ fit it. */
const { describe, test, before } = require('node:test');
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { useStack, until, ROOT, STRETCH } = require('./harness');
const { parseExposition } = require('./exposition');

const TYPE = 'text/plain; version=0.0.4; charset=utf-8';
const MODEL = 'gpt-4o-mini';
/* The price table of the sample configuration, as somebody would use it. */
const sample = fs.readFileSync(path.join(ROOT, 'etc', 'carpool.conf'), 'utf8');
const prices = [...sample.matchAll(/^# (\S+ = [\d.]+ [\d.]+)$/gm)].map(([, line]) => line);
const hasPromtool = spawnSync('promtool', ['--version']).status === 0;

/* Runs promtool on input or files, and wants it to be content. */
function promtool(args, input) {
    const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
    assert.equal(status, 0, `promtool ${args.join(' ')}: ${stdout}${stderr}`);
    assert.equal(stderr, '', `promtool ${args.join(' ')} has something to say: ${stderr}`);
}

const scrape = async (s) => {
    const res = await s.get('/metrics');
    assert.equal(res.status, 200, res.text);
    assert.equal(res.headers['content-type'], TYPE);
    if (hasPromtool) promtool(['check', 'metrics'], res.text);
    return parseExposition(res.text);
};
/* Medium and low ones are sent by the batch, and wait until it is full. */
const env = (more = {}) => ({
    CARPOOL_BATCH_HIGH_WINDOW_MS: '50',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '30000',
    CARPOOL_BATCH_LOW_WINDOW_MS: '30000',
    CARPOOL_BATCH_LOW_MAX_BATCH: '3',
    CARPOOL_RETRY_BASE_MS: '20',
    ...more,
});

describe('figures', () => {
    const s = useStack({
        provider: 'openai',
        env: env({ CARPOOL_PROVIDER_MODEL: MODEL }),
        conf: `[prices]\n${prices.join('\n')}\n`,
    });
    const send = (n, priority) =>
        Promise.all(Array.from({ length: n }, (_, i) => s.ask(`${priority} ${i}`, { priority })));

    s.test('before the first prompt all is there, and zero', async () => {
        const m = await scrape(s);
        assert.equal(m.value('carpool_coordinator_up'), 0);
        assert.equal(m.value('carpool_build_info'), 1);
        assert.equal(m.value('carpool_prompts_total', { priority: 'low' }), 0);
        assert.equal(m.value('carpool_latency_seconds_count', { priority: 'high' }), 0);
        assert.equal(m.value('carpool_queue_depth', { priority: 'high' }), undefined, 'not known is not 0');
    });

    s.test('they are those of /stats', async () => {
        const window = async (window_ms) => assert.equal((await s.put('/v1/settings', { high_priority: { window_ms } })).status, 200);
        await window(30000);
        await Promise.all([send(6, 'HIGH'), send(4, 'MEDIUM'), send(3, 'LOW')]);
        await window(50);
        const body = { request_id: 'again', prompt: 'again', priority: 'HIGH' };
        for (let i = 0; i < 3; i++) await s.post('/v1/query', body);
        s.fake.next({ do: 'status', status: 429 }, 2);
        assert.equal((await s.ask('third time lucky', { priority: 'HIGH' })).status, 200);
        await s.ask('x', { priority: 'urgent' });
        const stats = await until('all is counted', async () => {
            const { json } = await s.get('/stats');
            return json.responses.by_route['POST /v1/query'] === 18 && json;
        });
        const m = await scrape(s);
        const by = (object, name, label, more) =>
            Object.entries(object).forEach(([key, n]) =>
                assert.equal(m.sum(name, { [label]: key, ...more }), n, `${name} ${key}`),
            );
        by(stats.requests.by_priority, 'carpool_prompts_total', 'priority');
        by(stats.requests.by_endpoint, 'carpool_endpoint_prompts_total', 'endpoint');
        by(stats.calls.by_priority, 'carpool_provider_calls_total', 'priority');
        by(stats.batches.by_priority, 'carpool_batches_total', 'priority');
        by(stats.batches.flush_reasons, 'carpool_batch_flushes_total', 'reason');
        by(stats.errors.by_type, 'carpool_errors_total', 'type');
        by(stats.errors.by_code, 'carpool_errors_total', 'code');
        by(stats.retries.by_reason, 'carpool_retries_total', 'reason');
        by(stats.retries.by_attempt, 'carpool_retries_total', 'attempt');
        by({ batch: 10, replay: 2, join: 0 }, 'carpool_calls_saved_total', 'by');
        by({ replay: stats.tokens_saved.replay, join: 0 }, 'carpool_tokens_saved_total', 'by');
        by({ 200: 17, 400: 1 }, 'carpool_http_responses_total', 'status', { route: '/v1/query', method: 'POST' });
        assert.deepEqual(stats.retries.by_attempt, { 1: 1, 2: 1 });
        assert.equal(m.value('carpool_replays_total'), 2);
        for (const kind of ['prompt', 'completion'])
            assert.equal(m.value('carpool_tokens_total', { model: MODEL, kind }), stats.tokens[kind]);
        const usd = (stats.tokens.prompt * 0.15 + stats.tokens.completion * 0.6) / 1e6;
        assert.ok(Math.abs(m.value('carpool_cost_usd_total', { model: MODEL }) - usd) < 1e-12 && usd > 0);
        assert.deepEqual([stats.unpriced_models, stats.tokens_saved.replay > 0], [[], true]);
    });

    s.test('live figures are there while a coordinator is', async () => {
        const m = await scrape(s);
        assert.equal(m.value('carpool_coordinator_up'), 1);
        assert.ok(Math.abs(m.value('process_start_time_seconds') - Date.now() / 1000) < 60 * STRETCH);
        assert.ok(m.value('carpool_prompts_per_second') > 0);
        assert.equal(m.value('carpool_breaker_state', { state: 'closed' }), 1);
        assert.equal(m.sum('carpool_breaker_state'), 1);
        for (const name of ['carpool_queue_depth', 'carpool_queue_oldest_age_seconds'])
            assert.equal(m.value(name, { priority: 'medium' }), 0);
    });

    s.test('times fall into their buckets, exactly', async () => {
        const m0 = await scrape(s);
        const results = await send(4, 'MEDIUM');
        const m1 = await scrape(s);
        const latencies = results.map((res) => res.json.latency_ms / 1000);
        const grown = (name, labels) => m1.value(name, labels) - m0.value(name, labels);
        const bucketsOf = (name) => m1.samples.filter((x) => x.name === name && x.labels.priority === 'medium');
        const buckets = bucketsOf('carpool_latency_seconds_bucket');
        assert.ok(buckets.length >= 15);
        for (const { labels } of buckets) {
            const le = labels.le === '+Inf' ? Infinity : Number(labels.le);
            const below = latencies.filter((v) => v < le).length;
            assert.equal(grown('carpool_latency_seconds_bucket', labels), below, labels.le);
        }
        const sum = latencies.reduce((a, b) => a + b, 0);
        const seen = grown('carpool_latency_seconds_sum', { priority: 'medium' });
        assert.ok(Math.abs(seen - sum) < 5e-7, `${seen}, not ${sum}`);
        assert.equal(grown('carpool_latency_seconds_count', { priority: 'medium' }), 4);
        for (const { labels, value } of bucketsOf('carpool_batch_members_bucket'))
            assert.equal(value, labels.le === '+Inf' || Number(labels.le) >= 4 ? 2 : 0, 'two batches of four');
        assert.equal(m1.value('carpool_batch_members_sum', { priority: 'medium' }), 8);
    });

    s.test('counters never go back, not even over kill -9 of the coordinator', async () => {
        const m0 = await scrape(s);
        const pid = s.coordinatorPid();
        process.kill(pid, 'SIGKILL');
        assert.equal((await s.ask('after that', { priority: 'HIGH' })).status, 200);
        assert.notEqual(s.coordinatorPid(), pid);
        const m1 = await scrape(s);
        const before = m0.samples.filter((x) => /_(total|count|sum|bucket)$/.test(x.name));
        assert.ok(before.length > 200);
        for (const { name, labels, value } of before)
            assert.ok(m1.value(name, labels) >= value, `${name}${JSON.stringify(labels)}`);
        assert.ok(m1.value('process_start_time_seconds') > m0.value('process_start_time_seconds'));
    });

    s.test('HEAD and other methods', async () => {
        const head = await s.request('HEAD', '/metrics', { check: false });
        assert.deepEqual([head.status, head.headers['content-type'], head.text], [200, TYPE, '']);
        assert.equal((await s.request('POST', '/metrics', { body: {} })).status, 405);
    });
});

describe('a model with an odd name', () => {
    const name = 'we"ird\\model é';
    const s = useStack({ env: env({ CARPOOL_PROVIDER_MODEL: name }) });

    s.test('is a label all the same, and has no price', async () => {
        await s.ask('x', { priority: 'HIGH' });
        const m = await scrape(s);
        assert.ok(m.value('carpool_tokens_total', { model: name, kind: 'prompt' }) > 0, JSON.stringify([...m.names]));
        assert.equal(m.value('carpool_cost_usd_total', { model: name }), undefined, 'unknown is not 0');
    });
});

describe('keys', () => {
    const s = useStack({ env: env({ API_KEY: 'client-key-1', ADMIN_KEY: 'admin-key-1' }) });

    s.test('only the admin key opens it', async () => {
        assert.equal((await s.get('/metrics')).status, 401);
        assert.equal((await s.get('/metrics', { headers: { 'X-API-Key': 'client-key-1' } })).status, 403);
        const res = await s.get('/metrics', { headers: { Authorization: 'Bearer admin-key-1' } });
        assert.equal(res.status, 200);
        assert.doesNotMatch(res.text, /client-key|admin-key/);
    });
});

test('the sample price table has the models of source 4, and says what it is worth', () => {
    for (const model of ['gpt-4o-mini', 'gpt-4o', 'gpt-3.5-turbo', 'gpt-3.5-turbo-16k'])
        assert.ok(prices.some((line) => line.startsWith(`${model} = `)), model);
    assert.ok(prices.length >= 10);
    assert.match(sample, /published [^.]* 20\d\d/);
    assert.match(sample, /check\s+(# )?before you rely on it/);
});

describe('etc/grafana/carpool.json', () => {
    const dashboard = JSON.parse(fs.readFileSync(path.join(ROOT, 'etc', 'grafana', 'carpool.json'), 'utf8'));
    const panels = dashboard.panels.filter((p) => p.type !== 'row' && p.type !== 'text');
    const exprs = [
        ...panels.flatMap((p) => p.targets.map((t) => [p.title, t.expr])),
        ...dashboard.annotations.list.map((a) => [a.name, a.expr]),
        ...dashboard.templating.list
            .filter((v) => v.type === 'query')
            .map((v) => [v.name, v.definition.replace(/label_values\((.*), (\w+)\)/, 'sum by ($2) ($1)')]),
    ];
    const plain = (expr) =>
        expr.replaceAll('$instance', 'x').replaceAll('$__rate_interval', '5m').replaceAll('$__range', '1h');
    let m;
    const s = useStack({
        provider: 'openai',
        env: env({ CARPOOL_PROVIDER_MODEL: MODEL }),
        conf: `[prices]\n${prices.join('\n')}\n`,
    });
    before(async () => {
        /* Something in every family, so that its labels can be seen. */
        s.fake.next({ do: 'status', status: 429 });
        await s.ask('x', { priority: 'HIGH' });
        await s.ask('x', { priority: 'none' });
        m = await until('all is counted', async () => {
            const seen = await scrape(s);
            return [...seen.families.values()].every((f) => f.samples.length) && seen;
        });
    });

    s.test('every query uses names and labels that exist', () => {
        assert.ok(exprs.length > 30);
        for (const [title, expr] of exprs) {
            const names = expr.match(/\b(carpool|process)_[a-z_]+/g);
            assert.ok(names, `${title}: no metric`);
            const labels = new Set(['instance', 'job']);
            for (const name of names) {
                assert.ok(m.names.has(name), `${title}: there is no ${name}`);
                for (const sample of m.samples.filter((x) => x.name === name))
                    Object.keys(sample.labels).forEach((label) => labels.add(label));
            }
            const used = [
                ...[...expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, list]) => list.split(/, */)),
                ...[...expr.matchAll(/[{,]\s*([a-z_]+)\s*[=!]/g)].map(([, label]) => label),
            ];
            for (const label of used) assert.ok(labels.has(label), `${title}: no label ${label} in ${expr}`);
        }
        for (const { title, targets } of panels)
            for (const { expr, legendFormat } of targets)
                for (const [, label] of (legendFormat ?? '').matchAll(/\{\{(\w+)\}\}/g))
                    assert.ok(expr.includes(label), `${title}: ${label} is not in ${expr}`);
    });

    s.test('counters of several machines are never added up', () => {
        for (const [title, expr] of exprs)
            for (const [, selector] of expr.matchAll(/\bcarpool_[a-z_]+?_(?:total|bucket|sum|count)\b(\{[^}]*\})?/g))
                assert.match(selector ?? '', /instance="\$instance"/, `${title}: ${expr}`);
    });

    s.test('every metric is on it', () => {
        const all = exprs.map(([, expr]) => expr).join('\n');
        /* Those that a panel shows in another form. */
        const elsewhere = /^carpool_(replays_total|joins_total|answers_total|build_info)$/;
        for (const name of m.families.keys()) assert.ok(elsewhere.test(name) || all.includes(name), name);
    });

    s.test('can be imported: ids, places, data source', () => {
        const ids = dashboard.panels.map((p) => p.id);
        assert.equal(new Set(ids).size, ids.length);
        assert.ok(dashboard.templating.list.some((v) => v.type === 'datasource' && v.name === 'datasource'));
        for (const p of panels) {
            assert.ok(p.title, JSON.stringify(p));
            for (const { datasource } of [p, ...p.targets]) assert.equal(datasource.uid, '${datasource}', p.title);
        }
        const taken = new Set();
        for (const { gridPos: g, title } of dashboard.panels)
            for (let x = g.x; x < g.x + g.w; x++)
                for (let y = g.y; y < g.y + g.h; y++) {
                    assert.ok(x < 24 && !taken.has(`${x} ${y}`), `${title} lies on another panel`);
                    taken.add(`${x} ${y}`);
                }
    });

    s.test('its queries, and etc/prometheus.yml, are what Prometheus reads', (t) => {
        if (!hasPromtool) return t.skip('promtool is not installed');
        const dir = s.stack.dir;
        const rules = exprs.map(([, expr], i) => ({ record: `carpool:${i}`, expr: plain(expr) }));
        fs.writeFileSync(path.join(dir, 'rules.yml'), JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
        promtool(['check', 'rules', path.join(dir, 'rules.yml')]);
        promtool(['check', 'config', '--syntax-only', path.join(ROOT, 'etc', 'prometheus.yml')]);
        const config = fs.readFileSync(path.join(ROOT, 'etc', 'prometheus.yml'), 'utf8');
        assert.match(config, /credentials_file/);
    });
});
