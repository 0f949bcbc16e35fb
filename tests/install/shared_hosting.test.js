'use strict';
/*
 * make shared-hosting under a real Apache with mod_fcgid, from .htaccess alone, as an ordinary user: endpoints, keys,
 * pages, what must not be served, the host's limits on bodies, processes and memory, update, restart, idle exit.
 */
const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { SharedHost, until, STRETCH } = require('./site');
const { isAlive } = require('../integration/harness');
const { everyEndpoint, makeKeys, keysInEachWay, pages, noOtherFile, bodyOf } = require('./endpoints');

const QUICK = '[batch_high]\nwindow_ms = 50\n[batch_medium]\nwindow_ms = 100\n';
const NOTICE = 3500; /* ms until mod_fcgid's process manager, which looks every 3 s, passes a signal on */
const LEAVE = 7000; /* ms that a worker takes at most from then on */

function withSite(options, body) {
    const ref = { s: null };
    before(async () => {
        ref.s = await SharedHost.start(options);
    });
    after(() => ref.s?.stop());
    body((name, run) =>
        test(name, { timeout: 90000 * STRETCH }, async (t) => {
            ref.s.fake?.reset();
            try {
                await run(ref.s, t);
            } catch (e) {
                for (const line of ref.s.logs().split('\n')) t.diagnostic(line);
                throw e;
            }
        }),
    );
}

