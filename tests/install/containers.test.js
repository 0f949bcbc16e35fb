'use strict';
/*
 * Containers, without Docker: the image's second half is tried in a clean Debian (its packages installed there, make
 * install's tree copied in, its start script run as its user, its health check asked); compose and Kubernetes files are
 * parsed, and what they name has to be there. Whether Docker and Kubernetes like them is not tried here.
 */
const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { execFile, execFileSync, spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');
const { Client } = require('../integration/http_client');
const { ROOT, BUILD, PROVIDER_KEY, STRETCH, freePort, until, cleanEnvironment } = require('../integration/harness');
const { FakeProvider } = require('../integration/fake_provider');
const { SEEDS, SEED_KEY } = require('../integration/invoke');
const { bodyOf, everyEndpoint } = require('./endpoints');
const { SCRIPT: CHROOT, noChroot, copyTo } = require('./chroot.js');

const outputOf = promisify((program, args, done) => execFile(program, args, { encoding: 'utf8' }, (e, out, err) => done(e && new Error(`${e.message}\n${out}${err}`), out)));
const read = (name) => fs.readFileSync(path.join(ROOT, name), 'utf8');
const dockerfile = read('etc/docker/Dockerfile').replaceAll('\\\n', ' ');
const [buildStage, runStage] = dockerfile.split(/^FROM .*$/m).slice(1);
let yaml;
try {
    yaml = require('yaml');
} catch {
    /* npm has not installed what tests need */
}

describe('files', { skip: yaml ? false : 'the parser of YAML is not installed (etc/setup check)' }, () => {
    const parse = (name) =>
        yaml.parseAllDocuments(read(name)).map((doc) => {
            assert.deepEqual([...doc.errors, ...doc.warnings], [], name);
            return doc.toJSON();
        });
    const names = () => new Set(fs.readdirSync(path.join(ROOT, 'lib/base')).filter((name) => name === 'conf_table.c').flatMap(() => [...read('lib/base/conf_table.c').matchAll(/NAME(?:_FOR)?\("([A-Z_]+)"/g)].map((m) => m[1])));

    test('compose: profiles, limits, a grace that is long enough, no rights', () => {
        const [compose] = parse('docker-compose.yml');
        const { carpool, redis, kafka } = compose.services;
        assert.deepEqual([carpool.profiles, redis.profiles, kafka.profiles], [undefined, ['redis'], ['kafka']]);
        for (const service of [carpool, redis, kafka]) assert.match(service.deploy.resources.limits.memory, /^\d+M$/);
        assert.equal(carpool.stop_grace_period, '45s');
        assert.deepEqual(carpool.cap_drop, ['ALL']);
        assert.ok(carpool.read_only);
        assert.ok(fs.existsSync(path.join(ROOT, carpool.build.dockerfile)));
        for (const name of Object.keys(carpool.environment)) assert.ok(names().has(name), `${name} is read by carpool`);
        for (const volume of Object.values(compose.services).flatMap((service) => service.volumes)) assert.ok(volume.split(':')[0] in compose.volumes, volume);
        assert.deepEqual(kafka.volumes, [`kafka:${kafka.environment.KAFKA_LOG_DIRS}`], 'what the broker writes is in its volume');
    });
    test('the sample of .env has names that carpool or compose reads', () => {
        const given = [...read('etc/docker/env.sample').matchAll(/^#?([A-Z][A-Z_]*)=/gm)].map(([, name]) => name);
        const composed = new Set([...read('docker-compose.yml').matchAll(/\$\{([A-Z_]+):-/g)].map(([, name]) => name));
        for (const name of given) assert.ok(names().has(name) || /^CARPOOL_PROVIDER_\w+$/.test(name) || composed.has(name), name);
        /* All of them reach the container, where a name that carpool takes for a misspelt option would keep it from starting. */
        for (const name of given.filter((n) => n.startsWith('CARPOOL_'))) {
            const said = spawnSync(path.join(BUILD, 'carpoolctl'), ['status'], { encoding: 'utf8', env: { ...cleanEnvironment(), [name]: 'x' } });
            assert.doesNotMatch(said.stderr, /There is no option/, name);
        }
    });
    test('Kubernetes: probes, limits, volumes, and names that fit together', () => {
        const all = fs.readdirSync(path.join(ROOT, 'etc/kubernetes')).flatMap((name) => parse(`etc/kubernetes/${name}`));
        const find = (kind, name) => all.find((o) => o.kind === kind && o.metadata.name === name) ?? assert.fail(`no ${kind} ${name}`);
        for (const o of all) assert.ok(o.apiVersion && o.kind && o.metadata?.name);
        const set = find('StatefulSet', 'carpool');
        assert.equal(set.spec.replicas, 3);
        find('Service', set.spec.serviceName);
        const { containers: [c], volumes, securityContext, terminationGracePeriodSeconds } = set.spec.template.spec;
        assert.ok(c.startupProbe && c.readinessProbe && c.livenessProbe && c.resources.limits.memory && c.resources.requests.memory);
        assert.ok(terminationGracePeriodSeconds > 45);
        assert.equal(set.spec.template.spec.enableServiceLinks, false, 'a Service named carpool would come as CARPOOL_… variables');
        assert.equal(c.livenessProbe.httpGet ?? c.startupProbe.httpGet, undefined, '/health depends on others, too');
        assert.match(runStage, new RegExp(`USER ${securityContext.runAsUser}:${securityContext.runAsGroup}\n`));
        const mounts = new Set([...volumes, ...set.spec.volumeClaimTemplates.map((v) => v.metadata)].map((v) => v.name));
        for (const mount of c.volumeMounts) assert.ok(mounts.has(mount.name), mount.name);
        find('Secret', c.envFrom[0].secretRef.name);
        const conf = find('ConfigMap', volumes.find((v) => v.configMap).configMap.name).data['carpool.conf'];
        const host = /url = redis:\/\/([a-z-]+):(\d+)/.exec(conf);
        assert.equal(find('Service', host[1]).spec.ports[0].port, Number(host[2]));
        /* The programs themselves accept that configuration. */
        const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'cp-k8s-')), 'carpool.conf');
        fs.writeFileSync(file, `${conf}\n[storage]\ndir = ${path.dirname(file)}/s\n`);
        const said = spawnSync(path.join(BUILD, 'carpoolctl'), [`--config=${file}`, 'key', 'list'], { encoding: 'utf8', env: cleanEnvironment() });
        assert.doesNotMatch(said.stderr, /carpool\.conf line|There is no option/);
        fs.rmSync(path.dirname(file), { recursive: true });
        for (const { spec } of all.filter((o) => o.kind === 'Ingress')) find('Service', spec.rules[0].http.paths[0].backend.service.name);
    });
    test('the image is built from what etc/setup installs, and runs with what the package depends on', () => {
        const setup = /^basic=\(([^)]*)\)/m.exec(read('etc/setup'))[1].split(/\s+/);
        for (const [name] of buildStage.matchAll(/\blib[a-z0-9-]+-dev\b/g)) assert.ok(setup.includes(name), name);
        for (const name of setup.filter((n) => /^lib.*-dev$/.test(n) && n !== 'libcriterion-dev')) assert.ok(buildStage.includes(name), `${name} is missing in the Dockerfile`);
        for (const [, from] of dockerfile.matchAll(/^COPY (?!--from)([^.]\S*) \//gm)) assert.ok(fs.existsSync(path.join(ROOT, from)), from);
    });
});

describe('the image’s second half in a clean Debian', { skip: noChroot() }, () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-image-'));
    const tree = path.join(dir, 'tree');
    let server, fake;
    after(async () => {
        server?.kill('SIGKILL');
        await fake?.close();
        fs.rmSync(dir, { recursive: true, force: true });
    });
    before(async () => {
        fake = await FakeProvider.start();
        copyTo(tree);
        execFileSync('make', ['-s', '-C', ROOT, 'install', `BUILD=${path.relative(ROOT, BUILD)}`, 'PREFIX=/usr', `DESTDIR=${dir}/out`], { env: cleanEnvironment() });
    });

    test('its steps, its start, its health, a prompt, its end', { timeout: 400000 * STRETCH }, async () => {
        const steps = /^RUN (.*)$/m.exec(runStage)[1];
        const done = spawnSync(CHROOT, ['--enter', tree, 'sh', '-ec', steps], { encoding: 'utf8', timeout: 300000 });
        assert.equal(done.status, 0, done.stderr.slice(-2000));
        execFileSync('cp', ['-a', `${dir}/out/usr/.`, path.join(tree, 'usr/')]);
        execFileSync('install', ['-m', '755', path.join(ROOT, 'etc/docker/start'), path.join(tree, 'usr/libexec/carpool/start')]);
        const port = await freePort();
        const env = [...runStage.matchAll(/\b([A-Z_]+)=(\S+)/g)].filter(([, name]) => /^(HOST|PORT|CARPOOL_\w+)$/.test(name) && !/HEALTH/.test(name)).map(([, name, value]) => `${name}=${value}`);
        /* .env is the sample with its blanks filled in. */
        const filled = { API_KEY: 'client-key-of-the-test', ADMIN_KEY: 'admin-key-of-the-test', OPENAI_API_KEY: PROVIDER_KEY, CARPOOL_PROVIDER_BASE_URL: fake.baseUrl('openai'), CARPOOL_PROVIDER_MODEL: 'fake-model' };
        const dotenv = Object.entries(filled).reduce((text, [name, value]) => {
            assert.match(text, new RegExp(`^#?${name}=`, 'm'));
            return text.replace(new RegExp(`^#?${name}=.*`, 'm'), `${name}=${value}`);
        }, read('etc/docker/env.sample'));
        const given = dotenv.split('\n').filter((line) => /^\w+=/.test(line));
        /* As compose has it: Redis and Kafka are named, and off. */
        const composed = [...read('docker-compose.yml').matchAll(/^ +([A-Z_]+): \$\{\w+:-(.*)\}$/gm)].map(([, name, value]) => `${name}=${value}`);
        assert.equal(composed.length, 4);
        const set = [...composed, ...env.filter((e) => !/^(PORT|HOST)=/.test(e)), `PORT=${port}`, 'HOST=127.0.0.1', ...given];
        assert.ok(set.includes('CARPOOL_AUTH_REQUIRED=on'), set.join(' '));
        const log = fs.openSync(path.join(dir, 'log'), 'a');
        const uid = /^USER (\d+):/m.exec(runStage)[1];
        fs.fchownSync(log, Number(uid), Number(uid));
        /* The shell stays root's, so that it ends with the name space. */
        const command = `env ${set.join(' ')} setpriv --reuid ${uid} --regid ${uid} --clear-groups --no-new-privs ${/^CMD \["(.*)"\]/m.exec(runStage)[1]} & pid=$!; trap 'kill -TERM $pid' USR1; wait $pid; wait $pid; echo ended $?`;
        server = spawn(CHROOT, ['--enter', tree, 'bash', '-c', command], { stdio: ['ignore', log, log] });
        const client = new Client(port);
        const logged = () => fs.readFileSync(path.join(dir, 'log'), 'utf8');
        await until('it serves', async () => (await client.get('/health', { check: false, timeoutMs: 2000 })).json?.status === 'ok', 30000).catch((e) => {
            throw new Error(`${e.message}\n${logged()}`);
        });
        const check = /CMD (curl .*)$/m.exec(/HEALTHCHECK[^\n]*/.exec(runStage)[0])[1].replace('${PORT}', port).replace('${CARPOOL_SERVER_BASE_PATH:-}', '');
        assert.equal(spawnSync(CHROOT, ['--enter', tree, 'sh', '-c', check]).status, 0, check);
        assert.equal((await client.post('/query', { query: 'What is AI?' })).status, 401, 'keys are needed from the start');
        const headers = { 'X-API-Key': 'client-key-of-the-test' };
        assert.equal((await client.post('/query', { query: 'What is AI?' }, { headers })).json.result, 'Answer to: What is AI?');
        assert.equal((await client.post('/v1/query', bodyOf(200000), { headers })).status, 200, 'a body that lighttpd keeps in a file');
        assert.equal((await client.get('/', { check: false })).status, 200);
        await everyEndpoint({ ask: (method, name, options) => client.request(method, name, options), asAdmin: { 'X-API-Key': filled.ADMIN_KEY } });
        fake.keys = [PROVIDER_KEY, SEED_KEY];
        for (const [name, key, body, has] of [
            ['/invoke', filled.API_KEY, SEEDS.basic, /"response":"Answer to: Explain quantum/],
            ['/health', null, null, /"status":"ok"/],
            ['/stats', filled.ADMIN_KEY, null, /"requests"/],
            ['/chat', filled.API_KEY, '{"chat_id":"1","user_prompt":"What is AI?"}', /Answer to: What is AI/],
            ['/chat/batched', filled.API_KEY, '{"queries":[{"chat_id":"1","user_prompt":"What is 2+2?"},{"chat_id":"2","user_prompt":"Define AI?"}]}', /Answer to: What is 2.*Answer to: Define AI/s],
        ]) {
            const args = ['-sS', '--fail-with-body', ...(key ? ['-H', `X-API-Key: ${key}`] : []), ...(body ? ['-X', 'POST', '-H', 'Content-Type: application/json', '-d', body] : []), `http://127.0.0.1:${port}${name}`];
            const said = await outputOf('curl', args);
            assert.match(said, has, `curl of the sources: ${name}`);
        }
        assert.match(logged(), /"program":"carpoold"/, 'the coordinator logs to the container’s log');
        client.close();
        const shell = fs.readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').trim();
        process.kill(Number(shell), 'SIGUSR1');
        await until('it has ended by itself', () => /ended \d+/.test(logged()), 20000);
        assert.match(logged(), /ended 0/);
    });
});