describe('a site of one’s own', () => {
    withSite({ provider: 'openai', conf: QUICK, apache: 'FcgidSpawnScoreUpLimit 100' }, (it) => {
        it('all endpoints, without a key from this machine', (s) => everyEndpoint(s));
        it('programs, settings and store are outside of what Apache serves, and nobody else’s', (s) => {
            const mode = (file) => (fs.statSync(file).mode & 0o7777).toString(8);
            assert.equal(mode(s.data), '700');
            assert.equal(mode(s.confFile), '600');
            assert.equal(mode(s.storage), '700');
            for (const name of ['', 'prompt.fcgi', 'manage.fcgi']) assert.equal(fs.statSync(path.join(s.site, name)).mode & 0o022, 0, `suexec refuses what others may write: ${name}`);
            assert.deepEqual(fs.readdirSync(s.site).filter((name) => !/^(assets|vendor)$/.test(name)).sort(), ['.htaccess', 'docs.html', 'index.html', 'manage.fcgi', 'prompt.fcgi']);
        });
        it('pages come with their headers', (s) => pages(s));
        it('nothing but pages is a file, and what the authorities of certificates ask for', async (s) => {
            fs.mkdirSync(path.join(s.site, '.well-known/acme-challenge'), { recursive: true });
            fs.writeFileSync(path.join(s.site, '.well-known/acme-challenge/a_token-1'), 'for them');
            const challenge = await s.ask('GET', '/.well-known/acme-challenge/a_token-1', { check: false });
            assert.deepEqual([challenge.status, challenge.text], [200, 'for them']);
            fs.writeFileSync(path.join(s.site, '.well-known/acme-challenge/x.html'), 'secret');
            fs.writeFileSync(path.join(s.site, 'notes.txt'), 'secret');
            fs.writeFileSync(path.join(s.site, 'assets/.hidden.js'), 'secret');
            fs.writeFileSync(path.join(s.site, 'assets/style.css~'), 'secret');
            await noOtherFile(s, ['/.htaccess', '/.well-known/acme-challenge/', '/.well-known/acme-challenge/x.html', '/.well-known/acme-challenge/a_token-1/..', '/prompt.fcgi', '/manage.fcgi', '/notes.txt', '/assets/', '/assets/.hidden.js', '/assets/style.css~', '/carpool.conf', '/assets/../prompt.fcgi', '/assets/%2e%2e/manage.fcgi']);
        });
        it('a body of 131,072 bytes passes, and one more is Apache’s to refuse', async (s) => {
            const send = (bytes) => s.ask('POST', '/v1/query', { body: bodyOf(bytes), check: false });
            const fits = await send(131072);
            assert.equal(fits.status, 200, fits.text);
            const over = await send(131073);
            assert.equal(over.status, 500);
            assert.match(over.headers['content-type'], /text\/html/);
        });
        it('the doctor finds nothing wrong but that limit', async (s) => {
            const said = await s.examine();
            assert.deepEqual(said.filter((c) => c.state === 'fail'), []);
            for (const name of ['web.handler', 'web.authorization', 'web.x_api_key', 'web.private']) assert.ok(said.some((c) => c.check === name && c.state === 'ok'), name);
            assert.match(said.find((c) => c.check === 'web.body').message, /131072 bytes.*FcgidMaxRequestLen/s);
        });
        it('keys go through in each way', async (s) => {
            const { client } = makeKeys(s);
            await keysInEachWay(s, client);
            await everyEndpoint(s);
            /* As many hosts' own recipes have it: the rewriting, which brings the header as REDIRECT_HTTP_AUTHORIZATION. */
            const file = path.join(s.site, '.htaccess');
            const text = fs.readFileSync(file, 'utf8');
            const without = text.replace(/^ *SetEnvIf Authorization.*\n/m, '');
            fs.writeFileSync(file, without);
            assert.equal((await s.query('hello', {}, { headers: { Authorization: `Bearer ${client}` } })).status, 401, 'Apache keeps it to itself');
            fs.writeFileSync(file, without.replace('RewriteEngine On', '$&\n    RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]'));
            await keysInEachWay(s, client);
            fs.writeFileSync(file, text);
        });
        it('an update while prompts run: the old programs answer them, new ones the next', async (s) => {
            s.fake.latencyMs = 3000;
            const asked = [0, 1, 2].map((i) => s.query(`during the update ${i}`, { priority: 'HIGH' }, { headers: s.asAdmin }));
            await until('they are at the provider', () => s.fake.calls.length > 0);
            const kept = fs.readFileSync(s.confFile, 'utf8');
            const old = s.named('carpool.fcgi').map((p) => p.pid);
            const htaccess = path.join(s.site, '.htaccess');
            const own = '\n# of the site’s owner\nHeader always set X-Own kept\n';
            fs.appendFileSync(htaccess, own);
            const edited = fs.readFileSync(htaccess, 'utf8');
            const said = s.lay();
            assert.match(said, /stays as it is/);
            assert.match(said, /until it leaves:\n +\/.*\/bin\/carpoolctl drain\n$/);
            assert.doesNotMatch(said, /key create/);
            assert.match(s.warned, /^$/);
            assert.equal(fs.readFileSync(htaccess, 'utf8'), edited, 'what its owner wrote is there, once');
            assert.equal((await s.ask('GET', '/health', { headers: s.asAdmin, check: false, fresh: true })).headers['x-own'], 'kept');
            s.lay('--base-path=/other');
            assert.match(s.warned, /base_path = \/llm, but .* looks like \/other/);
            assert.equal(fs.readFileSync(s.confFile, 'utf8'), kept);
            for (const res of await Promise.all(asked)) assert.equal(res.status, 200, res.text);
            s.fake.latencyMs = 0;
            assert.equal((await s.query('after it', { priority: 'HIGH' }, { headers: s.asAdmin, fresh: true })).status, 200);
            assert.ok(old.length >= 3);
            await until('the old programs have left', () => !s.named('carpool.fcgi').some((p) => old.includes(p.pid)), 15000);
        });
        it('graceful restart and stop under load: nobody’s answer is lost, nothing is bought twice', async (s, t) => {
            for (const [word, signal] of [['graceful', 'SIGUSR1'], ['stop', 'SIGTERM']]) {
                s.fake.latencyMs = 4000;
                const ids = [0, 1, 2, 3].map((i) => `${word}-${i}`);
                const asked = ids.map((id) => s.query(`prompt of ${id}`, { request_id: id, priority: 'HIGH' }, { headers: s.asAdmin, check: false, fresh: true }).catch((e) => ({ status: e.message })));
                await until('all are at the provider', () => ids.every((id) => s.fake.callsWith(id).length));
                const workers = s.named('carpool.fcgi').map((p) => p.pid);
                s.front.kill(signal);
                const start = performance.now();
                await until('the workers are gone', () => !workers.some((pid) => s.named('carpool.fcgi').some((p) => p.pid === pid)), NOTICE + LEAVE);
                t.diagnostic(`${word}: workers gone after ${(performance.now() - start).toFixed(0)} ms`);
                const seen = (await Promise.all(asked)).map((r) => r.status);
                if (signal === 'SIGTERM') {
                    await s.frontExit;
                    await s.launch();
                    await until('it serves again', async () => (await s.ask('GET', '/health', { fresh: true, check: false })).status === 200, 10000);
                } else assert.deepEqual(seen, [200, 200, 200, 200]);
                s.fake.latencyMs = 0;
                for (const id of ids) {
                    const done = await until(`${id} is done`, async () => {
                        const r = await s.ask('GET', `/v1/requests/${id}`, { headers: s.asAdmin, fresh: true, check: false });
                        return r.json?.status === 'done' && r.json;
                    }, 15000);
                    assert.equal(done.response.text, `Answer to: prompt of ${id}`);
                    assert.equal(s.fake.callsWith(id).length, 1, `${id} was sent once`);
                }
            }
        });
    });
});

describe('a host that allows five processes', () => {
    const conf = '[batch_low]\nwindow_ms = 30000\nmax_batch = 20\n';
    withSite({ provider: 'openai', conf, processes: 5, apache: 'FcgidMaxProcesses 5\nFcgidSpawnScoreUpLimit 100' }, (it) => {
        it('a batch leaves when every process waits, not when its window ends', async (s) => {
            const start = performance.now();
            const asked = await Promise.all([0, 1, 2, 3].map((i) => s.query(`waiting ${i}`, { priority: 'LOW' }, { fresh: true })));
            const took = performance.now() - start;
            for (const res of asked) assert.equal(res.status, 200, res.text);
            assert.equal(s.fake.calls.length, 1, 'one call for all');
            assert.ok(took < 15000 * STRETCH, `${took} ms, and the window is 30 s`);
        });
        it('and not before: three may still be joined by a fourth', async (s) => {
            const asked = [0, 1, 2].map((i) => s.query(`three ${i}`, { priority: 'LOW' }, { fresh: true }));
            const left = await Promise.race([Promise.all(asked), new Promise((resolve) => setTimeout(resolve, 2500, 'wait'))]);
            assert.equal(left, 'wait');
            const last = s.query('the fourth', { priority: 'LOW' }, { fresh: true });
            for (const res of await Promise.all([...asked, last])) assert.equal(res.status, 200, res.text);
        });
    });
});

describe('500 MB of address space, and a coordinator that leaves', () => {
    withSite({ provider: 'openai', conf: QUICK, idleExit: 2, limits: '-v 512000', apache: 'FcgidSpawnScoreUpLimit 100' }, (it) => {
        it('all endpoints work under that limit, for worker and coordinator', async (s) => {
            await everyEndpoint(s);
            for (const p of [...s.named('carpool.fcgi'), ...s.named('carpoold')])
                assert.match(fs.readFileSync(`/proc/${p.pid}/limits`, 'utf8'), /Max address space +524288000 /, p.name);
            assert.equal(s.named('carpoold').length, 1);
        });
        it('a poll that would outlast the host’s 40 s is answered before', async (s) => {
            s.fake.latencyMs = 33000; /* then nothing runs, and the coordinator may leave */
            const asked = s.ask('POST', '/v1/query', { body: { prompt: 'slow', request_id: 'slow-1' }, headers: { Prefer: 'respond-async' } });
            assert.equal((await asked).status, 202);
            const res = await s.ask('GET', '/v1/requests/slow-1?wait=60');
            assert.equal(res.json.status, 'running', res.text);
            assert.ok(res.ms > 25000 && res.ms < 39000, `${res.ms} ms`);
            s.fake.latencyMs = 0;
        });
        it('it leaves when nothing is asked, and the next prompt brings it back', async (s) => {
            assert.equal((await s.query('hello', { priority: 'HIGH' })).status, 200);
            const first = s.coordinatorPid();
            await until('it has left', () => !isAlive(first), 15000);
            assert.equal((await s.ask('GET', '/health')).json.dependencies.coordinator.status, 'idle');
            assert.equal((await s.query('hello again', { priority: 'HIGH' })).status, 200);
            assert.notEqual(s.coordinatorPid(), first);
        });
    });
});
